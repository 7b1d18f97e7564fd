"""The many ways a picture stores its colours, brought to 8-bit RGB and a separate alpha.

16-bit values are scaled, 65535 becomes 255. CMYK, LAB, and grey that has a profile become sRGB;
every RGB picture keeps the numbers it has.

Shapes: H, W height and width. Everything returned is uint8.
"""

from __future__ import annotations

import io
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

from stylefeatureeditor.errors import PhotoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BAND_PIXELS = 1 << 20  # converted at a time
_GREY = ("1", "L", "LA", "La")

logger = logging.getLogger(__name__)
_opening = threading.Lock()


@contextmanager
def without_pillow_limit() -> Iterator[None]:
    """Turn off Pillow's own warning and error for large pictures: `max_pixels` takes their place.

    Pillow keeps the limit in a global; the lock keeps two readers from restoring each other's.
    """
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def split_image(
    image: Image.Image, profile: bytes | None, name: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return (H, W, 3) pixels and (H, W) alpha or None of a decoded image of any mode.

    `name` is what a warning of its profile calls it.

    Modes I and F carry no range of their own: values up to 255 are taken as 8 bit (F up to 1 as
    fractions), up to 65535 as 16 bit. It works band by band: beside the image and what is returned,
    memory does not grow with the picture.

    Raises:
        PhotoError: grey values are negative, not a number, or above 65535.
    """
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    alpha = np.empty((height, width), dtype=np.uint8) if image.has_transparency_data else None
    rows = max(1, BAND_PIXELS // width)
    bands = [(top, min(top + rows, height)) for top in range(0, height, rows)]

    def cut(top: int, bottom: int) -> Image.Image:
        with without_pillow_limit():
            return image.crop((0, top, width, bottom))

    is_wide = image.mode in ("I", "F") or image.mode.startswith("I;16")
    curve = _grey_curve(profile, name) if is_wide or image.mode in _GREY else None
    if is_wide:
        full = _full_scale(np.asarray(cut(*band)) for band in bands)
        for top, bottom in bands:
            levels = np.asarray(cut(top, bottom)).astype(np.float64) * (255 / full)
            if curve is not None:
                levels = np.interp(levels, np.arange(256), curve)
            pixels[top:bottom] = np.rint(levels).astype(np.uint8)[:, :, None]
        return pixels, None
    to_srgb = from_profile(profile, "CMYK", name) if image.mode == "CMYK" else None
    for top, bottom in bands:
        band = cut(top, bottom)
        if to_srgb is not None:
            band = ImageCms.applyTransform(band, to_srgb) or band
        if image.mode == "La":  # premultiplied grey: Pillow converts it to LA only
            band = band.convert("LA")
        if alpha is None:
            pixels[top:bottom] = np.asarray(band.convert("RGB"))
        else:
            rgba = np.asarray(band.convert("RGBA"))
            pixels[top:bottom], alpha[top:bottom] = rgba[:, :, :3], rgba[:, :, 3]
        if curve is not None:
            pixels[top:bottom] = curve[pixels[top:bottom]]
    return pixels, alpha


def _grey_curve(profile: bytes | None, name: str) -> np.ndarray | None:
    """The sRGB level of each of 256 grey levels by the picture's own profile, (256,) uint8."""
    if profile is None or profile[16:20] != b"GRAY":
        return None
    to_srgb = from_profile(profile, "L", name)
    if to_srgb is None:
        return None
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.asarray(ImageCms.applyTransform(ramp, to_srgb))[0].mean(axis=1)
    return np.rint(levels).astype(np.uint8)  # the channels' mean: grey stays grey


def from_profile(profile: bytes | None, mode: str, name: str) -> ImageCms.ImageCmsTransform | None:
    """What takes CMYK, L or RGB to sRGB by its own profile; None where it has no sound one.

    Pillow has already undone the inversion that Adobe writes into JPEG.
    """
    if profile is None:
        return None
    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # LittleCMS's shortcut loses up to ten levels in the dark, and 256 levels need none
            flags=ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE,
        )
    except (ImageCms.PyCMSError, ImportError, OSError):
        kind = "grey" if mode == "L" else mode
        logger.warning("%s: the %s profile is unreadable, a plain conversion is used", name, kind)
        return None


def _full_scale(bands: Iterable[np.ndarray]) -> float:
    """What white is in grey values of an unstated range; see `split_image` for the rule."""
    lows, highs = [], []
    for levels in bands:
        lows.append(float(levels.min()))
        highs.append(float(levels.max()))
        kind = levels.dtype.kind
    low, high = float(np.min(lows)), float(np.max(highs))  # NaN stays NaN
    if not (low >= 0 and high <= 65535):  # also refuses NaN
        raise PhotoError(f"expected grey values from 0 to 65535, got {low:g} to {high:g}")
    if kind == "u" or high > 255:
        return 65535.0
    return 255.0 if kind != "f" or high > 1 else 1.0


def split_array(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return (H, W, 3) pixels and (H, W) alpha or None of an array; `read_photo` lists the kinds.

    Raises:
        PhotoError: the array has another shape, type or range.
    """
    planes = array[:, :, None] if array.ndim == 2 else array
    if planes.ndim != 3 or planes.shape[2] not in (1, 2, 3, 4) or not planes.size:
        raise PhotoError(
            f"expected an array (H, W) or (H, W, 1 to 4) with the channels last, got {array.shape}"
        )
    if array.dtype == np.bool_:
        planes = planes.astype(np.uint8) * 255
    elif array.dtype.kind == "u" and array.dtype.itemsize == 2:
        planes = np.rint(planes / 257).astype(np.uint8)
    elif array.dtype.kind == "f":
        low, high = float(planes.min()), float(planes.max())
        if not (low >= 0 and high <= 1):
            raise PhotoError(f"a float array must lie in 0..1, got {low:g} to {high:g}")
        planes = np.rint(planes.astype(np.float64) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise PhotoError(f"expected a uint8, uint16, bool or float array, got {array.dtype}")
    colours = 3 if planes.shape[2] > 2 else 1
    pixels = np.repeat(planes[:, :, :colours], 3 // colours, axis=2)
    return pixels, planes[:, :, -1].copy() if planes.shape[2] in (2, 4) else None
