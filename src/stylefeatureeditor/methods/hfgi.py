"""HFGI: what e4e loses of a photo goes back into the generator, moved along with the edit.

    w = latent_avg + E(X),  Y = G(w),  r = X - Y                       the distortion, at 256
    Y' = G(w')                                                         w' = w for an inversion
    a = A([r, Y'])                                                     r moved to where Y' has it
    (scale, shift) = R(a)
    X' = G(F (1 + scale) + shift, w'_{9:N})                            F: layer output 8 of w'

    A: residual blocks down to 32, back up to 256 with skips; R: residual blocks down to 64, then
    two heads of two equalised convolutions. Pictures are clipped before they are compared.

Paper: Wang et al., "High-Fidelity GAN Inversion for Image Attribute Editing", CVPR 2022. Code:
Tengfei-Wang/HFGI, which has no licence file. The random perspective of its training is left out,
as its inference script leaves it out.

Shapes: B batch, S side of the photo as E sees it (256), C and S_F channels and side of F
(512 x 64 x 64).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.ir_se50 import IRBlock
from stylefeatureeditor.backbones.shortcut import stem
from stylefeatureeditor.editing.e4e import E4e, E4eConfig
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.layers import activate, normal
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.methods.pixels import sample, shrink
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from stylefeatureeditor.generator.stylegan2 import PartialImage

BLOCKS = 3  # residual blocks of a stage


@dataclass(frozen=True, kw_only=True)
class HfgiConfig(MethodConfig):
    """Parts of HFGI; the defaults are the published face model."""

    encoder: E4eConfig = field(default_factory=E4eConfig)
    layer: int = 8  # the layer output that is scaled and shifted
    aligner_channels: tuple[int, ...] = (16, 32, 48, 64)  # of A, at S, S/2, S/4, S/8
    residue_channels: tuple[int, ...] = (32, 48, 64)  # of R, at S, S/2, S/4

    def __post_init__(self) -> None:
        side = self.generator.side(self.layer)
        if self.encoder.size >> (len(self.residue_channels) - 1) != side:
            raise ConfigError(
                f"the residue network must end at the {side} cells of layer {self.layer}: {self}"
            )


class Aligner(nn.Module):
    """A: a U-Net that redraws the distortion for another picture."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [stem(6, channels[0]), *(_stage(*pair, stride=2) for pair in pairwise(channels))]
        )
        skips, outs = channels[-2::-1], (*channels[-3::-1], 3)
        widths = (channels[-1], *outs[:-1])
        self.up = nn.ModuleList(
            nn.Sequential(
                IRBlock(width + skip, width, 1, squeeze=None),
                IRBlock(width, out, 1, squeeze=None),
                IRBlock(out, out, 1, squeeze=None),
            )
            for width, skip, out in zip(widths, skips, outs, strict=True)
        )

    def forward(self, residual: Tensor, picture: Tensor) -> Tensor:
        """Two (B, 3, S, S), the distortion and the picture it is for -> (B, 3, S, S)."""
        x, skips = torch.cat([residual, picture], dim=1), []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        for stage, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = functional.interpolate(x, skip.shape[-2:], mode="bilinear")
            x = stage(torch.cat([x, skip], dim=1))
        return x


class EqualizedConv3(nn.Module):
    """3x3 convolution of weights scaled by 1 / sqrt(fan_in); the bias is not scaled."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, S, S) -> (B, C_out, S, S)."""
        weight = self.weight * (1 / sqrt(self.weight[0].numel()))
        return functional.conv2d(x, weight, self.bias, padding=1)


class ConditionHead(nn.Module):
    """Two convolutions, the scaled leaky ReLU between them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = EqualizedConv3(in_channels, out_channels)
        self.conv2 = EqualizedConv3(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, S, S) -> (B, C_out, S, S)."""
        return self.conv2(activate(self.conv1(x)))


class Residue(nn.Module):
    """R: from the distortion to a scale and a shift of F."""

    def __init__(self, channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            stem(3, channels[0]), *(_stage(*pair, stride=2) for pair in pairwise(channels))
        )
        self.scale = ConditionHead(channels[-1], out_channels)
        self.shift = ConditionHead(channels[-1], out_channels)

    def forward(self, aligned: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) -> scale and shift, each (B, C, S_F, S_F)."""
        x = self.down(aligned)
        return self.scale(x), self.shift(x)


class Hfgi(Method):
    """HFGI for faces."""

    config: HfgiConfig

    def __init__(self, config: HfgiConfig) -> None:
        super().__init__(config)
        self.encoder = E4e(config.encoder)
        self.aligner = Aligner(config.aligner_channels)
        channels, _ = config.generator.layer_shape(config.layer)
        self.residue = Residue(config.residue_channels, channels)

    def encode(self, photos: Tensor) -> Inversion:
        """(B, 3, S, S) in [-1, 1] -> codes, distortion, and the picture of both."""
        photos = shrink(photos, self.config.encoder.size)
        codes = Codes(self.generator.latent_avg + self.encoder(photos))
        start = self.generator.run_to(codes, self.config.layer)
        picture = self._draft(codes, start)
        residual = photos - picture
        pixels = self._draw(codes, start, residual, picture)
        return Inversion(codes, pixels=pixels, kept=residual)

    def draw(self, codes: Codes, kept: Tensor) -> Tensor:
        """Return X'; kept is r, (B, 3, S, S)."""
        start = self.generator.run_to(codes, self.config.layer)
        return self._draw(codes, start, kept, self._draft(codes, start))

    def conditions(self, residual: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift of F for a distortion and the picture that it must fit."""
        return self.residue(self.aligner(residual, picture))

    def _draft(self, codes: Codes, start: PartialImage) -> Tensor:
        """Return G(w) clipped and brought to (B, 3, S, S)."""
        pixels = self.generator.synthesize_from(start.features, codes, self.config.layer, start.rgb)
        return sample(pixels.clamp(-1, 1), self.config.encoder.size)

    def _draw(self, codes: Codes, start: PartialImage, residual: Tensor, picture: Tensor) -> Tensor:
        scale, shift = self.conditions(residual, picture)
        features = start.features * (1 + scale) + shift
        return self.generator.synthesize_from(features, codes, self.config.layer, start.rgb)


def _stage(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    first = IRBlock(in_channels, out_channels, stride, squeeze=None)
    rest = (IRBlock(out_channels, out_channels, 1, squeeze=None) for _ in range(BLOCKS - 1))
    return nn.Sequential(first, *rest)
