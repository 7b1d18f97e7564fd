"""Feature-Style encoder: W+ codes for what is edited, a feature map for what must be kept.

    (w, F) = E(X)                                   X halved twice to 256; F at 16 x 16
    X^ = G(F, w_{6:N})                              F replaces layer output 5
    X' = G(F + F_{w'} - F_w, w'_{6:N})              F_w: layer output 5 that codes alone give

    E: iresnet50 -> four stage outputs, pooled to 3 x 3 -> a linear map per style -> w
                    stage 3 -> BN, conv, BN, PReLU, conv of stride 2, BN           -> F

The image below 16 x 16 is drawn from the codes (w' when editing). Noise is the stored one in all
three passes; the release draws it anew in each. Paper: Yao et al., "A Style-Based GAN Encoder for
High Fidelity Reconstruction of Images and Videos", ECCV 2022. Code:
InterDigitalInc/FeatureStyleEncoder, InterDigital licence (evaluation and research only).

Shapes: B batch, N styles, C and S_F channels and side of F (512 x 16 x 16).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stylefeatureeditor.backbones.iresnet import IResNetConfig
from stylefeatureeditor.editing.direction import combine
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.inversion.feature_style_encoder import (
    FeatureStyleEncoder,
    FeatureStyleEncoderConfig,
)
from stylefeatureeditor.methods.pixels import halve
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from stylefeatureeditor.generator.stylegan2 import PartialImage
    from stylefeatureeditor.methods.inversion import Edits


def _encoder_config() -> FeatureStyleEncoderConfig:
    return FeatureStyleEncoderConfig(trunk=IResNetConfig(strides=(2, 2, 2, 2)))


@dataclass(frozen=True, kw_only=True)
class FeatureStyleConfig:
    """Parts of the method; the defaults are the published face model."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    encoder: FeatureStyleEncoderConfig = field(default_factory=_encoder_config)
    size: int = 256  # side of the photo as E sees it
    layer: int = 5  # the layer output that F replaces


@dataclass(frozen=True)
class FeatureStyleInversion:
    """A photo as codes and features.

    Attributes:
        codes: w, latent_avg included.
        features: F, (B, C, S_F, S_F).
        start: G's pass of w up to F's layer: F_w, and the image so far.
        reconstruction: X^, (B, 3, size, size), unclipped.
    """

    codes: Codes
    features: Tensor
    start: PartialImage
    reconstruction: Tensor


class CoarseFeatureStyleEncoder(FeatureStyleEncoder):
    """The encoder whose F has half the side of the trunk's third stage."""

    def __init__(self, config: FeatureStyleEncoderConfig) -> None:
        super().__init__(config)
        channels = config.feature_channels
        self.content[4] = nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False)


class FeatureStyle(nn.Module):
    """Feature-Style for faces."""

    def __init__(self, config: FeatureStyleConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = Generator(config.generator)
        self.encoder = CoarseFeatureStyleEncoder(config.encoder)

    @torch.no_grad()
    def invert(self, photos: Tensor) -> FeatureStyleInversion:
        """(B, 3, S, S) in [-1, 1], S a power of two times the encoder's side."""
        offsets, features = self.encoder(halve(photos, self.config.size))
        codes = Codes(self.generator.latent_avg + offsets)
        layer = self.config.layer
        start = self.generator.run_to(codes, layer)
        pixels = self.generator.synthesize_from(features, codes, layer, start.rgb)
        return FeatureStyleInversion(codes, features, start, pixels)

    @torch.no_grad()
    def edit(self, inversion: FeatureStyleInversion, edits: Edits) -> Tensor:
        """Return the edited photos, (B, 3, size, size)."""
        codes = combine(inversion.codes, edits)
        moved = self.generator.run_to(codes, self.config.layer)
        features = inversion.features + moved.features - inversion.start.features
        return self.generator.synthesize_from(features, codes, self.config.layer, moved.rgb)
