"""Make the folder that the package ships from what training has left.

    python runs/builtin_ship.py MODEL ATTRIBUTES OUT

The classifier that found the directions goes with them. Weights become float16. Strengths get one
scale: 3 is the far end of every direction's useful range.
Directions get the headings they are listed under.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import stylefeatureeditor as sfe
from stylefeatureeditor.editing.catalog import Catalog
from stylefeatureeditor.training.loss_networks import ATTRIBUTES, load_classifier

if TYPE_CHECKING:
    from stylefeatureeditor.editing.catalog import CatalogEntry

FAR_END = 3.0
# of the ranges that H was trained with: their ends are overdone (docs/LOG.md)
KEPT = {"smile": 0.8, "glasses": 0.7, "age": 0.85}
KEPT_OTHERWISE = 0.8
GROUPS = {
    "expression": ("smile", "mouth_open"),
    "pose": ("turn",),
    "person": ("age", "gender", "beard", "glasses", "makeup"),
    "hair": ("blond_hair", "black_hair", "bangs"),
}
HELP = {"turn": "turns the face from side to side"}


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("attributes", type=Path, help="run of the attribute classifier")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    editor = sfe.Editor.from_pretrained(given.model, device="cpu")
    listed = sorted(editor.directions.entries, key=place)
    shipped = Catalog(tuple(grouped(rescaled(entry)) for entry in listed))
    sfe.Editor(editor.model, shipped).save_pretrained(given.out, half=True)
    load_classifier(given.attributes).save(given.out / ATTRIBUTES)


def rescaled(entry: CatalogEntry) -> CatalogEntry:
    """Return the direction with strengths of which the largest one that is kept is 3 or -3."""
    if entry.kind != "linear":
        return entry
    kept = KEPT.get(entry.name, KEPT_OTHERWISE)
    factor = FAR_END / (kept * max(abs(end) for end in entry.useful_range))
    low, high = (round(kept * end * factor, 1) for end in entry.useful_range)
    return replace(entry, scale=entry.scale / factor, useful_range=(low, high))


def grouped(entry: CatalogEntry) -> CatalogEntry:
    """Return the direction under its heading; axes without a name stay where they were."""
    entry = replace(entry, help=HELP.get(entry.name, entry.help))
    for group, names in GROUPS.items():
        if entry.name in names:
            return replace(entry, group=group)
    return entry


def place(entry: CatalogEntry) -> int:
    """Return where a direction stands in the list: as above, the others last."""
    names = [name for group in GROUPS.values() for name in group]
    return names.index(entry.name) if entry.name in names else len(names)


if __name__ == "__main__":
    main()
