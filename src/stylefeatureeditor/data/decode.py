"""From the bytes of a picture to a square of pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from stylefeatureeditor.photo.image import read_photo

PAD_ROWS = 64  # padded and resized at a time

Fit = Literal["crop", "pad"]


def decode(data: bytes, size: int, fit: Fit) -> np.ndarray:
    """Turn the bytes of an image file into (3, size, size) uint8 RGB, upright.

    What is transparent comes out on black.

    Raises:
        PhotoError: the bytes are no picture, damaged, or too large.
    """
    photo = read_photo(data)
    picture = Image.fromarray(photo.pixels)
    if photo.alpha is not None:
        black = Image.new("RGB", picture.size)
        picture = Image.composite(picture, black, Image.fromarray(photo.alpha))
    width, height = picture.size
    side = min(width, height) if fit == "crop" else max(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    if fit == "pad" and width != height:  # by rows: the square may be huge
        rows = Image.new("RGB", (size, height))
        for y in range(0, height, PAD_ROWS):
            band = picture.crop((left, y, left + side, min(y + PAD_ROWS, height)))
            rows.paste(band.resize((size, band.height), Image.Resampling.LANCZOS), (0, y))
        picture = rows.crop((0, top, size, top + side))  # outside is black
    elif width != height:
        picture = picture.crop((left, top, left + side, top + side))
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))
