"""One picture of one face edited with several strengths, each under its label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TILE = 512  # pixels; a strip of full crops would be too wide for some formats
PAPER, INK = (255, 255, 255), (32, 32, 32)


def draw_strip(tiles: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Return labelled square tiles of one size in a row, left to right."""
    side = min(MAX_TILE, tiles[0][1].width)
    gap, text = max(2, side // 64), max(12, side // 16)
    font = ImageFont.load_default(size=text)
    width = max(side, *(round(font.getlength(label)) + gap for label, _ in tiles))
    strip = Image.new("RGB", (len(tiles) * (width + gap) - gap, side + 2 * text), PAPER)
    draw = ImageDraw.Draw(strip)
    for number, (label, tile) in enumerate(tiles):
        left = number * (width + gap)
        draw.text((left + width / 2, text), label, font=font, fill=INK, anchor="mm")
        small = tile.resize((side, side), Image.Resampling.LANCZOS) if tile.width != side else tile
        strip.paste(small, (left + (width - side) // 2, 2 * text))
    return strip


def draw_grid(
    labels: Sequence[str], rows: Sequence[Sequence[Image.Image]], smallest: int = 0
) -> Image.Image:
    """Return rows of square tiles of one size under labels that stand above the columns.

    Args:
        labels: one per column.
        rows: from the top; each has a tile per label.
        smallest: tiles are enlarged to this side, so that small ones can be seen.
    """
    side = min(MAX_TILE, max(smallest, rows[0][0].width))
    gap = max(2, side // 64)

    def fitted(tile: Image.Image) -> Image.Image:
        return tile.resize((side, side), Image.Resampling.LANCZOS) if tile.width != side else tile

    top = draw_strip([(label, fitted(t)) for label, t in zip(labels, rows[0], strict=True)])
    width = (top.width + gap) // len(labels)
    grid = Image.new("RGB", (top.width, top.height + (len(rows) - 1) * (side + gap)), PAPER)
    grid.paste(top, (0, 0))
    for number, row in enumerate(rows[1:]):
        for column, tile in enumerate(row):
            left = column * width + (width - gap - side) // 2
            grid.paste(fitted(tile), (left, top.height + gap + number * (side + gap)))
    return grid
