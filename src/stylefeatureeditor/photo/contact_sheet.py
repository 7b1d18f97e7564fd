"""One picture of one face edited with several strengths, each under its label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_TILE = 96  # pixels; smaller crops are enlarged to be seen
MAX_TILE = 512  # a strip of full crops would be too wide for some formats
PAPER, INK = (255, 255, 255), (32, 32, 32)


def draw_strip(tiles: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Return labelled square tiles of one size in a row, left to right."""
    side = _side(tiles[0][1])
    gap, text = max(2, side // 64), max(12, side // 16)
    font = ImageFont.load_default(size=text)
    width = max(side, *(round(font.getlength(label)) + gap for label, _ in tiles))
    strip = Image.new("RGB", (len(tiles) * (width + gap) - gap, side + 2 * text), PAPER)
    draw = ImageDraw.Draw(strip)
    for number, (label, tile) in enumerate(tiles):
        left = number * (width + gap)
        draw.text((left + width / 2, text), label, font=font, fill=INK, anchor="mm")
        strip.paste(_fitted(tile, side), (left + (width - side) // 2, 2 * text))
    return strip


def draw_grid(labels: Sequence[str], rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Return rows of square tiles of one size under labels that stand above the columns.

    Args:
        labels: one per column.
        rows: from the top; each has a tile per label.
    """
    side = _side(rows[0][0])
    gap = max(2, side // 64)
    top = draw_strip(list(zip(labels, rows[0], strict=True)))
    width = (top.width + gap) // len(labels)
    grid = Image.new("RGB", (top.width, top.height + (len(rows) - 1) * (side + gap)), PAPER)
    grid.paste(top, (0, 0))
    for number, row in enumerate(rows[1:]):
        for column, tile in enumerate(row):
            left = column * width + (width - gap - side) // 2
            grid.paste(_fitted(tile, side), (left, top.height + gap + number * (side + gap)))
    return grid


def _side(tile: Image.Image) -> int:
    return min(MAX_TILE, max(MIN_TILE, tile.width))


def _fitted(tile: Image.Image, side: int) -> Image.Image:
    return tile.resize((side, side), Image.Resampling.LANCZOS) if tile.width != side else tile
