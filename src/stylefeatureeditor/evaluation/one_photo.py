"""One photo, several methods: a row each, from the photo to its edits (Figures 4, 5 and 13).

            photo | inversion | edit | ... | |inversion - photo| | |edit - inversion| | ...
    name
    seconds

Shapes: S side of a method's crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.runner import timed
from stylefeatureeditor.photo.contact_sheet import DIFFERENCE_GAIN, difference_map, draw_grid
from stylefeatureeditor.photo.image import is_grey, to_grey, to_uint8

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from torch import Tensor

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.methods.method import Method

SMALLEST_TILE = 64  # pixels; labels need as much


@dataclass(frozen=True)
class DrawnPhoto:
    """The pictures of one method for a photo."""

    name: str  # of the method
    photo: Tensor  # its crop, (1, 3, S, S) in [-1, 1]
    inversion: Tensor  # X^, the same shape, unclipped
    edits: dict[str, Tensor]  # label -> X'
    invert_seconds: float  # of the inversion
    edit_seconds: float | None  # mean of the edits; None without edits


def draw_photo(
    method: Method,
    photo: Tensor,
    edits: Mapping[str, tuple[EditDirection, float]],
) -> DrawnPhoto:
    """Invert a photo and edit it, and take the time of both."""
    started = timed(photo.device)
    inversion = method.invert(photo)
    redrawn, device = method.reconstruct(inversion), method.device
    inverted = timed(device)
    drawn = {
        label: method.edit(inversion, {direction: strength}).cpu()
        for label, (direction, strength) in edits.items()
    }
    edited = timed(device)
    return DrawnPhoto(
        method.name,
        photo.cpu(),
        redrawn.cpu(),
        drawn,
        inverted - started,
        (edited - inverted) / len(edits) if edits else None,
    )


def compare_in_picture(
    drawn: Sequence[DrawnPhoto], *, differences: bool = False, tile: int = 256
) -> Image.Image:
    """Return one picture with a row per method."""
    if not drawn or tile < SMALLEST_TILE:
        raise ConfigError(
            f"expected rows and tiles of at least {SMALLEST_TILE} px, got {len(drawn)} of {tile}"
        )
    rows = [_pictures(each, differences=differences) for each in drawn]
    heads = []
    for each in drawn:
        head = [each.name, f"inverts in {_short(each.invert_seconds)}"]
        if each.edit_seconds is not None:
            head.append(f"edits in {_short(each.edit_seconds)}")
        heads.append(head)
    pictures = [[Image.fromarray(pixels) for pixels in row.values()] for row in rows]
    return draw_grid(list(rows[0]), pictures, heads, tile)


def _pictures(drawn: DrawnPhoto, *, differences: bool) -> dict[str, np.ndarray]:
    """The pictures of a row under their labels, (S, S, 3) uint8 each."""
    edits = {label: to_uint8(pixels)[0] for label, pixels in drawn.edits.items()}
    photo, inversion = to_uint8(drawn.photo)[0], to_uint8(drawn.inversion)[0]
    if is_grey(photo):  # what a method draws of it stays grey, as in an edit
        inversion = to_grey(inversion)
        edits = {label: to_grey(pixels) for label, pixels in edits.items()}
    pictures = {"photo": photo, "inversion": inversion, **edits}
    if differences:
        gain = f"x {DIFFERENCE_GAIN}"
        pictures[f"|inversion - photo| {gain}"] = difference_map(photo, inversion)
        for label, pixels in edits.items():
            pictures[f"|{label} - inversion| {gain}"] = difference_map(inversion, pixels)
    return pictures


def _short(seconds: float) -> str:
    """About three digits."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.3g} s" if seconds < 99.95 else f"{seconds:.0f} s"
