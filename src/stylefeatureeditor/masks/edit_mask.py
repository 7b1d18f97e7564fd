"""Where an edit may act, given by a name, a picture or a tensor.

    "face"             the hull of the landmarks; needs no weights
    "foreground"       all that a face parser does not call background (App. 9)
    "foreground:0.9"   the same, where it is less sure of the background (the release takes 0.995)
    "hair", "hair+hat" what a face parser calls so, joined by +
    a picture          white = may change; of the photo's size or of the crop's
    a tensor           (B or 1, 1, S, S), 1 = may change

A file without a suffix comes before a parser's name, but "face" and "foreground" are never files.

Shapes: B faces, S side of the crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylefeatureeditor.editing.delta import check_region
from stylefeatureeditor.errors import MaskError
from stylefeatureeditor.masks.face_frame import five_points
from stylefeatureeditor.masks.labels import foreground_threshold
from stylefeatureeditor.masks.released import find_face_parser
from stylefeatureeditor.photo.align import to_crop
from stylefeatureeditor.photo.face_mask import face_mask, mask_to_crop, read_mask

if TYPE_CHECKING:
    from stylefeatureeditor.records import AlignedFace

Mask = str | Path | bytes | Image.Image | np.ndarray | Tensor

FACE = "face"


@dataclass(frozen=True)
class Region:
    """Where an edit of one photo may act; None lets everything change."""

    crops: Tensor | None = None  # (B or 1, 1, S, S) in [0, 1], over the crop of each face
    # (1, 1, H, W), if the mask was drawn over the whole photo: pasting back needs it too, so that
    # no pixel outside it changes
    photo: Tensor | None = None


def find_region(mask: Mask | None, faces: tuple[AlignedFace, ...], rows: int) -> Region:
    """Return the region that a mask means for the faces of a photo; a picture is read once.

    Args:
        mask: see the table above; None or "none" lets everything change.
        faces: B faces; empty for aligned tensors, which take no other mask than a tensor.
        rows: B, also where `faces` is empty.

    Raises:
        MaskError: the mask is unknown, cannot be read, or fits neither photo nor crop; a face
            parser is needed and none is there.
    """
    if mask is None or isinstance(mask, Tensor) or (isinstance(mask, str) and mask == "none"):
        if isinstance(mask, Tensor):
            check_region(mask, rows)
            return Region(mask)
        return Region()
    if not faces:
        raise MaskError("a mask by name or picture needs a photo; pass a tensor for aligned crops")
    if _is_name(mask):
        return Region(torch.cat([_named(mask, face) for face in faces]))
    height, width = faces[0].photo.shape[:2]
    size = faces[0].pixels.shape[-1]
    drawn = read_mask(mask, (width, height), (size, size))
    if drawn.shape[2:] != (height, width):  # of the crop's size
        return Region(drawn)
    return Region(torch.cat([mask_to_crop(drawn, face.quad, size) for face in faces]), drawn)


def edit_region(mask: Mask | None, faces: tuple[AlignedFace, ...]) -> Tensor | None:
    """Return the region over the crops alone; see `find_region`."""
    return find_region(mask, faces, len(faces)).crops


def _named(name: str, face: AlignedFace) -> Tensor:
    if name == FACE:
        if face.landmarks is None:
            raise MaskError("the mask 'face' needs landmarks; an aligned photo has none")
        return face_mask(face.landmarks, face.quad, face.pixels.shape[-1])
    threshold = foreground_threshold(name)
    regions = tuple(name.split("+")) if threshold is None else ()
    points = None
    if face.landmarks is not None:
        marks = five_points(torch.as_tensor(face.landmarks)[None] + 0.5).numpy()
        points = torch.from_numpy(to_crop(marks, face.quad) * face.pixels.shape[-1])
    if threshold is None:
        return _parser().edit_region(face.pixels, *regions, points=points)
    return _parser().edit_region(face.pixels, points=points, threshold=threshold)


def _is_name(mask: object) -> TypeGuard[str]:
    if not isinstance(mask, str):
        return False
    if mask == FACE or foreground_threshold(mask) is not None:
        return True
    try:
        return not Path(mask).suffix and not Path(mask).is_file()
    except OSError:  # a path that may not be looked at; reading it says why
        return False


_parser = lru_cache(maxsize=1)(find_face_parser)
