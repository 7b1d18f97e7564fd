"""The mask that a visitor paints: a PNG with the photo's shape, painted = may change."""

from __future__ import annotations

import base64
import binascii

from PIL import Image

from stylefeatureeditor.errors import MaskError, PhotoError
from stylefeatureeditor.photo.image import read_photo

MASK_BYTES = 4_000_000
MASK_PIXELS = 4_000_000


def read_painted(url: str) -> bytes:
    """Return the PNG of a data URL as the brush sends it; empty for none.

    Raises:
        MaskError: it is something else, or too large.
    """
    start = "data:image/png;base64,"
    if not url:
        return b""
    if not url.startswith(start) or len(url) > MASK_BYTES:
        raise MaskError("a painted mask must be a PNG of at most 3 megabytes")
    try:
        content = base64.b64decode(url[len(start) :], validate=True)
        read_photo(content, max_pixels=MASK_PIXELS)
    except (binascii.Error, PhotoError) as error:
        raise MaskError("the painted mask is not a picture that can be read") from error
    return content


def painted_at(png: bytes, width: int, height: int) -> Image.Image:
    """Return the mask at a size, grey, white = may change.

    Raises:
        MaskError: nothing is painted.
    """
    if not png:
        raise MaskError("nothing is painted yet: choose Paint above the photo")
    mask = read_photo(png, max_pixels=MASK_PIXELS)
    grey = mask.pixels[..., 0] if mask.alpha is None else mask.alpha
    return Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)
