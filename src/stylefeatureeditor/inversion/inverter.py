"""Inverter I: a photo becomes the codes and features from which G redraws it.

    (w, F_k) = I(X)                                                            (Eq. 3)

             +-> w -------------------------> G(w_{0:k}) -> F_w -+
    X -> I_fse                                                   I_fus -> F_k
             +-> F_pred -----------------------------------------+

Shapes: B batch, N styles, D style width, C and S_F channels and side of F_k (512 x 64 x 64).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from stylefeatureeditor.inversion.feature_style_encoder import (
    FeatureStyleEncoder,
    FeatureStyleEncoderConfig,
)
from stylefeatureeditor.inversion.fuser import Fuser, FuserConfig
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from stylefeatureeditor.generator.stylegan2 import Generator, PartialImage


@dataclass(frozen=True, kw_only=True)
class InverterConfig:
    """Parts of I; `fuser` None leaves F_k = F_pred (an ablation of Table 3)."""

    encoder: FeatureStyleEncoderConfig = field(default_factory=FeatureStyleEncoderConfig)
    fuser: FuserConfig | None = field(default_factory=FuserConfig)


@dataclass(frozen=True)
class InverterOutput:
    """The output of I for photos."""

    codes: Codes  # w, latent_avg included
    features: Tensor  # F_k, (B, C, S_F, S_F)
    predicted: Tensor  # F_pred, the same shape
    # the pass of w through the generator's layers 0..k: F_w and the image so far
    start: PartialImage


class Inverter(nn.Module):
    """I of Eq. 3."""

    def __init__(self, config: InverterConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = FeatureStyleEncoder(config.encoder)
        self.fuser = None if config.fuser is None else Fuser(config.fuser)

    def forward(
        self, photos: Tensor, generator: Generator, layer: int, codes: Codes | None = None
    ) -> InverterOutput:
        """Invert photos (B, 3, S, S) in [-1, 1]; `codes` are w where it is known already."""
        offsets, predicted = self.encoder(photos)
        codes = Codes(generator.latent_avg + offsets) if codes is None else codes
        start = generator.run_to(codes, layer)
        features = predicted if self.fuser is None else self.fuser(predicted, start.features)
        return InverterOutput(codes, features, predicted, start)
