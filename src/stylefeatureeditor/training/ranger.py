"""Ranger: rectified Adam, with gradient centralisation, inside Lookahead.

    g   <- g - mean(g) over all axes but the first                 gradient centralisation
    m   <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2            Adam moments
    p   <- p - lr wd p                                             decoupled weight decay
    p   <- p - lr r_t / (1 - b1^t) m / (sqrt(v) + eps)             if the variance is tractable
    p   <- p - lr     / (1 - b1^t) m                               in the first steps
    every k steps:  s <- s + alpha (p - s);   p <- s               Lookahead

with r_t the rectification of Liu et al. 2020 (RAdam, Eq. for rho_t), sqrt(1 - b2^t) included.
Lookahead: Zhang et al. 2019. Gradient centralisation: Yong et al. 2020. The defaults are those
that the paper trains the Inverter and the Feature Editor with (App. 7).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import torch
from torch.optim import Optimizer

from stylefeatureeditor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    Parameters: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class RangerConfig:
    """Settings of Ranger; the defaults are the paper's (App. 7), which decays no weights.

    Attributes:
        lr: step length.
        alpha: share of the way the slow weights go towards the fast ones, in [0, 1].
        k: steps between two moves of the slow weights.
        betas: decay of the first and the second moment, in [0, 1).
        eps: added to the root of the second moment.
        weight_decay: share of a parameter removed per step, times `lr`.
        rectify_above: variance is used once the length of its average exceeds this many samples.
        centralise_above: gradients with more axes than this are centralised: 1 takes matrices and
            convolutions, 3 convolutions only, None nothing.
        cooldown: steps between which `lr` falls to a hundredth; None (the paper's) keeps it.
    """

    lr: float = 2e-4
    alpha: float = 0.5
    k: int = 6
    betas: tuple[float, float] = (0.95, 0.999)
    eps: float = 1e-5
    weight_decay: float = 0.0
    rectify_above: float = 5.0
    centralise_above: int | None = 1
    cooldown: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.lr > 0 or not self.eps > 0 or self.weight_decay < 0:
            raise ConfigError(f"lr and eps must be positive, weight_decay not negative, got {self}")
        if not 0 <= self.alpha <= 1 or self.k < 1:
            raise ConfigError(f"alpha must lie in [0, 1] and k be at least 1, got {self}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"both betas must lie in [0, 1), got {self.betas}")
        if self.rectify_above < 4:  # the rectification is real only above 4 samples
            raise ConfigError(f"rectify_above must be at least 4, got {self.rectify_above}")
        if self.cooldown is not None and not 0 <= self.cooldown[0] < self.cooldown[1]:
            raise ConfigError(f"cooldown must be two steps, the first before, got {self.cooldown}")

    def rate(self, lr: float, step: int) -> float:
        """Return the step length at a step, from 1, of a run that began with `lr`."""
        if self.cooldown is None:
            return lr
        first, last = self.cooldown
        return lr * max(0.01, min(1.0, (last - step) / (last - first)))


class Ranger(Optimizer):
    """The optimiser of the Inverter and of the Feature Editor.

    The state of a parameter is `step`, `exp_avg`, `exp_avg_sq` and `slow_buffer`, the names of the
    released checkpoints. All of it is saved: a resumed run repeats an uninterrupted one exactly.
    Where only the parameters were kept, `before` in a group counts the steps they have taken: the
    cooldown goes on from there.
    `lr` lives in `param_groups` as usual, so schedulers work; the rest comes from `config`.
    """

    def __init__(self, params: Parameters, config: RangerConfig) -> None:
        self.config = config
        super().__init__(params, {"lr": config.lr})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient; return what `closure` gave, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group["lr"], group.get("before", 0))
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, lr: float, before: int) -> None:
        config, state = self.config, self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
            state["slow_buffer"] = parameter.clone()
        state["step"] += 1
        lr = config.rate(lr, before + state["step"])

        beta1, beta2 = config.betas
        gradient = centralised(gradient, above=config.centralise_above)
        state["exp_avg"].mul_(beta1).add_(gradient, alpha=1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)

        if config.weight_decay:
            parameter.mul_(1 - lr * config.weight_decay)
        scale = rectification(state["step"], beta2, above=config.rectify_above)
        step_size = lr / (1 - beta1 ** state["step"])
        if scale is None:
            parameter.add_(state["exp_avg"], alpha=-step_size)
        else:
            spread = state["exp_avg_sq"].sqrt().add_(config.eps)
            parameter.addcdiv_(state["exp_avg"], spread, value=-step_size * scale)

        if state["step"] % config.k == 0:
            state["slow_buffer"].lerp_(parameter, config.alpha)
            parameter.copy_(state["slow_buffer"])


def centralised(gradient: Tensor, *, above: int | None) -> Tensor:
    """Return a gradient of more than `above` axes with zero mean per output, the first axis."""
    if above is None or gradient.ndim <= above:
        return gradient
    return gradient - gradient.mean(dim=tuple(range(1, gradient.ndim)), keepdim=True)


def rectification(step: int, beta2: float, *, above: float) -> float | None:
    """Return r_t sqrt(1 - beta2^t) of RAdam, or None while the variance is not tractable.

    `step` is t, from 1; the average must be longer than `above` samples.
    """
    longest = 2 / (1 - beta2) - 1
    decay = beta2**step
    length = longest - 2 * step * decay / (1 - decay)
    if length <= above:
        return None
    ratio = (length - 4) / (longest - 4) * (length - 2) / (longest - 2) * longest / length
    return math.sqrt((1 - decay) * ratio)
