"""Tiny phases on the CPU, and what their tests ask of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor.generator.discriminator import Discriminator, DiscriminatorConfig
from stylefeatureeditor.training.image_losses import ImageLossConfig
from stylefeatureeditor.training.loop import LoopConfig, make_accelerator, read_metrics
from tiny import SIZE

if TYPE_CHECKING:
    from torch import Tensor, nn

PIXELS = ImageLossConfig(lpips=0.0, identity=0.0)  # L2 alone


def prepared(phase: Any) -> Any:
    """Return the phase, ready for steps on the CPU."""
    phase.prepare(make_accelerator(LoopConfig(device="cpu", precision="fp32")))
    return phase


def tiny_discriminator() -> Discriminator:
    torch.manual_seed(5)
    return Discriminator(DiscriminatorConfig(size=SIZE, channel_base=128, channel_max=16))


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Return which parameters and buffers are no longer bit-equal."""
    return {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}


def plain_gradients(phase: Any, parameters: Any) -> None:
    """Let the phase take steps p <- p - gradient, so that a step shows the gradient."""
    phase.optimizer = torch.optim.SGD(parameters, lr=1.0)


def finite_difference(loss: Any, parameter: Tensor, place: tuple[int, ...], eps: float) -> float:
    """Return d loss / d parameter[place] by moving it both ways."""
    with torch.no_grad():
        kept = parameter[place].clone()
        parameter[place] = kept + eps
        above = loss()
        parameter[place] = kept - eps
        below = loss()
        parameter[place] = kept
    return float((above - below) / (2 * eps))


def run_steps(phase: Any, photos: Tensor, start: int, end: int) -> list[dict[str, float]]:
    """Take the steps from `start` up to `end`, seeded as the loop seeds them."""
    metrics = []
    for step in range(start, end):
        torch.manual_seed(step)
        metrics.append(phase.train_step(photos, step))
    return read_metrics(metrics, phase.accelerator, stop=False)[0]


def assert_resumes(make: Any, photos: Tensor, step: int = 3) -> None:
    """Assert that a phase that takes back another's state repeats its steps bit for bit."""
    first, second = prepared(make()), prepared(make())
    run_steps(second, photos, 20, 21)  # so that there is something to undo
    run_steps(first, photos, 0, step)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert run_steps(first, photos, step, step + 3) == run_steps(second, photos, step, step + 3)
