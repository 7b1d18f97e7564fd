"""A strip of one face: unedited, and at several strengths of a direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stylefeatureeditor.errors import FaceError
from stylefeatureeditor.photo.contact_sheet import draw_strip
from stylefeatureeditor.photo.image import to_picture
from stylefeatureeditor.photo.result import EditResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from stylefeatureeditor.editor import Editor, Edits
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.masks.edit_mask import Mask

AT_A_TIME = 4  # strengths


def strip_of(
    editor: Editor,
    inversion: Inversion,
    name: str,
    strengths: Sequence[float],
    *,
    edits: Edits,
    mask: Mask | None,
    side: int | None = None,
) -> Image.Image:
    """Return the labelled crops, the unedited one first, with what the photo brought.

    `side` is that of a crop in the strip, as `draw_grid` takes it. FaceError if there are several
    faces; other errors as `Editor.edit`.
    """
    if len(inversion) > 1:
        raise FaceError("a strip shows one face: choose it first, as with --face 1")
    # An inversion of an aligned tensor does not keep it.
    crops = [face.pixels for face in inversion.faces] or [editor.method.reconstruct(inversion)]
    tiles = [("photo", EditResult(crops[0], inversion, blend="none").crop)]
    for first in range(0, len(strengths), AT_A_TIME):
        some = strengths[first : first + AT_A_TIME]
        moves: dict[Any, Any] = {**edits, name: torch.tensor(some)}
        result = editor.edit(inversion, moves, mask=mask, blend="none")
        labels = [f"{name} {strength:g}" for strength in some]
        tiles += zip(labels, result.crops, strict=True)
    return to_picture(np.asarray(draw_strip(tiles, side)), inversion.source)
