"""pSp: one pass of a feature-pyramid encoder gives W+ codes.

    w = latent_avg + E(X)          X at 256
    X^ = G(w),  X' = G(w + d)

pSp has no edit of its own; any shift of codes is drawn by the untouched G. It mixes styles: the
rows in a mask become alpha * other + (1 - alpha) * own.

Paper: Richardson et al., "Encoding in Style: a StyleGAN Encoder for Image-to-Image Translation",
CVPR 2021. Code: eladrich/pixel2style2pixel, MIT.

Shapes: B batch, N styles (18 at 1024), D style width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stylefeatureeditor.editing.e4e import E4eConfig, PyramidEncoder
from stylefeatureeditor.errors import ConfigError, check_shape
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.methods.inversion import CodeInversion, edit_codes
from stylefeatureeditor.methods.pixels import shrink
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from stylefeatureeditor.methods.inversion import Edits


@dataclass(frozen=True, kw_only=True)
class PspConfig:
    """Parts of pSp."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    encoder: E4eConfig = field(default_factory=E4eConfig)


class Psp(nn.Module):
    """pSp for faces."""

    def __init__(self, config: PspConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = Generator(config.generator)
        self.encoder = PyramidEncoder(config.encoder)

    @torch.no_grad()
    def invert(self, photos: Tensor) -> CodeInversion:
        """(B, 3, S, S) in [-1, 1] -> codes and their picture."""
        offsets = self.encoder(shrink(photos, self.config.encoder.size))
        codes = Codes(self.generator.latent_avg + offsets)
        return CodeInversion(codes, self.generator.synthesize(codes))

    @torch.no_grad()
    def edit(self, inversion: CodeInversion, edits: Edits) -> Tensor:
        """Return the edited photos, (B, 3, size, size)."""
        return edit_codes(self.generator, inversion.codes, edits)


def mix_styles(codes: Codes, other: Codes, styles: tuple[int, ...], alpha: float) -> Codes:
    """Return codes whose rows `styles` are alpha * other + (1 - alpha) * own.

    Args:
        codes: w, (B, N, D).
        other: the codes to mix in, (B or 1, N, D).
        styles: which of the N rows change.
        alpha: share of `other`, 0 to 1.

    Raises:
        ConfigError: the codes have no such row.
    """
    rows, width = codes.wplus.shape[1:]
    check_shape("other codes", other.wplus, (None, rows, width))
    if not all(0 <= style < rows for style in styles):
        raise ConfigError(f"styles to mix must lie between 0 and {rows - 1}, got {styles}")
    chosen = torch.zeros(rows, 1, dtype=torch.bool, device=codes.wplus.device)
    chosen[list(styles)] = True
    mixed = torch.lerp(codes.wplus, other.wplus.expand_as(codes.wplus), alpha)
    return replace(codes, wplus=torch.where(chosen, mixed, codes.wplus))
