"""e4e: the encoder E whose codes edit well (Tov et al., 2021). Frozen in this method.

    w_E = latent_avg + E(X)

    X -> IR-SE trunk -> c1, c2, c3   (1/4, 1/8, 1/16 of the side)
    feature pyramid:   p2 = up(c3) + lateral(c2),  p1 = up(p2) + lateral(c1)
    styles: coarse from c3, middle from p2, fine from p1; styles 1.. are offsets from style 0

pSp's encoder is the same without the offsets (Richardson et al., 2021).

Shapes: B batch, N styles, D style width, S side of the photo as the encoder sees it (256).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import log2

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.ir_se50 import IRConfig, IRTrunk
from stylefeatureeditor.errors import (
    MOST_LAYERS,
    WIDEST,
    ConfigError,
    check_shape,
    check_side,
    check_sizes,
)
from stylefeatureeditor.generator.layers import EqualizedLinear


@dataclass(frozen=True, kw_only=True)
class E4eConfig:
    """Size of E; the defaults are the published FFHQ encoder."""

    size: int = 256  # S
    num_styles: int = 18  # N
    style_dim: int = 512  # D
    middle_from: int = 3  # styles below are coarse
    fine_from: int = 7  # styles from here on are fine
    trunk: IRConfig = field(default_factory=IRConfig)

    def __post_init__(self) -> None:
        check_side(self.size, 32)
        check_sizes(self, (self.style_dim,), WIDEST)
        check_sizes(self, (self.num_styles,), MOST_LAYERS)
        if not 0 < self.middle_from <= self.fine_from:
            raise ConfigError(f"0 < middle_from <= fine_from is needed: {self}")


class StyleHead(nn.Module):
    """Strided convolutions down to one cell, then an equalised linear map: one style vector."""

    def __init__(self, in_channels: int, style_dim: int, side: int) -> None:
        super().__init__()
        widths = [in_channels] + [style_dim] * int(log2(side))
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.linear = EqualizedLinear(style_dim, style_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, side, side) -> (B, D)."""
        for conv in self.convs:
            x = functional.leaky_relu(conv(x), 0.01)
        return self.linear(x.flatten(1))


@dataclass(frozen=True)
class Levels:
    """A feature pyramid."""

    coarse: Tensor  # c3, (B, C, S/16, S/16)
    middle: Tensor  # p2, (B, C, S/8, S/8)
    fine: Tensor  # p1, (B, C, S/4, S/4)
    shallow: Tensor  # c1, (B, 128, S/4, S/4), of the trunk alone


class FeaturePyramid(nn.Module):
    """Trunk and lateral convolutions."""

    def __init__(self, config: E4eConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = IRTrunk(config.trunk)
        _, fine, middle, coarse = config.trunk.channels
        self.lateral_middle = nn.Conv2d(middle, coarse, kernel_size=1)
        self.lateral_fine = nn.Conv2d(fine, coarse, kernel_size=1)

    def levels(self, photos: Tensor) -> Levels:
        """(B, 3, S, S) in [-1, 1] -> the three levels, and c1."""
        check_shape("photos", photos, (None, 3, self.config.size, self.config.size))
        _, c1, c2, c3 = self.trunk(photos)
        p2 = upsample_to(c3, c2) + self.lateral_middle(c2)
        p1 = upsample_to(p2, c1) + self.lateral_fine(c1)
        return Levels(c3, p2, p1, c1)


class PyramidEncoder(FeaturePyramid):
    """A head per style, each on its own: the encoder of pSp."""

    def __init__(self, config: E4eConfig) -> None:
        super().__init__(config)
        coarse = config.trunk.channels[-1]
        self.heads = nn.ModuleList(
            StyleHead(coarse, config.style_dim, config.size // self._divisor(style))
            for style in range(config.num_styles)
        )

    def styles(self, levels: Levels, num_styles: int | None = None) -> Tensor:
        """Return what the first `num_styles` heads give, (B, num_styles, D); None means all."""
        maps = {16: levels.coarse, 8: levels.middle, 4: levels.fine}
        count = self.config.num_styles if num_styles is None else num_styles
        heads = list(enumerate(self.heads))[:count]
        return torch.stack([head(maps[self._divisor(style)]) for style, head in heads], dim=1)

    def forward(self, photos: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> the offset of w from latent_avg, (B, N, D)."""
        return self.styles(self.levels(photos))

    def _divisor(self, style: int) -> int:
        """The photo's side over the side of the level that this style reads."""
        if style < self.config.middle_from:
            return 16
        return 8 if style < self.config.fine_from else 4


class E4e(PyramidEncoder):
    """E of Eq. 5."""

    def forward(self, photos: Tensor, num_styles: int | None = None) -> Tensor:
        """Return the offset of w_E from latent_avg, (B, N, D), of photos (B, 3, S, S) in [-1, 1].

        From `num_styles` on, styles repeat style 0 (the progressive stages of e4e's training).
        """
        rows = added_to_first(self.styles(self.levels(photos), num_styles))
        rest = self.config.num_styles - rows.shape[1]
        if rest == 0:
            return rows
        return torch.cat([rows, rows[:, :1].expand(-1, rest, -1)], dim=1)


def added_to_first(rows: Tensor) -> Tensor:
    """(B, N, D) -> the same with row 0 added to the others."""
    return torch.cat([rows[:, :1], rows[:, :1] + rows[:, 1:]], dim=1)


def upsample_to(x: Tensor, like: Tensor) -> Tensor:
    """Bring (B, C, S, S) to the side of another, bilinearly, corners aligned."""
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)
