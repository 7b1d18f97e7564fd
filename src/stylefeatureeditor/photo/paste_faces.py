"""Several edited crops back into one photo, also where they overlap.

    photo <- photo + sum_i change_i,    change_i = paste_back of face i under its share
    share_i = depth_i / sum_j depth_j

depth is the distance to the crop's border in sides of the crop, 0 outside: where two crops overlap,
each pixel goes mostly to the face that it is deeper inside of, and one face's edit does not paint
over the other's.

Shapes: H, W photo; S side of the crops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from stylefeatureeditor.photo.align import to_crop
from stylefeatureeditor.photo.paste_back import paste_back

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from stylefeatureeditor.photo.paste_back import Blend
    from stylefeatureeditor.records import AlignedFace


def paste_faces(
    faces: Sequence[AlignedFace],
    edited: Tensor,
    inversions: Tensor | None,
    *,
    blend: Blend,
    masks: Sequence[Tensor | None],
    photo_mask: Tensor | None = None,
) -> np.ndarray:
    """Return the photo with every edited crop in it, (H, W, 3) uint8.

    Args:
        faces: B crops of one photo.
        edited: (B, 3, S, S) in [-1, 1].
        inversions: the model's picture of the unedited crops, same shape; needed for "residual".
        blend: "feather" or "residual".
        masks: for each face (1, 1, S, S) or None, 1 = may change.
        photo_mask: (1, 1, H, W), the same over the photo.
    """
    photo = faces[0].photo
    shares = [photo_mask] if len(faces) == 1 else _shares(faces, photo_mask)
    total = photo.astype(np.int16)
    for row, (face, mask, share) in enumerate(zip(faces, masks, shares, strict=True)):
        one = slice(row, row + 1)
        drawn = None if inversions is None else inversions[one]
        pasted = paste_back(face, edited[one], drawn, blend=blend, mask=mask, photo_mask=share)
        total += pasted.astype(np.int16) - photo
    return total.clip(0, 255).astype(np.uint8)


def _shares(faces: Sequence[AlignedFace], photo_mask: Tensor | None) -> list[Tensor]:
    """Return for each face what part of a pixel's change is its own, (1, 1, H, W)."""
    height, width = faces[0].photo.shape[:2]
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    points = np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)
    depths = []
    for face in faces:
        inside = to_crop(points, face.quad)
        depth = np.minimum(inside, 1 - inside).min(axis=-1).clip(0)
        depths.append(torch.from_numpy(depth.astype(np.float32))[None, None])
    total = sum(depths[1:], start=depths[0]).clamp(min=1e-12)
    shares = [depth / total for depth in depths]
    return shares if photo_mask is None else [share * photo_mask for share in shares]
