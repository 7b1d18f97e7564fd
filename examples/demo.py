"""make demo: edit a real photo with the built-in model, offline.

    out/astronaut.png   the photo: NASA's portrait of Eileen Collins, public domain
    out/edited.png      what `sfe edit out/astronaut.png -e smile=2` makes of it
    out/demo.png        the photo, the edited photo, and below them the face through five edits

The photo comes with scikit-image.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image
from skimage.data import astronaut

import stylefeatureeditor as sfe
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.photo.contact_sheet import draw_strip

OUT = Path("out")
EDITS = {"smile": -3, "age": 3, "gender": 2.8, "makeup": 1.3, "blond_hair": 3}
BEFORE = {"smile": 0}  # no edit at all, to begin the strip with
GAP = 8
FACE = (128, 0, 320, 192)  # where the face is in the photo: left, top, right, bottom


def run() -> int:
    """Edit the photo through the command line, as a user would, then draw the sheet."""
    OUT.mkdir(exist_ok=True)
    photo, edited = OUT / "astronaut.png", OUT / "edited.png"
    sfe.save_photo(astronaut(), photo)
    code = main(["edit", str(photo), "-e", "smile=2", "-o", str(edited), "--overwrite"])
    if code == 0:
        draw_sheet(photo, edited).save(OUT / "demo.png")
        print(OUT / "demo.png")
    return code


def draw_sheet(photo: Path, edited: Path) -> Image.Image:
    """Return the photo and the edited one above a strip: the face inverted, then each edit."""
    pair = [Image.open(path).convert("RGB") for path in (photo, edited)]
    editor = sfe.Editor.from_pretrained("faces")
    inversion = editor.invert(photo)
    width = sum(image.width for image in pair) + GAP
    side = width // (1 + len(EDITS)) - GAP
    tiles = []
    for label, edits in [("no edit", BEFORE), *((f"{k} {v:g}", {k: v}) for k, v in EDITS.items())]:
        face = editor.edit(inversion, edits).photo.crop(FACE)
        tiles.append((label, face.resize((side, side), Image.Resampling.LANCZOS)))
    strip = draw_strip(tiles)
    sheet = Image.new("RGB", (width, pair[0].height + GAP + strip.height), strip.getpixel((0, 0)))
    for number, image in enumerate(pair):
        sheet.paste(image, (number * (image.width + GAP), 0))
    sheet.paste(strip, ((width - strip.width) // 2, pair[0].height + GAP))
    return sheet


if __name__ == "__main__":
    sys.exit(run())
