"""Pictures of one face side by side, under labels: several strengths, or several methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylefeatureeditor.photo.image import on_white

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_TILE = 96  # pixels; smaller crops are enlarged to be seen
MAX_TILE = 512  # a strip of full crops would be too wide for some formats
PAPER, INK, FAINT = (255, 255, 255), (32, 32, 32), (110, 110, 116)
DIFFERENCE_GAIN = 4
# From black over violet and orange to pale yellow: darker means less, in grey too.
RAMP = np.array([(0, 0, 0), (66, 10, 104), (160, 40, 98), (237, 105, 37), (252, 255, 164)], float)


def draw_strip(tiles: Sequence[tuple[str, Image.Image]], side: int | None = None) -> Image.Image:
    """Return labelled square tiles of one size in a row, left to right."""
    labels, pictures = zip(*tiles, strict=True)
    return draw_grid(labels, [pictures], side=side)


def draw_grid(
    labels: Sequence[str],
    rows: Sequence[Sequence[Image.Image]],
    heads: Sequence[Sequence[str]] = (),
    side: int | None = None,
) -> Image.Image:
    """Return rows of square tiles of one size under labels that stand above the columns.

    Args:
        labels: one per column.
        rows: from the top; each has a tile per label.
        heads: a name for each row, to its left, and lines below it in small print.
        side: of a tile; None takes the tiles' own, between MIN_TILE and MAX_TILE.
    """
    side = side or min(MAX_TILE, max(MIN_TILE, rows[0][0].width))
    gap, text = max(2, side // 64), max(12, side // 16)
    font, small = ImageFont.load_default(size=text), ImageFont.load_default(size=text * 0.8)
    width = max(side, *(round(font.getlength(label)) + gap for label in labels))
    left = 0
    if heads:
        names = [font.getlength(name) for name, *_ in heads]
        notes = [small.getlength(note) for _, *rest in heads for note in rest]
        left = round(max(*names, *notes)) + 2 * text
    across = left + len(labels) * (width + gap) - gap
    sheet = Image.new("RGB", (across, 2 * text + len(rows) * (side + gap) - gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(labels):
        middle = left + column * (width + gap) + width / 2
        draw.text((middle, text), label, font=font, fill=INK, anchor="mm")
    for number, row in enumerate(rows):
        top = 2 * text + number * (side + gap)
        for column, tile in enumerate(row):
            x = left + column * (width + gap) + (width - side) // 2
            sheet.paste(_fitted(tile, side), (x, top))
        if heads:
            name, *lines = heads[number]
            draw.text((text, top + side / 2 - text), name, font=font, fill=INK, anchor="lm")
            for place, line in enumerate(lines):
                y = top + side / 2 + text * (0.25 + 1.1 * place)
                draw.text((text, y), line, font=small, fill=FAINT, anchor="lm")
    return sheet


def difference_map(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how two (S, S, 3) uint8 pictures differ, as colours, (S, S, 3) uint8.

    Black for no difference; the mean over the channels, times DIFFERENCE_GAIN, along RAMP.
    """
    share = np.abs(first.astype(float) - second).mean(axis=2) * DIFFERENCE_GAIN / 255
    place = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(share, place, RAMP[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _fitted(tile: Image.Image, side: int) -> Image.Image:
    tile = on_white(tile)
    return tile.resize((side, side), Image.Resampling.LANCZOS) if tile.width != side else tile
