"""Style Transformer: learned queries attend to the photo's features and become styles.

    q = f(z)                               f: G's own mapping network; z learned, one per style
    q = T_coarse(q, p_16), T_middle(q, p_8), T_fine(q, p_4)     cells of the pyramid as tokens
    w = latent_avg + q,   X' = G(w + d)

    T: a post-norm transformer decoder layer: self-attention, cross-attention, two linear maps

The queries carry no position, and self-attention runs over the N styles. Paper: Hu et al., "Style
Transformer for Image Inversion and Editing", CVPR 2022. Code: sapphire497/style-transformer, which
has no licence file; it draws random noise where we use the stored one.

Shapes: B batch, N styles, D style width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from stylefeatureeditor.editing.e4e import E4eConfig, FeaturePyramid
from stylefeatureeditor.generator.layers import normal
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.methods.pixels import shrink
from stylefeatureeditor.records import Codes


@dataclass(frozen=True, kw_only=True)
class StyleTransformerConfig(MethodConfig):
    """Parts of the method; the defaults are the published face model."""

    pyramid: E4eConfig = field(default_factory=E4eConfig)
    heads: int = 4  # of attention
    hidden: int = 1024  # width between the two linear maps


class StyleTransformer(Method):
    """Style Transformer for faces; D is also the channel count of the pyramid."""

    config: StyleTransformerConfig

    def __init__(self, config: StyleTransformerConfig) -> None:
        super().__init__(config)
        width = config.generator.style_dim
        self.pyramid = FeaturePyramid(config.pyramid)
        self.latents = nn.Parameter(normal(1, config.generator.num_styles, width))
        self.coarse, self.middle, self.fine = (
            nn.TransformerDecoderLayer(width, config.heads, config.hidden, 0.0, batch_first=True)
            for _ in range(3)
        )

    def queries(self) -> Tensor:
        """Return f(z), (1, N, D)."""
        return self.generator.mapping(self.latents[0])[None]

    def offsets(self, photos: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [-1, 1] -> the offset of w from latent_avg, (B, N, D)."""
        levels = self.pyramid.levels(photos)
        rows = self.queries().expand(len(photos), -1, -1)
        rows = self.coarse(rows, _tokens(levels.coarse))
        rows = self.middle(rows, _tokens(levels.middle))
        return self.fine(rows, _tokens(levels.fine))

    def encode(self, photos: Tensor) -> Inversion:
        """(B, 3, S, S) in [-1, 1] -> codes."""
        offsets = self.offsets(shrink(photos, self.config.pyramid.size))
        return Inversion(Codes(self.generator.latent_avg + offsets))


def _tokens(x: Tensor) -> Tensor:
    """(B, C, S, S) -> (B, S * S, C)."""
    return x.flatten(2).transpose(1, 2)
