"""How each method's release brings a picture to the side that its networks see.

    shrink       PIL's Resize: low-pass filtered             pSp, ReStyle, HFGI, Style Transformer;
                                                             bicubic: StyleRes
    sample       bilinear between pixel centres, unfiltered  HFGI and HyperInverter, between passes
    pool         means of equal blocks                       ReStyle, HyperStyle, between passes
    halve        bilinear halvings, one after the other      Feature-Style

All take and give (B, 3, S, S) in [-1, 1]; a picture of the wanted side keeps its pixels. PIL rounds
its result to 8 bits; these do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch.nn import functional

from stylefeatureeditor.device import average_pool
from stylefeatureeditor.errors import ShapeError, check_shape
from stylefeatureeditor.runtimes.convolution import cpu_layout

if TYPE_CHECKING:
    from torch import Tensor


def shrink(photos: Tensor, side: int, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """Return (B, 3, side, side), filtered so that nothing aliases."""
    check_shape("photos", photos, (None, 3, None, None))
    if photos.shape[-2:] != (side, side):
        photos = functional.interpolate(photos, (side, side), mode=mode, antialias=True)
    return cpu_layout(photos)


def sample(photos: Tensor, side: int) -> Tensor:
    """Return (B, 3, side, side), each pixel from its four nearest."""
    check_shape("photos", photos, (None, 3, None, None))
    if photos.shape[-2:] == (side, side):
        return photos
    return functional.interpolate(photos, (side, side), mode="bilinear")


def pool(photos: Tensor, side: int) -> Tensor:
    """Return (B, 3, side, side), each pixel the mean of a block."""
    check_shape("photos", photos, (None, 3, None, None))
    return average_pool(photos, side)


def halve(photos: Tensor, side: int) -> Tensor:
    """Return (B, 3, side, side) by halvings; ShapeError unless they lead to that side."""
    check_shape("photos", photos, (None, 3, None, None))
    height, width = photos.shape[-2:]
    factor = height // side
    if height != width or factor < 1 or factor & (factor - 1) or factor * side != height:
        raise ShapeError(
            f"photos: expected a side of {side} times a power of two, got {height} x {width}"
        )
    while photos.shape[-1] > side:
        photos = functional.interpolate(photos, scale_factor=0.5, mode="bilinear")
    return cpu_layout(photos)
