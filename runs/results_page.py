"""Join the tables of runs/results.sh into one page, on stdout.

python runs/results_page.py OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HEADINGS = {
    "lfw": "Inversion of LFW photos of people the model has not seen",
    "celeba": "Inversion of CelebA test photos",
    "edits": "Edits of CelebA test photos",
    "edits_fitted": "Edits by all five methods, on the first of these photos",
    "more_steps": "More steps for the methods that fit each photo, on the first LFW photos",
}
INTRODUCTION = """# Results

What the built-in model does on photos that it was not trained on, made by

    CLASSIFIER=attributes.safetensors bash runs/results.sh MODEL DATA OUT

FID and KID are taken of the features named in each column; values in brackets are 95 % intervals.
W+ optimisation and PTI run on one CPU core: the steps in their names are what time allowed, far
fewer than their own 500 and 450 + 350, and their rows are not those methods' best."""


def section(folder: Path, heading: str) -> tuple[str, list[str]]:
    """Return a table under its heading, without the paper's rows, and the notes below it."""
    report = json.loads((folder / "report.json").read_text("utf-8"))
    lines = (folder / "report.md").read_text("utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|") and "| paper |" not in line]
    notes = [note for note in report["notes"] if "'paper'" not in note]
    errors = [e for result in report["results"] for e in result["errors"]]
    missing = [f"Not measured: {error}" for error in dict.fromkeys(errors)]
    title = report["title"].partition(": ")[2]
    return "\n".join([f"## {heading}", "", f"{title}.", "", *rows]), [*notes, *missing]


def shortened(note: str) -> str:
    """Return a note without the addresses of the weights that were not there."""
    what, is_missing, _ = note.partition(" is left out, because ")
    return f"{what} is left out: its published weights were not at hand." if is_missing else note


def page(folder: Path) -> str:
    """Return the whole page."""
    sections = [section(folder / name, heading) for name, heading in HEADINGS.items()]
    notes = dict.fromkeys(shortened(note) for _, own in sections for note in own)
    versions = json.loads((folder / "lfw" / "report.json").read_text("utf-8"))["versions"]
    made_by = ", ".join(f"{name} {version}" for name, version in versions.items())
    ending = ["## Notes", "", *(f"- {note}" for note in notes), f"- Made by {made_by}."]
    return "\n\n".join([INTRODUCTION, *(text for text, _ in sections), "\n".join(ending)]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1])))
