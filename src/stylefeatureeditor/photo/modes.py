"""The many ways a picture stores its colours, brought to 8-bit RGB and a separate alpha.

16-bit values are scaled, 65535 becomes 255. CMYK and LAB become sRGB; every RGB picture keeps the
numbers it has.

Shapes: H, W height and width. Everything returned is uint8.
"""

from __future__ import annotations

import io
import logging

import numpy as np
from PIL import Image, ImageCms

from stylefeatureeditor.errors import PhotoError

logger = logging.getLogger(__name__)


def split_image(image: Image.Image, profile: bytes | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return (H, W, 3) pixels and (H, W) alpha or None of a decoded image of any mode.

    Modes I and F carry no range of their own: values up to 255 are taken as 8 bit (F up to 1 as
    fractions), up to 65535 as 16 bit.

    Raises:
        PhotoError: grey values are negative, not a number, or above 65535.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        levels = _to_8_bit(np.asarray(image))
        return np.repeat(levels[:, :, None], 3, axis=2), None
    if image.mode == "CMYK":
        return np.array(_from_cmyk(image, profile)), None
    if image.mode == "La":  # premultiplied grey: Pillow converts it to LA only
        image = image.convert("LA")
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return rgba[:, :, :3].copy(), rgba[:, :, 3].copy()
    return np.array(image.convert("RGB")), None


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    """CMYK to sRGB, by its own profile where it has a sound one.

    Pillow has already undone the inversion that Adobe writes into JPEG.
    """
    if profile is not None:
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, ImportError, OSError):
            logger.warning("the CMYK profile is unreadable, a plain conversion is used")
        else:
            assert converted is not None
            return converted
    return image.convert("RGB")


def _to_8_bit(levels: np.ndarray) -> np.ndarray:
    """Grey values of an unstated range to uint8; see `split_image` for the rule."""
    low, high = float(levels.min()), float(levels.max())
    if not (low >= 0 and high <= 65535):  # also refuses NaN
        raise PhotoError(f"expected grey values from 0 to 65535, got {low:g} to {high:g}")
    fraction = levels.astype(np.float64)
    if levels.dtype.kind == "u" or high > 255:
        fraction /= 65535
    elif levels.dtype.kind != "f" or high > 1:
        fraction /= 255
    return np.rint(fraction * 255).astype(np.uint8)


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
