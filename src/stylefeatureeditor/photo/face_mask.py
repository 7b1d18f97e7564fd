"""Edit masks: which part of a face may change. 1 = may change, 0 = stays.

From the landmarks: the convex hull of the 68 points and of an estimated forehead, fading outward.
From a file: white = may change, at the size of the photo or of the crop.

Masks are float (1, 1, H, W) over the photo or (1, 1, S, S) over the crop, in [0, 1]. Coordinates
as in `align.py`: quads are continuous, landmarks count from the centre of the first pixel.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from stylefeatureeditor.errors import MaskError, PhotoError
from stylefeatureeditor.photo.align import to_crop
from stylefeatureeditor.photo.image import read_photo

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

FEATHER = 0.06  # width over which the mask fades outside the face, in sides of the crop


def face_mask(landmarks: np.ndarray, quad: np.ndarray, size: int) -> Tensor:
    """Return the face region of a crop, (1, 1, size, size): 1 on the face, else 0."""
    points = np.asarray(landmarks, dtype=np.float64)
    outline = _convex_hull(np.concatenate([points, _forehead(points)]))
    hull = torch.from_numpy(to_crop(outline + 0.5, quad)).float()
    centres = (torch.arange(size) + 0.5) / size
    distance = _distance(hull, centres[None, :], centres[:, None])  # (S, S)
    ramp = (1 - distance / FEATHER).clamp(0, 1)
    return (ramp * ramp * (3 - 2 * ramp))[None, None]


def read_mask(
    source: str | Path | bytes | IO[bytes] | Image.Image | np.ndarray, *sizes: tuple[int, int]
) -> Tensor:
    """Read a mask of one of `sizes`, (1, 1, H, W): white = may change (1), transparent = stays (0).

    Raises:
        MaskError: the mask has another size, or cannot be read.
    """
    try:
        photo = read_photo(source)
    except PhotoError as error:
        raise MaskError(f"the mask cannot be used: {error}") from error
    height, width = photo.pixels.shape[:2]
    if (width, height) not in sizes:
        wanted = " or ".join(f"{w} x {h}" for w, h in dict.fromkeys(sizes))
        raise MaskError(f"the mask must have {wanted} pixels, it has {width} x {height}")
    grey = photo.pixels @ np.array([0.299, 0.587, 0.114]) / 255  # luma of Rec. 601
    if photo.alpha is not None:
        grey = grey * (photo.alpha / 255)
    return torch.from_numpy(grey.clip(0, 1)).float()[None, None]


def mask_to_crop(mask: Tensor, quad: np.ndarray, size: int) -> Tensor:
    """Return the part of a photo's mask (1, 1, H, W) that a crop shows, (1, 1, S, S).

    Outside the photo nothing may change.
    """
    shrink = max(1, int(np.hypot(*(quad[3] - quad[0])) / size))
    corners = np.asarray(quad, dtype=np.float64) / shrink
    left, top = (np.floor(corners.min(axis=0)).clip(2).astype(int) - 2).tolist()
    right, bottom = (np.ceil(corners.max(axis=0)).astype(int) + 2).tolist()
    rows, columns = slice(top * shrink, bottom * shrink), slice(left * shrink, right * shrink)
    image = Image.fromarray(mask[0, 0, rows, columns].detach().cpu().float().numpy())
    reduced = image.reduce(shrink) if shrink > 1 else image
    shown = tuple((corners - (left, top)).ravel())
    crop = reduced.transform((size, size), Image.Transform.QUAD, shown, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(crop))[None, None].clamp(0, 1)


def _forehead(points: np.ndarray) -> np.ndarray:
    """Points of the hairline: half an ellipse from temple to temple.

    Its height follows the rule of thirds: from the brows to the hairline it is as far as from
    the base of the nose to the brows.
    """
    left, right = points[0], points[16]
    centre, across = (left + right) / 2, (right - left) / 2
    up = points[17:27].mean(axis=0) - points[33]
    up = up * 2 + points[33] - centre  # from the temples' middle to the hairline
    angle = np.linspace(0, np.pi, 19)[1:-1, None]  # the temples are landmarks already
    return centre + np.cos(angle) * across + np.sin(angle) * up


def _convex_hull(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull, (n, 2), in order (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, points))
    chains = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, ...]] = []
        for point in sequence:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        chains.append(chain[:-1])
    return np.array(chains[0] + chains[1])


def _turn(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> float:
    """Twice the signed area of the triangle a, b, c."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _distance(hull: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Distance of the points x (1, S), y (S, 1) to a convex polygon (n, 2); below 0 inside it.

    The largest distance to the line of a side: beyond a corner a little less than to the corner.
    """
    sides = hull.roll(-1, dims=0) - hull
    # The hull runs clockwise on the screen (y down), so (dy, -dx) points out of it.
    lengths = sides.norm(dim=1, keepdim=True).clamp(min=1e-9)  # two corners may coincide
    normals = torch.stack([sides[:, 1], -sides[:, 0]], dim=1) / lengths
    offsets = (normals * hull).sum(dim=1)
    nearest = torch.full((len(y), x.shape[1]), -torch.inf, dtype=x.dtype)
    for normal, offset in zip(normals, offsets, strict=True):
        nearest = torch.maximum(nearest, x * normal[0] + (y * normal[1] - offset))
    return nearest
