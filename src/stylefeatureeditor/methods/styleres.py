"""StyleRes: the generator's features plus a gated residual that is recomputed for the edit.

    w = latent_avg + E(X),  c = E's trunk at 1/4,  F = layer output 8 of w
    a = A([c, F]),  e = R(a)                          once per photo: what F lacks of it
    (d, g) = H([down(x), down'(e)])                   x: layer output 8 of w'; w' = w to invert
    X' = G(x + g d, w'_{9:N})                         g in (0, 1), one channel

    A: a U-Net 64 -> 32 -> 16 -> 32 -> 64 between two 1x1 convolutions
    R: a 1x1 convolution, three residual blocks;  H: two heads of three residual blocks

Only what G draws changes with an edit: c and F stay the photo's. Paper: Pehlivan et al.,
"StyleRes: Transforming the Residuals for Real Image Editing with StyleGAN", CVPR 2023. Code:
hamzapehlivan/StyleRes, NVIDIA Source Code License (non-commercial).

Shapes: B batch, C and S_F channels and side of F (512 x 64 x 64).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.shortcut import Conv1x1
from stylefeatureeditor.editing.e4e import E4eConfig, PyramidEncoder, added_to_first, upsample_to
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.methods.pixels import shrink
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from stylefeatureeditor.generator.stylegan2 import PartialImage


@dataclass(frozen=True, kw_only=True)
class StyleResConfig(MethodConfig):
    """Parts of StyleRes; the defaults are the published face model."""

    generator: GeneratorConfig = field(default_factory=lambda: GeneratorConfig(clamp=256.0))
    encoder: E4eConfig = field(default_factory=E4eConfig)
    layer: int = 8  # the layer output that is corrected


class ResidualBlock(nn.Module):
    """conv3x3(leaky ReLU(conv3x3(x))) beside x, or beside a 1x1 convolution where sizes change."""

    def __init__(
        self, in_channels: int, out_channels: int | None = None, *, stride: int = 1
    ) -> None:
        super().__init__()
        out = out_channels or in_channels
        self.conv1 = nn.Conv2d(in_channels, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, stride, padding=1)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or out != in_channels:
            self.shortcut = Conv1x1(in_channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S / stride, S / stride)."""
        return self.shortcut(x) + self.conv2(functional.leaky_relu(self.conv1(x), 0.2))


class Align(nn.Module):
    """A: encoder feature and generator feature, brought together over a wider view."""

    def __init__(self, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(skip_channels + channels, channels, kernel_size=1)
        self.down = nn.ModuleList(
            [
                nn.Sequential(ResidualBlock(channels)),
                nn.Sequential(ResidualBlock(channels, stride=2), ResidualBlock(channels)),
                nn.Sequential(ResidualBlock(channels, stride=2), ResidualBlock(channels)),
            ]
        )
        self.up = nn.ModuleList(
            nn.Sequential(ResidualBlock(channels), ResidualBlock(channels)) for _ in range(2)
        )
        self.last = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, pair: Tensor) -> Tensor:
        """(B, 128 + C, S_F, S_F) -> (B, C, S_F, S_F)."""
        x, skips = self.first(pair), []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        for stage, skip in zip(self.up, skips[-2::-1], strict=True):
            x = stage(upsample_to(x, skip) + skip)
        return self.last(x)


class Transform(nn.Module):
    """R after A: what the photo has and F lacks."""

    def __init__(self, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.align = Align(skip_channels, channels)
        blocks = (ResidualBlock(channels) for _ in range(3))
        self.extract = nn.Sequential(nn.Conv2d(channels, channels, kernel_size=1), *blocks)

    def forward(self, skip: Tensor, features: Tensor) -> Tensor:
        """c, (B, 128, S_F, S_F), and F -> e, (B, C, S_F, S_F)."""
        return self.extract(self.align(torch.cat([skip, features], dim=1)))


class Gate(nn.Module):
    """H: how much of the residual fits the features that are being drawn."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.own = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.extracted = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.delta = nn.Sequential(*(ResidualBlock(channels) for _ in range(3)))
        self.gate = nn.Sequential(
            ResidualBlock(channels), ResidualBlock(channels), ResidualBlock(channels, 1)
        )

    def forward(self, features: Tensor, extracted: Tensor) -> tuple[Tensor, Tensor]:
        """Features x and residual e -> d, (B, C, S_F, S_F), and g, (B, 1, S_F, S_F)."""
        x = torch.cat([self.own(features), self.extracted(extracted)], dim=1)
        return self.delta(x), self.gate(x).sigmoid()


class StyleRes(Method):
    """StyleRes for faces."""

    config: StyleResConfig

    def __init__(self, config: StyleResConfig) -> None:
        super().__init__(config)
        self.encoder = PyramidEncoder(config.encoder)
        channels, _ = config.generator.layer_shape(config.layer)
        self.transform = Transform(config.encoder.trunk.channels[1], channels)
        self.gate = Gate(channels)

    def encode(self, photos: Tensor) -> Inversion:
        """(B, 3, S, S) in [-1, 1] -> codes, residual, and the picture of both."""
        photos = shrink(photos, self.config.encoder.size, "bicubic")
        levels = self.encoder.levels(photos)
        offsets = added_to_first(self.encoder.styles(levels))
        codes = Codes(self.generator.latent_avg + offsets)
        start = self.generator.run_to(codes, self.config.layer)
        extracted = self.transform(levels.shallow, start.features)
        pixels = self._draw(codes, start, extracted)
        return Inversion(codes, pixels=pixels, kept=extracted)

    def draw(self, codes: Codes, kept: Tensor) -> Tensor:
        """Return X'; kept is e, (B, C, S_F, S_F)."""
        return self._draw(codes, self.generator.run_to(codes, self.config.layer), kept)

    def _draw(self, codes: Codes, start: PartialImage, extracted: Tensor) -> Tensor:
        delta, gate = self.gate(start.features, extracted)
        features = start.features + gate * delta
        return self.generator.synthesize_from(features, codes, self.config.layer, start.rgb)
