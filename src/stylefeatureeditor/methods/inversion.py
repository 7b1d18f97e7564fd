"""What the methods that live in code space alone know about a photo, and how edits reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stylefeatureeditor.editing.direction import combine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from stylefeatureeditor.editing.direction import EditDirection, Strength
    from stylefeatureeditor.generator.stylegan2 import Generator
    from stylefeatureeditor.records import Codes

    Edits = Mapping[EditDirection, Strength]


@dataclass(frozen=True)
class CodeInversion:
    """A photo as codes: G(w) is all that is known of it.

    Attributes:
        codes: w, latent_avg included.
        reconstruction: G(w), (B, 3, size, size), unclipped.
    """

    codes: Codes
    reconstruction: Tensor


def edit_codes(generator: Generator, codes: Codes, edits: Edits) -> Tensor:
    """Return G(w + sum of the shifts), (B, 3, size, size)."""
    return generator.synthesize(combine(codes, edits))
