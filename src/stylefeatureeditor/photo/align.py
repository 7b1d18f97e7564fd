"""The FFHQ crop: a square around a face, turned upright, as StyleGAN2 was trained on.

Karras et al. 2019, "A Style-Based Generator Architecture for GANs" (FFHQ); what the release does,
and where this differs, is in docs/adr/0011.

Coordinates: (x, y), x to the right, y down. Quads are continuous: (0, 0) is the outer corner of
the photo's first pixel, whose centre is (0.5, 0.5). Landmarks count pixels: (0, 0) is the centre
of the first pixel. The quad maps onto the crop's own corners, so a crop pixel (column i, row j)
shows the photo around
    top_left + (i + 0.5) / S * (top_right - top_left) + (j + 0.5) / S * (bottom_left - top_left).

Shapes: H, W photo, S side of the crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from stylefeatureeditor.errors import FaceError
from stylefeatureeditor.photo.image import to_tensor, visible
from stylefeatureeditor.records import AlignedFace, FaceBox, Photo

Box = tuple[int, int, int, int]  # left, top, right, bottom
BAND = 64  # rows blurred at a time


def ffhq_quad(
    landmarks: np.ndarray, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Return the corners of the FFHQ crop, (4, 2): top left, bottom left, bottom right, top right.

    The side is the larger of 4 eye distances and 3.6 eye-to-mouth distances, the centre a tenth
    of the way from the eyes to the mouth, and the x axis the mean of eye line and the
    perpendicular to eye-mouth line.

    Args:
        landmarks: (68, 2) points (x, y); (0, 0) is the centre of the first pixel.
        scale: side of the crop against FFHQ's; 1.2 shows more around the face.
        shift: (right, down) along the crop's own axes, in sides of the FFHQ crop.

    Raises:
        FaceError: the landmarks span no area.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    left_eye, right_eye = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    eyes, mouth = (left_eye + right_eye) * 0.5, (points[48] + points[54]) * 0.5
    eye_to_eye, eye_to_mouth = right_eye - left_eye, mouth - eyes

    right = eye_to_eye + np.array([eye_to_mouth[1], -eye_to_mouth[0]])
    length = np.hypot(*right)
    half = max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    if not (length > 0 and half >= 1 and scale > 0):
        raise FaceError(f"no crop of scale {scale:g} can be made from these landmarks")
    right = right / length * half  # half a side long
    down = np.array([-right[1], right[0]])
    centre = eyes + eye_to_mouth * 0.1 + 2 * (shift[0] * right + shift[1] * down)
    right, down = right * scale, down * scale
    corners = [centre - right - down, centre - right + down, centre + right + down]
    return np.stack([*corners, centre + right - down]) + 0.5  # pixel centres -> continuous


def to_crop(points: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """Move continuous photo points (..., 2) into the crop: (0, 0) top left, (1, 1) bottom right."""
    quad = np.asarray(quad, dtype=np.float64)
    axes = np.stack([quad[3] - quad[0], quad[1] - quad[0]], axis=1)  # columns: right, down
    return (np.asarray(points) - quad[0]) @ np.linalg.inv(axes).T


def crop(
    pixels: np.ndarray, quad: np.ndarray, size: int, *, shrink: int | None = None
) -> np.ndarray:
    """Return the quad's content as (S, S, 3) uint8.

    If the quad leaves the photo, the photo is mirrored, blurred and faded to its median colour
    there, as in FFHQ; `padding_weight` says how far that reaches back into the photo. A quad that
    is the photo's own outline gives the photo.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        quad: (4, 2) corners as `ffhq_quad` returns them.
        size: S.
        shrink: whole factor by which the photo is reduced, antialiased, before it is sampled;
            by default the largest that keeps at least S pixels per side. (The release takes half
            of that, and its bilinear sampling then skips pixels.)

    Raises:
        FaceError: the quad lies outside the photo.
    """
    height, width = pixels.shape[:2]
    plan = plan_crop((width, height), quad, size, shrink)
    image = _region(pixels, plan)
    if any(plan.pad):
        image = _pad(image, plan)
    corners = plan.to_region(np.asarray(quad, dtype=np.float64))
    return np.asarray(
        Image.fromarray(image).transform(
            (size, size),
            Image.Transform.QUAD,
            tuple(corners.ravel()),
            Image.Resampling.BILINEAR,
        )
    )


@dataclass(frozen=True)
class CropPlan:
    """What is cut out of the photo, and padded, before a crop is sampled."""

    shrink: int  # the photo is reduced by this first
    size: tuple[int, int]  # width and height of the reduced photo
    # (2,) reduced pixels per photo pixel, along x and y; 1 / shrink but for rounding
    factor: np.ndarray
    box: Box  # part of the reduced photo that is kept
    pad: Box  # pixels added to the box at its left, top, right, bottom
    side: float  # side of the quad in reduced pixels

    def to_region(self, points: np.ndarray) -> np.ndarray:
        """Move continuous photo points (..., 2) into the padded region, continuous as well."""
        return points * self.factor - np.array(self.box[:2]) + np.array(self.pad[:2])


def plan_crop(
    photo_size: tuple[int, int], quad: np.ndarray, size: int, shrink: int | None = None
) -> CropPlan:
    """Return how `crop` treats a photo of (width, height); its errors are those of `crop`."""
    quad = np.asarray(quad, dtype=np.float64)
    side = float(np.hypot(*(quad[3] - quad[0])))
    shrink = max(1, int(side / size) if shrink is None else shrink)
    reduced = tuple(max(1, round(length / shrink)) for length in photo_size)
    factor = np.array(reduced) / np.array(photo_size)
    side /= shrink

    corners = quad * factor - 0.5  # whole pixels are counted from pixel centres, as in FFHQ
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    border = max(round(side * 0.1), 3)
    start = np.maximum(low - border, 0).astype(int)
    stop = np.minimum(high + border, reduced).astype(int)
    if (stop <= start).any():
        raise FaceError("the crop lies outside the photo: check its scale and shift")
    box = (int(start[0]), int(start[1]), int(stop[0]), int(stop[1]))

    before = np.maximum(start - low + border, 0)
    after = np.maximum(high - start - (stop - start) + border, 0)
    pad: Box = (0, 0, 0, 0)
    inside = (corners >= -0.5 - 1e-6).all() and (corners <= np.array(reduced) - 0.5 + 1e-6).all()
    if not inside and max(*before, *after) > border - 4:
        least = max(1, round(side * 0.3))
        widths = np.maximum([*before, *after], least).astype(int)
        pad = (int(widths[0]), int(widths[1]), int(widths[2]), int(widths[3]))
    return CropPlan(shrink, (reduced[0], reduced[1]), factor, box, pad, side)


def padding_weight(plan: CropPlan, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how much of the crop is padding at photo positions x (W',), y (H',), (H', W'): 0 to 1.

    The blur starts inside the photo, a third of the padding's width from its edge, so a crop does
    not show the photo there as it is.
    """
    if not any(plan.pad):
        return np.zeros((len(y), len(x)), dtype=np.float32)
    across = x * plan.factor[0] - plan.box[0] + plan.pad[0] - 0.5
    down = y * plan.factor[1] - plan.box[1] + plan.pad[1] - 0.5
    return np.clip(_depth(plan, across, down) * 3 + 1, 0, 1)


def _depth(plan: CropPlan, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth (H', W') in the padding at region pixels x, y: 0 at the box's edge, 1 at the rim."""
    left, top, right, bottom = plan.pad
    width = plan.box[2] - plan.box[0] + left + right
    height = plan.box[3] - plan.box[1] + top + bottom
    across = 1 - np.minimum(x / left, (width - 1 - x) / right)
    down = 1 - np.minimum(y / top, (height - 1 - y) / bottom)
    return np.maximum(across[None, :], down[:, None])


def _region(pixels: np.ndarray, plan: CropPlan) -> np.ndarray:
    """The plan's box of the reduced photo, (h, w, 3) uint8."""
    left, top, right, bottom = plan.box
    if plan.shrink == 1:
        return np.ascontiguousarray(pixels[top:bottom, left:right])
    # Only the box is reduced, on the grid that reducing the whole photo would have.
    edges = np.array(plan.box).reshape(2, 2) / plan.factor
    height, width = pixels.shape[:2]
    area = np.minimum(edges, (width, height))
    size = (right - left, bottom - top)
    reach = 4 * plan.shrink  # of the filter, 3, and a pixel more
    start = np.maximum(np.floor(area[0]).astype(int) - reach, 0)
    stop = np.ceil(area[1]).astype(int) + reach
    near = np.ascontiguousarray(pixels[start[1] : stop[1], start[0] : stop[0]])
    within = tuple((area - start).ravel())
    return np.asarray(Image.fromarray(near).resize(size, Image.Resampling.LANCZOS, box=within))


def _pad(region: np.ndarray, plan: CropPlan) -> np.ndarray:
    """Mirror the region outward, blur the rim and fade it to the median colour."""
    left, top, right, bottom = plan.pad
    height, width = region.shape[0] + top + bottom, region.shape[1] + left + right
    depth = _depth(plan, np.arange(width), np.arange(height))
    blur, fade = np.clip(depth * 3 + 1, 0, 1), np.clip(depth, 0, 1)
    padded = np.empty((height, width, 3), dtype=np.uint8)
    for channel in range(3):  # one at a time: these are the largest arrays of the whole edit
        plane = np.pad(region[:, :, channel], ((top, bottom), (left, right)), mode="reflect")
        plane = plane.astype(np.float32)
        plane += (_gaussian_blur(plane, plan.side * 0.02) - plane) * blur
        plane += (np.median(plane) - plane) * fade
        padded[:, :, channel] = np.rint(plane, out=plane).clip(0, 255, out=plane)
    return padded


def _gaussian_blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    """Blur (h, w) along both axes; the kernel ends at 4 sigma, the plane is mirrored outside."""
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
    taps = torch.from_numpy(kernel / kernel.sum())
    plane = plane.T
    for _ in range(2):  # each turn blurs the last axis, y first, and swaps the two
        end = plane.shape[1] + 2 * radius
        length = -(-end // 64) * 64  # a length that FFTs are fast at
        blurred = np.empty(plane.shape[::-1], dtype=np.float32)
        for first in range(0, len(plane), BAND):
            rows = slice(first, first + BAND)
            wide = np.pad(plane[rows], ((0, 0), (radius, radius)), mode="symmetric")
            spectrum = torch.fft.rfft(torch.from_numpy(wide).double(), length)
            spectrum *= torch.fft.rfft(taps, length)
            # The kernel starts at index 0, so the result comes 2 * radius late.
            part = torch.fft.irfft(spectrum, length)[:, 2 * radius : end]
            blurred[:, rows] = part.float().T.numpy()
        plane = blurred
    return plane.T


def whole_photo_as_face(photo: Photo, size: int, box: FaceBox | None = None) -> AlignedFace:
    """Return a photo that needs no aligning as a face.

    The crop is its middle square, or the square about the middle of `box` that holds it.

    Raises:
        FaceError: the box lies outside the photo, or is empty.
    """
    height, width = photo.pixels.shape[:2]
    quad = middle_square(width, height)
    if box is not None:
        side = max(box.width, box.height)
        if not (min(box.width, box.height) >= 1 and side <= 4 * max(width, height)):
            raise FaceError(
                "a crop has at least a pixel a side and at most four times the photo's, got "
                f"{box.width:g} x {box.height:g}"
            )
        if not (abs(box.left) <= 4 * max(width, height) >= abs(box.top)):
            raise FaceError("the crop lies outside the photo: check its box")
        corner = np.array([box.left + (box.width - side) / 2, box.top + (box.height - side) / 2])
        quad = corner + side * np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
    return AlignedFace(to_tensor(crop(visible(photo), quad, size)), photo.pixels, quad)


def is_whole_photo(quad: np.ndarray, width: int, height: int) -> bool:
    """Return whether a crop is the photo itself, as `whole_photo_as_face` makes it of squares."""
    return width == height and bool(np.array_equal(quad, middle_square(width, height)))


def middle_square(width: int, height: int) -> np.ndarray:
    """Return the corners of the largest square about a photo's middle, (4, 2), on whole pixels."""
    side = min(width, height)
    corner = np.array([(width - side) // 2, (height - side) // 2], dtype=np.float64)
    return corner + side * np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
