"""The edited crop back into its photo.

Three blends. Two are under a soft mask that is 1 inside the crop and fades to 0 at its border; a
crop that is the whole photo has no seam to hide, and there the mask is 1 everywhere:
    feather     photo <- photo + mask * (edited - photo)
    residual    photo <- photo + mask * (edited - inversion)
where `edited` and `inversion` are first brought from the crop's grid to the photo's. Feather shows
exactly what the model drew; residual keeps the detail that the model could not draw. A photo pixel
whose mask is 0 keeps its bytes.

The third is Poisson's (Perez et al. 2003, "Poisson Image Editing"): where the mask is at least one
half, region O, the photo takes the drawn crop's gradients; at O's border its own values go on:
    poisson     photo <- edited - h in O,    Laplace(h) = 0 in O, h = edited - photo around it
so a crop whose light or colour is off leaves no seam.

Where crops of several faces overlap, each pixel goes mostly to the face that it is deeper inside
of, and one face's edit does not paint over the other's:
    photo <- photo + sum_i change_i,    change_i = paste_back of face i under its share
    share_i = depth_i / sum_j depth_j,  depth: distance to the crop's border in its sides, 0 outside

A crop finer than the photo is brought back by a few steps towards the least-squares solution of
    A(photo grid) = crop,
A being the bilinear sampling that made the crop. Its transpose averages all crop pixels under a
photo pixel, so nothing aliases, and the steps take back what A blurred: an unedited crop returns
to the photo it came from. A crop coarser than the photo is interpolated by bicubics.
docs/adr/0011 has the measurements.

Coordinates: continuous photo pixels (x, y), (0, 0) the corner of the first pixel; (u, v) across
and down the crop, 0 to 1. Shapes: H, W photo; h, w the quad's bounding box in it; S crop; C planes.
Values are levels, 0 to 255, in float32.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

from stylefeatureeditor.errors import ConfigError, FaceError, MaskError, check_shape
from stylefeatureeditor.photo.align import (
    Box,
    is_whole_photo,
    padding_weight,
    plan_crop,
    to_crop,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stylefeatureeditor.records import AlignedFace

Blend = Literal["feather", "residual", "poisson"]
Part = tuple[slice, slice]  # rows and columns of a photo

FADE = 0.1  # width of the soft border, in sides of the crop
_STEPS = 3  # docs/adr/0011: more sharpen a drawn crop, fewer leave an unedited one blurred
_STRIP = 1 << 21  # photo pixels blended at a time
# Poisson: with both, h is within a level of a direct solver's between two portraits of 500 px.
_CYCLES, _SWEEPS = 8, 4
_TINY = 1e-12


@torch.inference_mode(mode=False)
def paste_faces(
    faces: Sequence[AlignedFace],
    edited: Tensor,
    inversions: Tensor | None,
    *,
    blend: Blend,
    masks: Sequence[Tensor | None],
    photo_masks: Sequence[Tensor | None] | None = None,
) -> np.ndarray:
    """Return the photo with every edited crop in it, (H, W, 3) uint8.

    Beside the photo and the result, three planes of int16 and one of float32 are as large as the
    photo, however many the faces, none with one face; all else is as large as a crop.

    Args:
        faces: B crops of one photo.
        edited: (B, 3, S, S) in [-1, 1].
        inversions: the model's picture of the unedited crops, same shape; needed for "residual".
        blend: "feather", "residual" or "poisson", which needs memory for the whole of a crop's box.
        masks: for each face (1, 1, S, S) or None, 1 = may change.
        photo_masks: for each face (1, 1, H, W) or None, the same over the photo.

    Raises:
        ConfigError: the blend is unknown, or residual without inversions.
        ShapeError: `edited` or `inversions` differ from the crops.
        MaskError: a mask of another size.
        FaceError: a quad lies outside the photo.
    """
    if blend not in get_args(Blend):
        raise ConfigError(f"blend must be one of {', '.join(get_args(Blend))}, got {blend!r}")
    photo = faces[0].photo
    is_alone = len(faces) == 1
    depths = None if is_alone else _depths(faces)
    total = photo.copy() if is_alone else photo.astype(np.int16)
    over_photo = photo_masks or [None] * len(faces)
    for row, (face, mask, whole) in enumerate(zip(faces, masks, over_photo, strict=True)):
        one = slice(row, row + 1)
        drawn = None if inversions is None else inversions[one]
        for part, levels in _pasted(face, edited[one], drawn, blend, mask, whole, depths):
            total[part] = levels if is_alone else total[part] + levels - photo[part]
    return total if is_alone else total.clip(0, 255, out=total).astype(np.uint8)


def _pasted(
    face: AlignedFace,
    edited: Tensor,
    inversion: Tensor | None,
    blend: Blend,
    mask: Tensor | None,
    photo_mask: Tensor | None,
    depths: np.ndarray | None = None,
) -> Iterator[tuple[Part, np.ndarray]]:
    """Yield parts of the photo and what they become, (h, w, 3) uint8; together the crop's box.

    `depths` (H, W) is the sum over all faces, of which this one takes its share.
    """
    size = face.pixels.shape[-1]
    height, width = face.photo.shape[:2]
    check_shape("edited", edited, tuple(face.pixels.shape))
    _check_mask("mask", mask, (size, size))
    _check_mask("photo_mask", photo_mask, (height, width))

    drawn = _levels(edited)
    plan = plan_crop((width, height), face.quad, size)
    if blend == "residual":
        if inversion is None:
            raise ConfigError("the residual blend needs the inversion beside the edited crop")
        check_shape("inversion", inversion, tuple(face.pixels.shape))
        drawn = drawn - _levels(inversion)
    elif any(plan.pad):
        drawn = torch.cat([drawn, _levels(face.pixels)], dim=1)

    box = _bounding_box(face.quad, width, height)
    draw = _onto_photo(drawn, face.quad, box, smooth=False)
    cover = None if mask is None else _onto_photo(_plain(mask), face.quad, box, smooth=True)
    for part, x, y in _strips(box, whole=blend == "poisson"):
        start, stop = part[0].start, part[0].stop
        weight = torch.from_numpy(_soft_border(x, y, face))  # (h, w)
        if cover is not None:
            weight = weight * cover(start, stop)[0].clamp(0, 1)
        if photo_mask is not None:
            weight = weight * _plain(photo_mask[0, 0][part]).clamp(0, 1)
        if depths is not None:
            share = _depth(x, y, face.quad) / depths[part].clip(min=1e-12)
            weight = weight * torch.from_numpy(share)

        original = torch.from_numpy(face.photo[part].astype(np.float32)).permute(2, 0, 1)
        planes = draw(start, stop)  # (C, h, w)
        change = planes if blend == "residual" else planes[:3] - original
        if len(planes) == 6:
            # Near padding the crop shows the photo blurred: add what the edit changed in the crop.
            # Full strength at an eighth of the blur leaves 1/32 of it, at the ramp's middle.
            blurred = torch.from_numpy(padding_weight(plan, x, y) * 8).float().clamp(max=1)
            change = change + blurred * (original - planes[3:])
        if blend == "poisson":
            weight = (weight >= 0.5).float()
            change = change - _harmonic(change[None], weight[None, None])[0]
        blended = torch.where(weight > 0, original + weight * change, original)
        levels = blended.round().clamp(0, 255).to(torch.uint8)
        yield part, levels.permute(1, 2, 0).numpy()


def _harmonic(values: Tensor, free: Tensor) -> Tensor:
    """Solve Laplace(h) = 0 where `free` is 1, h = `values` where it is 0; 0 if all is free.

    The slope across the planes' own edge is 0. Shapes: values (1, C, h, w), free (1, 1, h, w).
    """
    found = values * (1 - free)
    for _ in range(_CYCLES):
        found = found + _correction(-free * _laplace(found), free)
    return found


def _correction(wanted: Tensor, free: Tensor) -> Tensor:
    """A multigrid cycle: about the h with Laplace(h) = `wanted` where `free` is 1, 0 elsewhere."""
    found = -0.2 * wanted
    for _ in range(_SWEEPS - 1):
        found = found + 0.2 * free * (_laplace(found) - wanted)
    height, width = free.shape[-2:]
    if max(height, width) > 2:
        left = free * (wanted - _laplace(found))
        free_below = (avg_pool2d(free, 2, ceil_mode=True) == 1).float()
        below = _correction(4 * free_below * avg_pool2d(left, 2, ceil_mode=True), free_below)
        step = free * interpolate(below, scale_factor=2.0, mode="bilinear")[..., :height, :width]
        # as far along it as is best: near the region's border the coarse step may be too long
        found = found + step * (
            (step * left).sum() / (step * _laplace(step)).sum().clamp(max=-_TINY)
        )
        for _ in range(_SWEEPS):
            found = found + 0.2 * free * (_laplace(found) - wanted)
    return found


def _laplace(planes: Tensor) -> Tensor:
    wide = pad(planes, (1, 1, 1, 1), mode="replicate")
    across = wide[..., 1:-1, :-2] + wide[..., 1:-1, 2:]
    return across + wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1] - 4 * planes


def _strips(box: Box, *, whole: bool = False) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
    """Yield the rows of a box a few at a time, with the x and y of their pixels' centres."""
    left, top, right, bottom = box
    rows = bottom - top if whole else max(1, _STRIP // (right - left))
    for start in range(top, bottom, rows):
        stop = min(start + rows, bottom)
        part = slice(start, stop), slice(left, right)
        yield part, np.arange(left, right) + 0.5, np.arange(start, stop) + 0.5


def _depths(faces: Sequence[AlignedFace]) -> np.ndarray:
    """The sum of the faces' depths at each photo pixel, (H, W)."""
    height, width = faces[0].photo.shape[:2]
    total = np.zeros((height, width), dtype=np.float32)
    for face in faces:
        for part, x, y in _strips(_bounding_box(face.quad, width, height)):
            total[part] += _depth(x, y, face.quad)
    return total


def _depth(x: np.ndarray, y: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """How deep photo positions x, y lie inside the crop, (h, w): in its sides, 0 outside."""
    inside = _in_crop(x, y, quad)
    return np.minimum(inside, 1 - inside).min(axis=-1).clip(0).astype(np.float32)


def _in_crop(x: np.ndarray, y: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """`to_crop` of every pair of photo positions x and y, (h, w, 2)."""
    across = to_crop(np.stack([x, np.zeros_like(x)], axis=-1), quad)
    down = to_crop(np.stack([np.zeros_like(y), y], axis=-1), quad) - to_crop(np.zeros(2), quad)
    return across + down[:, None]


def _levels(pixels: Tensor) -> Tensor:
    """[-1, 1] on any device -> 0..255, float32 on the CPU."""
    return (_plain(pixels) + 1) * 127.5


def _plain(tensor: Tensor) -> Tensor:
    """A float32 copy on the CPU that autograd may use, even if it comes from inference mode."""
    return tensor.detach().cpu().float().clone()


def _check_mask(name: str, mask: Tensor | None, size: tuple[int, int]) -> None:
    if mask is not None and tuple(mask.shape) != (1, 1, *size):
        raise MaskError(
            f"{name}: expected shape (1, 1, {size[0]}, {size[1]}), got {(*mask.shape,)}"
        )


def _bounding_box(quad: np.ndarray, width: int, height: int) -> Box:
    """The photo pixels that the quad touches."""
    low, high = np.floor(quad.min(axis=0)), np.ceil(quad.max(axis=0))
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    right, bottom = min(int(high[0]), width), min(int(high[1]), height)
    if right <= left or bottom <= top:
        raise FaceError("the crop lies outside the photo")
    return left, top, right, bottom


def _soft_border(x: np.ndarray, y: np.ndarray, face: AlignedFace) -> np.ndarray:
    """The mask (h, w) at photo positions x, y: 1 inside the crop, 0 from its border outward."""
    height, width = face.photo.shape[:2]
    if is_whole_photo(face.quad, width, height):
        return np.ones((len(y), len(x)), dtype=np.float32)
    inside = _in_crop(x, y, face.quad)
    ramp = np.clip(np.minimum(inside, 1 - inside) / FADE, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return (ramp[..., 0] * ramp[..., 1]).astype(np.float32)


def _onto_photo(
    planes: Tensor, quad: np.ndarray, box: Box, *, smooth: bool
) -> Callable[[int, int], Tensor]:
    """Bring crop planes (1, C, S, S) to the photo's grid: photo rows (start, stop) -> (C, h, w).

    `smooth` keeps to averages of the given values, as a mask must.
    """
    left, top, right, _ = box
    side = float(np.hypot(*(quad[3] - quad[0])))
    if side < planes.shape[-1]:
        whole = _gather(planes, quad, box, steps=0 if smooth else _STEPS)[0]
        return lambda start, stop: whole[:, start - top : stop - top]

    def interpolate(start: int, stop: int) -> Tensor:
        x, y = np.arange(left, right) + 0.5, np.arange(start, stop) + 0.5
        grid = torch.from_numpy(_in_crop(x, y, quad) * 2 - 1).float()
        mode = "bilinear" if smooth else "bicubic"
        return grid_sample(planes, grid[None], mode, "border", align_corners=False)[0]

    return interpolate


def _gather(planes: Tensor, quad: np.ndarray, box: Box, steps: int) -> Tensor:
    """Least-squares planes (1, C, h, w) of which `planes` (1, C, S, S) is the bilinear crop.

    Starts from the weighted mean of the crop pixels around each photo pixel and takes `steps`
    of x <- x + D^-1 A^T (planes - A x), D = A^T 1. Crop pixels outside the box have no say.
    """
    corners = tuple(map(tuple, quad.tolist()))
    sampling = _sampling(corners, box, planes.shape[-1])
    photo = sampling.spread(planes * sampling.inside) * sampling.scale
    for _ in range(steps):
        left = (planes - sampling.sample(photo)) * sampling.inside
        photo = photo + sampling.spread(left) * sampling.scale
    return photo


class _Sampling(NamedTuple):
    """The bilinear sampling A that made a crop."""

    grid: Tensor  # where each crop pixel lies in the box, (1, S, S, 2) in [-1, 1]
    side: tuple[int, int]  # h, w of the box
    inside: Tensor  # (1, 1, S, S), 1 where all of a crop pixel comes from the box
    scale: Tensor  # D^-1, (1, 1, h, w)

    def sample(self, photo: Tensor) -> Tensor:
        """A: (1, C, h, w) to (1, C, S, S)."""
        return grid_sample(photo, self.grid, "bilinear", "zeros", align_corners=False)

    def spread(self, crop: Tensor) -> Tensor:
        """A^T, the gradient of A: (1, C, S, S) to (1, C, h, w)."""
        with torch.enable_grad():
            photo = torch.zeros(1, crop.shape[1], *self.side, requires_grad=True)
            return torch.autograd.grad(self.sample(photo), photo, crop)[0]


@lru_cache(maxsize=2)  # a moving slider pastes the same face back again and again
def _sampling(corners: tuple[tuple[float, float], ...], box: Box, size: int) -> _Sampling:
    quad = np.array(corners)
    left, top, right, bottom = box
    across, down = np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2)
    points = (
        quad[0] + across[..., None] * (quad[3] - quad[0]) + down[..., None] * (quad[1] - quad[0])
    )
    unit = (points - (left, top)) / (right - left, bottom - top)
    grid = torch.from_numpy(unit * 2 - 1).float()[None]
    side = (bottom - top, right - left)
    unknown = _Sampling(grid, side, torch.ones(1, 1, size, size), torch.ones(1, 1, *side))
    inside = (unknown.sample(unknown.scale) > 0.999).float()
    return unknown._replace(inside=inside, scale=1 / unknown.spread(inside).clamp(min=1e-3))
