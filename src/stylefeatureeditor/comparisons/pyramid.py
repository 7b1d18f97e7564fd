"""The encoder of pSp: an IR-SE trunk, a feature pyramid, a head per style.

    photo -> IR-SE50 -> c1, c2, c3          1/4, 1/8, 1/16 of the side
    coarse = c3
    middle = up(coarse) + lateral(c2)       up: bilinear, corners aligned
    fine   = up(middle) + lateral(c1)
    style 0..2 from coarse, 3..6 from middle, 7..17 from fine: each head on its own

e4e has the same networks and adds style 0 to the others; Style Transformer and PadInv use the
pyramid. Paper: Richardson et al., "Encoding in Style" (2021). Code:
eladrich/pixel2style2pixel, MIT.

Shapes: B batch, N styles, D style width, S side of the photo as the encoder sees it (256), C
channels of the coarse level (512).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.ir_se50 import IRTrunk
from stylefeatureeditor.editing.e4e import E4eConfig, StyleHead
from stylefeatureeditor.errors import check_shape


@dataclass(frozen=True)
class Levels:
    """A feature pyramid.

    Attributes:
        coarse: (B, C, S/16, S/16).
        middle: (B, C, S/8, S/8).
        fine: (B, C, S/4, S/4).
        shallow: c1, (B, 128, S/4, S/4), of the trunk alone.
    """

    coarse: Tensor
    middle: Tensor
    fine: Tensor
    shallow: Tensor


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
        """(B, 3, S, S) in [-1, 1] -> the three levels."""
        check_shape("photos", photos, (None, 3, self.config.size, self.config.size))
        _, c1, c2, c3 = self.trunk(photos)
        middle = _upsample_to(c3, c2) + self.lateral_middle(c2)
        fine = _upsample_to(middle, c1) + self.lateral_fine(c1)
        return Levels(c3, middle, fine, c1)


class PyramidEncoder(FeaturePyramid):
    """Photo to W+ code, without latent_avg."""

    def __init__(self, config: E4eConfig) -> None:
        super().__init__(config)
        coarse = config.trunk.channels[-1]
        self.heads = nn.ModuleList(
            StyleHead(coarse, config.style_dim, config.size // divisor)
            for divisor in (
                *[16] * config.middle_from,
                *[8] * (config.fine_from - config.middle_from),
                *[4] * (config.num_styles - config.fine_from),
            )
        )

    def styles(self, levels: Levels) -> Tensor:
        """Return the offset of w from latent_avg, (B, N, D)."""
        rows = []
        for index, head in enumerate(self.heads):
            level = levels.fine if index >= self.config.fine_from else levels.middle
            rows.append(head(levels.coarse if index < self.config.middle_from else level))
        return torch.stack(rows, dim=1)

    def forward(self, photos: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> the offset of w from latent_avg, (B, N, D)."""
        return self.styles(self.levels(photos))


def added_to_first(rows: Tensor) -> Tensor:
    """(B, N, D) -> the same with row 0 added to the others, as e4e has it."""
    return torch.cat([rows[:, :1], rows[:, :1] + rows[:, 1:]], dim=1)


def _upsample_to(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)
