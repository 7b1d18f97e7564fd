"""e4e: the encoder E alone, X^ = G(E(X)), X' = G(E(X) + d).

Paper: Tov et al., "Designing an Encoder for StyleGAN Image Manipulation", 2021. E is the one that
our own method takes Delta from (Eq. 5), so the method needs no networks of its own.

Shapes: B photos of side `size`, (B, 3, size, size) in [-1, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylefeatureeditor.editing.delta import resize
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import OnModel
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from torch import Tensor


class E4eMethod(OnModel):
    """E and G of a model."""

    word = title = "e4e"
    needs = ("e4e",)

    def encode(self, photos: Tensor) -> Inversion:
        """Return w_E."""
        seen = resize(photos, self.config.encoder_size)
        return Inversion(Codes(self.generator.latent_avg + self.model.e4e(seen)))
