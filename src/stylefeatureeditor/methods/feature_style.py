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

from torch import Tensor, nn

from stylefeatureeditor.backbones.iresnet import IResNetConfig
from stylefeatureeditor.inversion.feature_style_encoder import (
    FeatureStyleEncoder,
    FeatureStyleEncoderConfig,
)
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.methods.pixels import halve
from stylefeatureeditor.records import Codes


@dataclass(frozen=True, kw_only=True)
class FeatureStyleConfig(MethodConfig):
    """Parts of the method; the defaults are the published face model."""

    encoder: FeatureStyleEncoderConfig = field(
        default_factory=lambda: FeatureStyleEncoderConfig(trunk=IResNetConfig(strides=(2, 2, 2, 2)))
    )
    size: int = 256  # side of the photo as E sees it
    layer: int = 5  # the layer output that F replaces


class FeatureStyle(Method):
    """Feature-Style for faces."""

    config: FeatureStyleConfig

    def __init__(self, config: FeatureStyleConfig) -> None:
        super().__init__(config)
        self.encoder = FeatureStyleEncoder(config.encoder)
        channels = config.encoder.feature_channels  # F has half the side of the third stage
        self.encoder.content[4] = nn.Conv2d(channels, channels, 3, 2, padding=1, bias=False)

    def encode(self, photos: Tensor) -> Inversion:
        """(B, 3, S, S) in [-1, 1], S a power of two times the encoder's side."""
        offsets, features = self.encoder(halve(photos, self.config.size))
        codes = Codes(self.generator.latent_avg + offsets)
        layer = self.config.layer
        start = self.generator.run_to(codes, layer)
        pixels = self.generator.synthesize_from(features, codes, layer, start.rgb)
        return Inversion(codes, pixels=pixels, kept=(features, start.features))

    def draw(self, codes: Codes, kept: tuple[Tensor, Tensor]) -> Tensor:
        """Return X'; kept are F and F_w."""
        moved = self.generator.run_to(codes, self.config.layer)
        features = kept[0] + moved.features - kept[1]
        return self.generator.synthesize_from(features, codes, self.config.layer, moved.rgb)
