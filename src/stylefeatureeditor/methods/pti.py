"""PTI, pivotal tuning: a code near the photo is found, then G is tuned to draw it.

    stage 1   w* = argmin  ||f(G(w + n)) - f(X)||^2 + 1e5 R(noise)     450 steps, at 256 px
    stage 2   G* = argmin  ||G(w*) - X||^2 / P + D(G(w*), X)            350 steps at most

Roich et al. 2021; schedule, constants and order of operations are those of the released code.
Stage 1 searches W (one vector for all styles) together with the noise buffers, and its noise is
thrown away. Stage 2 moves every weight of a copy of G, with the stored noise, and stops before the
update once D <= 0.06. The copy draws the edits of its photo and nothing else.

f gives a vector whose squared distance is perceptual (LPIPS of VGG), D is LPIPS of AlexNet; the
caller passes both, and may replace them.

Shapes: one photo of side S at a time, D width, P values of an image.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method
from stylefeatureeditor.methods.optimisation import rate_at, set_rate
from stylefeatureeditor.methods.pixels import pool
from stylefeatureeditor.methods.reweighted import draw_each
from stylefeatureeditor.model import network_fingerprint
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from stylefeatureeditor.generator.stylegan2 import Generator
    from stylefeatureeditor.metrics.perceptual_vector import PerceptualVector
    from stylefeatureeditor.model import Model, ModelConfig

RISE, FALL = 0.05, 0.25
NOISE_OF_W, NOISE_UNTIL = 0.05, 0.75  # in standard deviations of w; share of the steps
SMALLEST_NOISE = 8  # side at which the noise pyramid ends


@dataclass(frozen=True, kw_only=True)
class PivotalTuningConfig:
    """Schedule of the released code."""

    projection_steps: int = 450  # of stage 1
    projection_rate: float = 0.01  # its highest learning rate
    projection_side: int = 256  # pixels at which stage 1 compares
    noise_penalty: float = 1e5  # factor of R
    average_samples: int = 600  # z whose w give the start and the spread
    average_seed: int = 123  # of those z
    tuning_steps: int = 350  # of stage 2, at most
    tuning_rate: float = 3e-4  # its learning rate
    enough: float = 0.06  # D at which stage 2 stops
    seed: int = 0  # of the noise that stage 1 draws

    def __post_init__(self) -> None:
        if min(self.projection_steps, self.average_samples, self.tuning_steps) < 1:
            raise ConfigError(f"every count of steps and samples must be positive: {self}")


class PivotalTuning(Method):
    """PTI."""

    config: ModelConfig

    def __init__(
        self,
        model: Model,
        features: PerceptualVector,
        perceptual: PerceptualVector,
        schedule: PivotalTuningConfig | None = None,
    ) -> None:
        own = schedule or PivotalTuningConfig()
        name = f"PTI, {own.projection_steps} + {own.tuning_steps} steps"
        super().__init__(model.config, model.generator, name)
        self.schedule = own
        self.features, self.perceptual = features, perceptual

    @cached_property
    def identity(self) -> str:
        """Changes with G, the schedule, f and D."""
        drawn_by = network_fingerprint(self.generator, self.generator.config)
        return f"pti {drawn_by} {self.schedule} {self.features.name}, {self.perceptual.name}"

    def encode(self, photos: Tensor) -> Inversion:
        """Return each photo's pivot, and the weights of the generator tuned to it."""
        found = []
        for photo in photos.split(1):
            pivot = project(self.generator, photo, self.features, self.schedule)
            tuned = tune(self.generator, photo, pivot, self.perceptual, self.schedule)
            weights = {name: weight.detach()[None] for name, weight in tuned.named_parameters()}
            found.append(Inversion(pivot, kept=weights))
        return Inversion.cat(found) if len(found) > 1 else found[0]

    def draw(self, codes: Codes, kept: dict[str, Tensor]) -> Tensor:
        """Return G*(w); kept is name of a weight -> (B, its shape)."""

        def weights(row: int) -> dict[str, Tensor]:
            return {name: weight[row] for name, weight in kept.items()}

        return draw_each(self.generator, codes, weights)


def project(
    generator: Generator, photo: Tensor, features: PerceptualVector, config: PivotalTuningConfig
) -> Codes:
    """Stage 1: return the pivot of one photo, the same vector for every style."""
    styles, side = generator.config.num_styles, min(config.projection_side, photo.shape[-1])
    generator = copy.deepcopy(generator).requires_grad_(requires_grad=False)
    average, spread = average_code(generator, config)
    draw = torch.Generator().manual_seed(config.seed)
    buffers = [noise for name, noise in generator.named_buffers() if name.endswith(".noise")]
    for buffer in buffers:
        buffer.copy_(torch.randn(buffer.shape, generator=draw))
        buffer.requires_grad_()
    with torch.no_grad():
        target = features(pool(photo, side))
    with torch.enable_grad():
        w = average.clone()[None, None].requires_grad_()  # (1, 1, D)
        optimiser = torch.optim.Adam([w, *buffers], lr=config.projection_rate)
        for step in range(config.projection_steps):
            progress = step / config.projection_steps
            set_rate(optimiser, config.projection_rate * rate_at(progress, RISE, FALL))
            fading = max(0.0, 1 - progress / NOISE_UNTIL) ** 2
            noise = torch.randn(w.shape, generator=draw).to(w) * (spread * NOISE_OF_W * fading)
            drawn = generator.synthesize(Codes((w + noise).repeat(1, styles, 1)))
            found = features(pool(drawn, side))
            loss = (found - target).square().sum()
            loss = loss + config.noise_penalty * noise_regularity(buffers)
            gradients = torch.autograd.grad(loss, [w, *buffers])
            for tensor, gradient in zip([w, *buffers], gradients, strict=True):
                tensor.grad = gradient
            optimiser.step()
            with torch.no_grad():
                for buffer in buffers:
                    buffer.sub_(buffer.mean())
                    buffer.mul_(buffer.square().mean().rsqrt())
    return Codes(w.detach().repeat(1, styles, 1))


def tune(
    generator: Generator,
    photo: Tensor,
    pivot: Codes,
    perceptual: PerceptualVector,
    config: PivotalTuningConfig,
) -> Generator:
    """Stage 2: return a copy of G that draws the photo at its pivot."""
    generator = copy.deepcopy(generator).requires_grad_()
    optimiser = torch.optim.Adam(generator.parameters(), lr=config.tuning_rate)
    with torch.enable_grad():
        for _ in range(config.tuning_steps):
            drawn = generator.synthesize(pivot)
            distance = perceptual.distance(drawn, photo).sum()
            if distance.item() <= config.enough:
                break
            optimiser.zero_grad(set_to_none=True)
            (functional.mse_loss(drawn, photo) + distance).backward()
            optimiser.step()
    return generator.requires_grad_(requires_grad=False)


@torch.no_grad()
def average_code(generator: Generator, config: PivotalTuningConfig) -> tuple[Tensor, float]:
    """Return the mean w, (D,), and one number for its spread: all deviations squared, over n."""
    shape = (config.average_samples, generator.config.style_dim)
    # as the released code draws, for the same start
    z = np.random.RandomState(config.average_seed).randn(*shape)
    w = generator.map(torch.from_numpy(z).to(generator.latent_avg)).wplus[:, 0]
    mean = w.mean(dim=0)
    return mean, float(((w - mean).square().sum() / config.average_samples).sqrt())


def noise_regularity(buffers: list[Tensor]) -> Tensor:
    """Return R: squared correlation of each buffer with its neighbours, at every scale."""
    total = buffers[0].new_zeros(())
    for buffer in buffers:
        noise = buffer
        while True:
            for axis in (3, 2):
                total = total + (noise * noise.roll(1, dims=axis)).mean().square()
            if noise.shape[2] <= SMALLEST_NOISE:
                break
            noise = functional.avg_pool2d(noise, 2)
    return total
