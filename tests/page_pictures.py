"""Files that tests of the page send."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def png(array: np.ndarray) -> bytes:
    """The file of a picture."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def left_half() -> bytes:
    """A brush's picture: white on transparent, the left half painted."""
    rgba = np.zeros((48, 52, 4), np.uint8)
    rgba[:, :26] = 255
    return png(rgba)
