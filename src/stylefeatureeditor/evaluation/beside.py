"""One photo, several methods: a row each, from the photo to its edits (Figures 4, 5 and 13).

            photo | inversion | edit | ... | |inversion - photo| | |edit - inversion| | ...
    name
    seconds

Difference maps show the mean over the channels, black for none, in one scale for all rows.

Shapes: S side of a method's crop.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.photo.image import to_uint8

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.methods.method import Method

PAPER, INK, FAINT = (255, 255, 255), (28, 28, 30), (110, 110, 116)
WIDEST_NOTE = "inverts in 9999 ms"  # so that a picture's size does not hang on the speed
MOST = 64  # levels of 255 at which a difference map is brightest
# From black over violet and orange to pale yellow: darker means less, in grey too.
RAMP = np.array([(0, 0, 0), (66, 10, 104), (160, 40, 98), (237, 105, 37), (252, 255, 164)], float)


@dataclass(frozen=True)
class Row:
    """What one method makes of a photo.

    Attributes:
        name: of the method.
        photo: its crop, (1, 3, S, S) in [-1, 1].
        inversion: X^, the same shape, unclipped.
        edits: label -> X'.
        invert_seconds: the inversion took.
        edit_seconds: an edit took, the mean; None if there was none.
    """

    name: str
    photo: Tensor
    inversion: Tensor
    edits: dict[str, Tensor]
    invert_seconds: float
    edit_seconds: float | None


def make_row(
    method: Method,
    photo: Tensor,
    edits: Mapping[str, tuple[EditDirection, float]],
) -> Row:
    """Invert a photo and edit it, and take the time of both.

    Args:
        method: on its device.
        photo: (1, 3, S, S) in [-1, 1].
        edits: label -> direction and strength, each by itself.
    """
    started = _now()
    inversion = method.invert(photo)
    redrawn = method.reconstruct(inversion)
    inverted = _now()
    drawn = {
        label: method.edit(inversion, {direction: strength}).cpu()
        for label, (direction, strength) in edits.items()
    }
    edited = _now()
    return Row(
        method.name,
        photo.cpu(),
        redrawn.cpu(),
        drawn,
        inverted - started,
        (edited - inverted) / len(edits) if edits else None,
    )


def draw_rows(rows: Sequence[Row], *, differences: bool = False, tile: int = 256) -> Image.Image:
    """Return one picture with a row per method.

    Args:
        rows: all with the same edits.
        differences: add maps of what the inversion misses and of what each edit changes.
        tile: side of a picture in it, in pixels.

    Raises:
        ConfigError: there is nothing to draw, or the tiles are too small for labels.
    """
    if not rows or tile < 64:
        raise ConfigError(f"expected rows and tiles of at least 64 px, got {len(rows)} of {tile}")
    table = [_tiles(row, tile, differences=differences) for row in rows]
    labels = list(table[0])
    gap, size = max(4, tile // 40), max(13, tile // 12)
    large, small = ImageFont.load_default(size=size), ImageFont.load_default(size=size * 0.8)
    notes = [_seconds(row) for row in rows]
    names = max(large.getlength(row.name) for row in rows)
    left = round(max(names, small.getlength(WIDEST_NOTE))) + 4 * gap
    top = round(2.4 * size)
    foot = 3 * size if differences else gap
    width = left + len(labels) * (tile + gap) + gap
    sheet = Image.new("RGB", (width, top + len(rows) * (tile + gap) + foot), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(labels):
        middle = left + column * (tile + gap) + tile / 2
        draw.text((middle, top / 2), label, font=_fitting(label, size, tile), fill=INK, anchor="mm")
    for number, (row, tiles, note) in enumerate(zip(rows, table, notes, strict=True)):
        y = top + number * (tile + gap)
        middle = y + tile / 2
        draw.text((2 * gap, middle - size), row.name, font=large, fill=INK, anchor="lm")
        for line, text in enumerate(note):
            at = (2 * gap, middle + size * (0.25 + 1.1 * line))
            draw.text(at, text, font=small, fill=FAINT, anchor="lm")
        for column, picture in enumerate(tiles.values()):
            sheet.paste(picture, (left + column * (tile + gap), y))
    if differences:
        _legend(draw, sheet, left, sheet.height - 2 * size, small)
    return sheet


def difference_map(one: Tensor, other: Tensor) -> np.ndarray:
    """Return the mean absolute difference of two (1, 3, S, S) as colours, (S, S, 3) uint8."""
    levels = (to_uint8(one)[0].astype(float) - to_uint8(other)[0].astype(float)).__abs__()
    return _colours(levels.mean(axis=-1) / MOST)


def _tiles(row: Row, side: int, *, differences: bool) -> dict[str, Image.Image]:
    """The pictures of a row under their labels, `side` pixels each."""
    tiles = {"photo": row.photo, "inversion": row.inversion, **row.edits}
    pictures = {label: to_uint8(pixels)[0] for label, pixels in tiles.items()}
    if differences:
        pictures["|inversion - photo|"] = difference_map(row.inversion, row.photo)
        for label, pixels in row.edits.items():
            pictures[f"|{label} - inversion|"] = difference_map(pixels, row.inversion)
    return {
        label: Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS)
        for label, pixels in pictures.items()
    }


def _colours(share: np.ndarray) -> np.ndarray:
    """Values, 0 to 1 and beyond, as colours of the ramp."""
    place = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(share, place, RAMP[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _legend(draw: ImageDraw.ImageDraw, sheet: Image.Image, x: int, y: int, font: Any) -> None:
    """The scale of the difference maps."""
    before, after = "differences: 0", f"{MOST} of 255 levels or more"
    height = round(font.size)
    draw.text((x, y), before, font=font, fill=FAINT, anchor="lm")
    start, length = x + round(font.getlength(before)) + height, 8 * height
    bar = np.repeat(_colours(np.linspace(0, 1, length))[None], height, axis=0)
    sheet.paste(Image.fromarray(bar), (start, y - height // 2))
    draw.text((start + length + height, y), after, font=font, fill=FAINT, anchor="lm")


def _fitting(label: str, size: int, width: int) -> Any:
    """The largest font up to `size` in which the label is no wider than its tile."""
    wide = ImageFont.load_default(size=size).getlength(label)
    return ImageFont.load_default(size=size if wide <= width else max(9, size * width / wide))


def _seconds(row: Row) -> list[str]:
    lines = [f"inverts in {_short(row.invert_seconds)}"]
    return lines if row.edit_seconds is None else [*lines, f"edits in {_short(row.edit_seconds)}"]


def _short(seconds: float) -> str:
    """About three digits."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.3g} s" if seconds < 99.95 else f"{seconds:.0f} s"


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
