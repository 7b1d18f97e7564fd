"""ReStyle: an encoder that sees the photo beside its own last attempt, and corrects the codes.

    Y_0 = G(latent_avg),  w_0 = latent_avg
    w_t = w_{t-1} + E([X, Y_{t-1}]),   Y_t = G(w_t)          t = 1..5, pictures at 256 in E
    X' = G(w_5 + d)

    E: IR-SE50 with a six-channel stem -> the 1/16 map -> N equal heads
    pSp flavour: each head gives a style; e4e flavour: head 0 gives style 0, the others add to it

Attempts are pooled to 256 unclipped. Paper: Alaluf et al., "ReStyle: A Residual-Based StyleGAN
Encoder via Iterative Refinement", ICCV 2021. Code: yuval-alaluf/restyle-encoder, MIT.

Shapes: B batch, N styles, D style width, S side of the photo as the encoder sees it (256).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stylefeatureeditor.backbones.ir_se50 import IRConfig, IRTrunk
from stylefeatureeditor.editing.e4e import StyleHead, added_to_first
from stylefeatureeditor.errors import ConfigError, check_shape, check_side
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.methods.pixels import pool, shrink
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class ReStyleConfig(MethodConfig):
    """Parts of ReStyle; the defaults are the published face model of the pSp flavour."""

    trunk: IRConfig = field(default_factory=IRConfig)
    size: int = 256  # S
    offsets_from_first: bool = False  # the e4e flavour: heads 1.. add to style 0
    iterations: int = 5

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ConfigError(f"iterations must be at least 1, got {self.iterations}")
        check_side(self.size, 32)


class ReStyleEncoder(nn.Module):
    """E: a correction of the codes from a photo and an attempt."""

    def __init__(self, config: ReStyleConfig) -> None:
        super().__init__()
        self.config = config
        width = config.generator.style_dim
        self.trunk = IRTrunk(config.trunk)
        self.trunk.stem[0] = nn.Conv2d(6, config.trunk.channels[0], 3, padding=1, bias=False)
        self.heads = nn.ModuleList(
            StyleHead(config.trunk.channels[-1], width, config.size // 16)
            for _ in range(config.generator.num_styles)
        )

    def forward(self, photos: Tensor, attempt: Tensor) -> Tensor:
        """Photos (B, 3, S, S) and unclipped attempts -> what to add to the codes, (B, N, D)."""
        side = self.config.size
        check_shape("photos", photos, (None, 3, side, side))
        check_shape("attempt", attempt, (None, 3, side, side))
        features = self.trunk(torch.cat([photos, attempt.expand_as(photos)], dim=1))[-1]
        rows = torch.stack([head(features) for head in self.heads], dim=1)
        return added_to_first(rows) if self.config.offsets_from_first else rows


class ReStyle(Method):
    """ReStyle for faces."""

    config: ReStyleConfig

    def __init__(self, config: ReStyleConfig) -> None:
        super().__init__(config)
        self.encoder = ReStyleEncoder(config)

    @torch.no_grad()
    def average_picture(self) -> Tensor:
        """Return Y_0, the picture of latent_avg, (1, 3, S, S)."""
        rows = self.generator.latent_avg.expand(1, self.config.generator.num_styles, -1)
        return pool(self.generator.synthesize(Codes(rows)), self.config.size)

    @torch.no_grad()
    def refine(self, photos: Tensor) -> Iterator[Inversion]:
        """Yield the attempts t = 1, 2, ... at photos (B, 3, S, S) in [-1, 1]."""
        photos = shrink(photos, self.config.size)
        codes, attempt = self.generator.latent_avg, self.average_picture()
        for _ in range(self.config.iterations):
            codes = codes + self.encoder(photos, attempt)
            pixels = self.generator.synthesize(Codes(codes))
            yield Inversion(Codes(codes), model=self.fingerprint, pixels=pixels)
            attempt = pool(pixels, self.config.size)

    def encode(self, photos: Tensor) -> Inversion:
        """(B, 3, S, S) in [-1, 1] -> the last attempt."""
        *_, last = self.refine(photos)
        return last
