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
