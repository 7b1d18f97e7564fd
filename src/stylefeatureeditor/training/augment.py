"""Augmentation of what D sees: adaptive, or DiffAugment.

Adaptive discriminator augmentation (Karras et al., 2020, "... with limited data"): D never sees a
photo or a drawn image itself, only a random distortion of it, so that it cannot learn a small set
by heart. Each distortion happens with probability p, and p follows how sure D is:

    p <- p + sign(mean(sign(D(X))) - target) * images / speed

All distortions of geometry make one affine map and one resampling; all distortions of colour make
one affine map of RGB. An image that drew none passes bit by bit.

    geometry   mirror; whole-pixel shift; scale; rotation; stretch along a random axis; shift
    colour     contrast; luma flip; hue; saturation; brightness

DiffAugment (Zhao et al., 2020), all three distortions on every image:

    colour     x + U(-1/2, 1/2);  saturation times U(0, 2);  contrast times U(1/2, 3/2)
    shift      by whole pixels, up to S / 8 each way, zeros beyond the border
    cutout     a square of side S / 2, its centre anywhere, is zero

Count on one derivative with respect to the pixels: older versions of torch have no second one of
grid_sample. A gradient penalty must start at the distorted image, as in `training/generator.py`.

Shapes: B batch, S side in pixels. Maps act on columns (x, y, 1) in units of half the side, (0, 0)
the centre of the image, x to the right, y down; and on columns (r, g, b, 1), colours in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.device import grid_sample
from stylefeatureeditor.errors import ConfigError, check_shape

SHIFT = 0.125  # of the side: largest whole-pixel shift, and deviation of the fraction shift
SCALE = 0.2  # deviation of log2 of scale and stretch
BRIGHTNESS = 0.2  # deviation, of colours in [-1, 1]
CONTRAST = 0.5  # deviation of log2
SATURATION = 1.0  # deviation of log2


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """The schedule of p; the defaults are the publication's.

    Attributes:
        target: mean sign of D on photos that p steers to.
        speed: images after which p can have gone from 0 to 1.
        every: steps between two moves of p.
        start: first p.
        fixed: keep p at `start`.
    """

    target: float = 0.6
    speed: float = 500_000.0
    every: int = 4
    start: float = 0.0
    fixed: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.start <= 1 or not -1 < self.target < 1:
            raise ConfigError(
                f"start must lie in [0, 1] and target in (-1, 1), got {self.start}, {self.target}"
            )
        if self.speed <= 0 or self.every < 1:
            raise ConfigError("speed must be positive and every at least 1")


class AdaptiveAugment(nn.Module):
    """Distorts images with probability p; `adapt` moves p."""

    probability: Tensor
    sign_sum: Tensor
    seen: Tensor
    calls: Tensor

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("probability", torch.tensor(config.start))
        self.register_buffer("sign_sum", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        """Return distorted images, (B, 3, S, S), of the same dtype and about the same range."""
        check_shape("images", images, (None, 3, None, None))
        size = images.shape[-1]
        draws = Draws(len(images), self.probability, images.device)
        images = resample(images, geometry_map(draws, size))
        return recolour(images, colour_map(draws))

    @torch.no_grad()
    def adapt(self, real_scores: Tensor) -> None:
        """Count D's scores of photos, (B, 1), and move p every `every` calls."""
        self.sign_sum += real_scores.sign().sum()
        self.seen += real_scores.numel()
        self.calls += 1
        if self.config.fixed:
            return
        moves = self.calls % self.config.every == 0  # stays on the device: nothing waits for it
        surplus = self.sign_sum / self.seen - self.config.target
        self.probability += moves * surplus.sign() * (self.seen / self.config.speed)
        self.probability.clamp_(0, 1)
        self.sign_sum *= ~moves
        self.seen *= ~moves


class Draws:
    """Random numbers for a batch of B images, each with the chance p, a scalar, to matter."""

    def __init__(self, batch: int, p: Tensor, device: torch.device) -> None:
        self.batch, self.p, self.device = batch, p, device

    def normal(self, deviation: float) -> Tensor:
        """(B,): normal, 0 where nothing happens."""
        return torch.randn(self.batch, device=self.device) * deviation * self._happens(self.p)

    def uniform(self, bound: float, p: Tensor | None = None) -> Tensor:
        """(B,): even in [-bound, bound], 0 where nothing happens; another chance with `p`."""
        draw = 2 * torch.rand(self.batch, device=self.device) - 1
        return draw * bound * self._happens(self.p if p is None else p)

    def sign(self) -> Tensor:
        """(B,): -1 for half of the images where something happens, else 1."""
        return 1 - 2 * self._happens(self.p / 2)

    def _happens(self, p: Tensor) -> Tensor:
        return (torch.rand(self.batch, device=self.device) < p).float()


def diff_augment(images: Tensor) -> Tensor:
    """Return images (B, 3, S, S) with DiffAugment's colour, shift and cutout, drawn per image."""
    check_shape("images", images, (None, 3, None, None))
    (batch, _, size, _), device = images.shape, images.device

    brightness, saturation, contrast = torch.rand(3, batch, 1, 1, 1, device=device)
    images = images + (brightness - 0.5).to(images)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation).to(images)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (contrast + 0.5).to(images)

    most = round(size * SHIFT)
    down, right = torch.randint(-most, most + 1, (2, batch, 1, 1), device=device)
    places = torch.arange(size, device=device)
    rows = (places[:, None] - down).clamp(-1, size) + 1  # (B, S, 1), 0 and S + 1 the zeros
    columns = (places - right).clamp(-1, size) + 1  # (B, 1, S)
    padded = functional.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    first = torch.arange(batch, device=device)[:, None, None]
    images = padded[first, rows, columns].permute(0, 3, 1, 2)

    side = size // 2
    y, x = torch.randint(0, size + 1 - side % 2, (2, batch, 1, 1), device=device) - side // 2
    tall = (places[:, None] >= y) & (places[:, None] < y + side)  # (B, S, 1)
    wide = (places >= x) & (places < x + side)
    return images * ~(tall & wide)[:, None]


def geometry_map(draws: Draws, size: int) -> Tensor:
    """Return the maps from places in the result to places in the image, (B, 2, 3)."""
    one = torch.ones(draws.batch, device=draws.device)
    half = size / 2
    whole_x, whole_y = ((draws.uniform(SHIFT) * size).round() / half for _ in range(2))
    scale = draws.normal(SCALE).exp2()
    stretch = draws.normal(SCALE).exp2()
    # two rotations around the stretch: at least one happens with chance p
    turn = 1 - (1 - draws.p).sqrt()
    before, after = draws.uniform(pi, turn), draws.uniform(pi, turn)
    matrix = _affine(draws.sign(), one)
    matrix = _affine(one, one, whole_x, whole_y) @ matrix
    matrix = _affine(scale, scale) @ matrix
    matrix = _rotation(before) @ matrix
    matrix = _affine(stretch, 1 / stretch) @ matrix
    matrix = _rotation(after) @ matrix
    matrix = _affine(one, one, draws.normal(2 * SHIFT), draws.normal(2 * SHIFT)) @ matrix
    return matrix[:, :2]


def resample(images: Tensor, maps: Tensor) -> Tensor:
    """Return images (B, 3, S, S) read at mapped places, bilinear, mirrored beyond the border.

    Maps, (B, 2, 3), lead from places in the result to places in the images.
    """
    grid = functional.affine_grid(maps.to(images.dtype), list(images.shape), align_corners=False)
    read = grid_sample(images, grid, "reflection")
    identity = torch.eye(3, device=maps.device)[:2]
    moved = (maps != identity).any(dim=2).any(dim=1)
    return torch.where(moved[:, None, None, None], read, images)


def colour_map(draws: Draws) -> Tensor:
    """Return the maps of RGB, (B, 3, 4)."""
    grey = torch.full((3, 3), 1 / 3, device=draws.device)  # projection on the luma axis
    identity = torch.eye(3, device=draws.device)
    luma = torch.diag_embed(draws.normal(CONTRAST).exp2()[:, None].expand(-1, 3))
    flip = draws.sign()
    hue = _rotation_about_grey(draws.uniform(pi))
    saturation = draws.normal(SATURATION).exp2()
    linear = torch.where(flip[:, None, None] < 0, identity - 2 * grey, identity) @ luma
    linear = (grey + saturation[:, None, None] * (identity - grey)) @ hue @ linear
    shift = draws.normal(BRIGHTNESS)[:, None, None].expand(-1, 3, 1)
    return torch.cat([linear, shift], dim=2)


def recolour(images: Tensor, maps: Tensor) -> Tensor:
    """Apply maps (B, 3, 4) to the colours of images (B, 3, S, S)."""
    maps = maps.to(images.dtype)
    changed = torch.einsum("bij,bjhw->bihw", maps[:, :, :3], images)
    changed = changed + maps[:, :, 3, None, None]
    identity = torch.eye(3, 4, device=maps.device, dtype=maps.dtype)
    moved = (maps - identity).abs().amax(dim=(1, 2)) > 1e-5  # hue's matrix has rounding errors
    return torch.where(moved[:, None, None, None], changed, images)


def _affine(
    x_scale: Tensor, y_scale: Tensor, x_shift: Tensor | None = None, y_shift: Tensor | None = None
) -> Tensor:
    zero, one = torch.zeros_like(x_scale), torch.ones_like(x_scale)
    x_shift = zero if x_shift is None else x_shift
    y_shift = zero if y_shift is None else y_shift
    rows = [x_scale, zero, x_shift, zero, y_scale, y_shift, zero, zero, one]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def _rotation(angle: Tensor) -> Tensor:
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1).reshape(-1, 3, 3)


def _rotation_about_grey(angle: Tensor) -> Tensor:
    """Rotations of RGB space about (1, 1, 1), (B, 3, 3)."""
    axis = 1 / sqrt(3)
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    identity = torch.eye(3, device=angle.device)
    cross = axis * (identity.roll(1, 0) - identity.roll(2, 0))
    return identity + sin * cross + (1 - cos) * (cross @ cross)
