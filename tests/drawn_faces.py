"""A zip of drawn faces with a table, to train on: round ones, of which every second smiles.

Run as a program it writes the file that it is given: drawn_faces.py ZIP.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, COUNT = 32, 40


def write_faces(path: Path) -> None:
    """A zip of round faces; those with a bright mouth smile."""
    draw = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    grid = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(COUNT):
            smiles = number % 2
            pixels = np.full((SIDE, SIDE, 3), draw.integers(30, 90), dtype=np.uint8)
            pixels[np.hypot(*grid) < 0.4] = draw.integers(120, 220, 3)
            pixels[22:26, 10:22] = 250 if smiles else 20
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            archive.writestr(f"{number:02d}.png", file.getvalue())
            split = "test" if number % 10 < 2 else "train"
            rows.append({"file": f"{number:02d}.png", "Smiling": smiles, "split": split})
        table = io.StringIO()
        writer = csv.DictWriter(table, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        archive.writestr("manifest.csv", table.getvalue())


if __name__ == "__main__":
    write_faces(Path(sys.argv[1]))
