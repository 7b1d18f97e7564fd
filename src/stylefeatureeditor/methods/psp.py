"""pSp: one pass of a feature-pyramid encoder gives W+ codes.

    w = latent_avg + E(X)          X at 256
    X^ = G(w),  X' = G(w + d)

Paper: Richardson et al., "Encoding in Style: a StyleGAN Encoder for Image-to-Image Translation",
CVPR 2021. Code: eladrich/pixel2style2pixel, MIT.

Shapes: B batch, S side of the photo.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stylefeatureeditor.editing.e4e import E4eConfig, PyramidEncoder
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.methods.pixels import shrink
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PspConfig(MethodConfig):
    """Parts of pSp."""

    encoder: E4eConfig = field(default_factory=E4eConfig)


class Psp(Method):
    """pSp for faces."""

    config: PspConfig

    def __init__(self, config: PspConfig) -> None:
        super().__init__(config)
        self.encoder = PyramidEncoder(config.encoder)

    def encode(self, photos: Tensor) -> Inversion:
        """(B, 3, S, S) in [-1, 1] -> codes."""
        offsets = self.encoder(shrink(photos, self.config.encoder.size))
        return Inversion(Codes(self.generator.latent_avg + offsets))
