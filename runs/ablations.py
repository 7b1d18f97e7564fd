"""The table of `ablations.sh`: inversion and edits of every variant on CelebA's `test` photos.

    python runs/ablations.py OUT DATA [--limit 200]

Identity and background are means over all directions, as in `builtin_report.py`. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from builtin_report import UNROTATED, edit, inversion

import stylefeatureeditor as sfe
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.inversion.record import Anchor, Inversion
from stylefeatureeditor.methods.sfe import Sfe, SfeWithoutH
from stylefeatureeditor.metrics.dlib_identity import load_dlib_identity

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.methods.method import Method

VARIANTS = (
    "full",
    "without-fuser",
    "without-inversion-loss",
    "without-e",
    "coarser-layer",
    "few-directions",
)
EDIT_COLUMNS = ("distance", "same", "background")


class SfeWithoutE(Sfe):
    """The ablation without E: Delta is made from I's own codes, as in its training."""

    def encode(self, photos: Tensor) -> Inversion:
        """Return (w, F_k), and w_E = w."""
        inversion = super().encode(photos)
        codes = inversion.codes
        features = self.generator.features(codes, self.config.delta_layer)
        inversion.anchor = Anchor(codes, features)
        return inversion


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=200, help="photos")
    given = parser.parse_args()
    identity = load_dlib_identity()
    lines = [
        "| variant | L2 | SSIM | distance by dlib | same person | background, levels |",
        "|---|---|---|---|---|---|",
    ]
    for variant in VARIANTS:
        run = given.out / f"editor-{variant}"
        editor = sfe.Editor.from_pretrained(run, device="cpu")
        images = open_images(given.data / "celeba87.zip", editor.size, where=UNROTATED)
        photos = images.photos(range(min(given.limit, len(images))))
        kind = SfeWithoutE if variant == "without-e" else Sfe
        methods: dict[str, Method] = {variant: kind(editor.model)}
        if variant == "full":
            methods["without-h"] = SfeWithoutH(editor.model)
        for name, method in methods.items():
            near = inversion(method, photos, identity)
            names = [entry.name for entry in editor.directions.entries]
            found = [edit(method, photos, editor, one, identity) for one in names]
            distance, same, moved = (
                sum(row[column] for row in found) / len(found) for column in EDIT_COLUMNS
            )
            lines.append(
                f"| {name} | {near['l2']:.4f} | {near['ssim']:.3f} | {distance:.3f} | {same:.1%} "
                f"| {moved:.2f} |"
            )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
