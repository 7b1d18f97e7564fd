"""Faces of several photos through the networks together, a few at a time.

    crops of fresh photos -> I -> inversions             encode
    inversions -> E, H, G -> pixels of each photo        edit_together

Memory is bounded by `batch_size` faces inside the networks, however many a photo has.
Shapes: B faces of all photos, S side of a crop, H side of an edit region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.inversion.record import Inversion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from stylefeatureeditor.editing.direction import EditDirection, Strength
    from stylefeatureeditor.pipeline import Pipeline
    from stylefeatureeditor.records import AlignedFace, Photo


@dataclass(frozen=True)
class Crops:
    """A photo whose faces are aligned but not inverted yet.

    Attributes:
        faces: at least one.
        source: the photo as it was read.
    """

    faces: tuple[AlignedFace, ...]
    source: Photo

    def __len__(self) -> int:
        return len(self.faces)


def encode(
    pipeline: Pipeline, photos: Sequence[Crops | Inversion], batch_size: int
) -> list[Inversion]:
    """Return an inversion for each photo; those that are inversions stay as they are."""
    crops = [face.pixels for photo in photos if isinstance(photo, Crops) for face in photo.faces]
    parts = [
        pipeline.invert(torch.cat(crops[first : first + batch_size]))
        for first in range(0, len(crops), batch_size)
    ]
    whole = _joined(parts) if parts else None
    end, inversions = 0, []
    for photo in photos:
        if isinstance(photo, Crops):
            assert whole is not None
            start, end = end, end + len(photo)
            inversion = whole if len(photo) == len(whole) else whole.rows(start, end)
            inversion.faces, inversion.source = photo.faces, photo.source
            inversions.append(inversion)
        else:
            inversions.append(photo)
    return inversions


def edit_together(
    pipeline: Pipeline,
    inversions: Sequence[Inversion],
    regions: Sequence[Tensor | None],
    edits: Mapping[EditDirection, Strength],
    batch_size: int,
) -> list[Tensor]:
    """Return the pixels of each photo's faces, (its faces, 3, S, S).

    Every inversion learns what one edit by itself would have taught it.

    Args:
        pipeline: runs the model.
        inversions: of this model.
        regions: for each, (its faces or 1, 1, H, H), checked; all None or none.
        edits: one strength per direction.
        batch_size: faces inside the networks at a time.
    """
    if edits and any(inversion.anchor for inversion in inversions):
        for inversion in inversions:  # else E would run again for those that it has seen
            pipeline.find_anchor(inversion)
    rows = [
        region.expand(len(inversion), -1, -1, -1)
        for region, inversion in zip(regions, inversions, strict=True)
        if region is not None
    ]
    region = torch.cat(rows) if rows else None
    whole = _joined(list(inversions))
    parts, pixels = [], []
    for first in range(0, len(whole), batch_size):
        some = slice(first, first + batch_size)
        parts.append(whole.rows(first, min(first + batch_size, len(whole))))
        pixels.append(pipeline.edit(parts[-1], edits, None if region is None else region[some]))
    known, drawn = _joined(parts), torch.cat(pixels)
    end, split = 0, []
    for inversion in inversions:
        start, end = end, end + len(inversion)
        part = known.rows(start, end)
        inversion.anchor = inversion.anchor or part.anchor
        inversion.pixels = part.pixels if inversion.pixels is None else inversion.pixels
        split.append(drawn[start:end])
    return split


def _joined(parts: list[Inversion]) -> Inversion:
    return parts[0] if len(parts) == 1 else Inversion.cat(parts)
