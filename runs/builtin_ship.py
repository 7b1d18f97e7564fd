"""Make the folder that the package ships from what training has left.

    python runs/builtin_ship.py MODEL ATTRIBUTES OUT

The classifier that labelled faces for the directions goes with them. Weights become float16.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import stylefeatureeditor as sfe
from stylefeatureeditor.training.loss_networks import ATTRIBUTES, load_classifier


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("attributes", type=Path, help="run of the attribute classifier")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    editor = sfe.Editor.from_pretrained(given.model, device="cpu")
    editor.model.config = replace(editor.model.config, name=given.out.name)
    editor.save_pretrained(given.out, half=True)
    load_classifier(given.attributes).save(given.out / ATTRIBUTES)


if __name__ == "__main__":
    main()
