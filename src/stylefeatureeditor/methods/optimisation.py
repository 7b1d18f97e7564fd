"""W+ optimisation: each photo's code is found by gradient descent, G stays as it is.

    w* = argmin_w  a ||G(w) - X||^2 / P + b D(G(w), X)

P counts the values of an image, D is a perceptual distance that the caller gives (LPIPS, or a
substitute). After Abdal et al. 2019; the schedule is our own, so its rows are called
"W+ optimisation, <steps> steps" and are not published numbers:

    start      latent_avg in every style vector
    optimiser  Adam (0.9, 0.999), base rate 0.05
    rate       rises linearly over the first 5 % of the steps, falls as a cosine over the last 25 %
    noise      the stored buffers

The photos of a batch are independent: losses are summed, and Adam scales each number separately.
Shapes: B photos of side S, N styles, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method
from stylefeatureeditor.metrics.pixel import l2
from stylefeatureeditor.model import network_fingerprint
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from stylefeatureeditor.metrics.perceptual_vector import PerceptualVector
    from stylefeatureeditor.model import Model, ModelConfig

RISE, FALL = 0.05, 0.25  # shares of the steps at both ends of the rate's schedule


@dataclass(frozen=True, kw_only=True)
class WOptimisationConfig:
    """Schedule and loss."""

    steps: int = 500  # of Adam
    rate: float = 0.05  # highest learning rate
    l2: float = 1.0  # a
    perceptual: float = 0.8  # b

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rate <= 0 or min(self.l2, self.perceptual) < 0:
            raise ConfigError(f"steps and rate must be positive, weights not negative: {self}")


class WOptimisation(Method):
    """Gradient descent on W+."""

    config: ModelConfig

    def __init__(
        self,
        model: Model,
        perceptual: PerceptualVector | None,
        schedule: WOptimisationConfig | None = None,
    ) -> None:
        own = schedule or WOptimisationConfig()
        super().__init__(model.config, model.generator, f"W+ optimisation, {own.steps} steps")
        self.schedule = own
        self.perceptual = perceptual

    @cached_property
    def identity(self) -> str:
        """Changes with G, the schedule and D."""
        looks = "pixels" if self.perceptual is None else self.perceptual.name
        drawn_by = network_fingerprint(self.generator, self.generator.config)
        return f"w-optimisation {drawn_by} {self.schedule} {looks}"

    def encode(self, photos: Tensor) -> Inversion:
        """Return the codes after the last step."""
        generator, config = self.generator, self.schedule
        start = generator.latent_avg.expand(len(photos), generator.config.num_styles, -1)
        with torch.enable_grad():
            wplus = start.clone().requires_grad_()
            optimiser = torch.optim.Adam([wplus], lr=config.rate)
            for step in range(config.steps):
                set_rate(optimiser, config.rate * rate_at(step / config.steps, RISE, FALL))
                drawn = generator.synthesize(Codes(wplus))
                loss = config.l2 * l2(drawn, photos)
                if self.perceptual is not None:
                    loss = loss + config.perceptual * self.perceptual.distance(drawn, photos)
                (wplus.grad,) = torch.autograd.grad(loss.sum(), [wplus])
                optimiser.step()
        return Inversion(Codes(wplus.detach()))


def rate_at(progress: float, rise: float, fall: float) -> float:
    """Return the factor of the learning rate, in [0, 1]."""
    remaining = min(1.0, (1 - progress) / fall)
    return (0.5 - 0.5 * math.cos(math.pi * remaining)) * min(1.0, progress / rise)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of an optimiser this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate
