"""The encoder to W: one style vector for a photo, which every style of W+ repeats.

    photo -> IR-SE50 -> mean over the 1/16 map -> equalised linear -> offset of w from latent_avg

pSp's repository has it beside its W+ encoder; HyperStyle and HyperInverter start from it.
Code: eladrich/pixel2style2pixel, MIT.

Shapes: B batch, D style width, S side of the photo as the encoder sees it (256).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stylefeatureeditor.backbones.ir_se50 import IRConfig, IRTrunk
from stylefeatureeditor.errors import check_shape
from stylefeatureeditor.generator.layers import EqualizedLinear
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from stylefeatureeditor.generator.stylegan2 import Generator


@dataclass(frozen=True, kw_only=True)
class SingleStyleConfig:
    """Size of the encoder; the defaults are the published face models."""

    style_dim: int = 512  # D
    trunk: IRConfig = field(default_factory=IRConfig)


class SingleStyleEncoder(nn.Module):
    """Photo to W, without latent_avg."""

    def __init__(self, config: SingleStyleConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = IRTrunk(config.trunk)
        self.linear = EqualizedLinear(config.trunk.channels[-1], config.style_dim)

    def forward(self, photos: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> (B, D)."""
        check_shape("photos", photos, (None, 3, None, None))
        return self.linear(self.trunk(photos)[-1].mean(dim=(2, 3)))

    @torch.no_grad()
    def codes(self, photos: Tensor, generator: Generator) -> Codes:
        """(B, 3, S, S) in [-1, 1] -> w, the same for every style."""
        row = generator.latent_avg + self(photos)
        return Codes(row[:, None].repeat(1, generator.config.num_styles, 1))
