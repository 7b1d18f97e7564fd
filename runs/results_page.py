"""Join the tables of runs/results.sh into one page, on stdout.

python runs/results_page.py OUT
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.evaluation.bootstrap import Mean
from stylefeatureeditor.evaluation.report_tables import (
    Report,
    is_set_distance,
    measure_of,
    table_rows,
    title_of,
)
from stylefeatureeditor.evaluation.results import MethodResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INTRODUCTION = """# Results

How well the built-in model redraws and edits photos that it was not trained on, beside e4e, W+
optimisation and pivotal tuning (PTI) on the same generator. Made by

<!-- parsed: takes hours of a core, and a trained classifier -->
```sh
CLASSIFIER=attributes.safetensors bash runs/results.sh faces DATA OUT
```

- Brackets hold 95 % intervals over photos; the best of a column is bold.
- W+ optimisation and PTI fit each photo on one CPU core. The steps in their names are what time
  allowed, not their own 500 and 450 + 350, so their rows are not those methods' best. The last
  table gives them their own.
- *Attribute FID* and *KID* compare sets of photos by features of an attribute classifier. They
  compare within a table, and with no published number.
- An edit takes photos without its target: "smile-" removes smiles, "old+" ages. Its FID and KID are
  taken to the photos that have the target already. *Flip rate* is the share of photos in which the
  classifier sees the target after the edit and not before; *leakage* the mean change of its other
  probabilities.
- Edits are judged against the redrawn photo. A method that redraws poorly may edit strongly, so
  its flips are to be read beside its inversion."""
INVERSIONS = {
    "lfw": "Redrawn: LFW, people the model has not seen",
    "celeba": "Redrawn: CelebA, test photos",
}
EDITS = {
    "edits": "Edited: CelebA, test photos",
    "edits_fitted": "Edited by all five methods: the first of these photos",
}
MORE = {"more_steps": "Redrawn with the methods' own schedules: the first LFW photos"}
FEWEST = 20  # distances of smaller sets say nothing
SIZES = re.compile(r" \(here from \d+ on\)")


def load(folder: Path) -> tuple[Report, str]:
    """Return a report of `sfe evaluate`, and what made it."""
    content = json.loads((folder / "report.json").read_text("utf-8"))
    results = [
        MethodResult(
            row["method"],
            {
                name: Mean(given["value"], given["low"], given["high"], given["images"])
                for name, given in row["values"].items()
            },
            row["images"],
            tuple(row["errors"]),
            peak_mib=row["peak_mib"],
        )
        for row in content["results"]
    ]
    report = Report(
        content["title"], content["command"], tuple(results), notes=tuple(content["notes"])
    )
    return report, ", ".join(f"{name} {version}" for name, version in content["versions"].items())


def table(report: Report, columns: Sequence[str]) -> str:
    """Return some columns as Markdown, named by what they measure."""
    distances = [column for column in columns if is_set_distance(column)]
    sizes = [r.values[c].count for r in report.results for c in distances if c in r.values]
    if min(sizes, default=0) < FEWEST:
        columns = [column for column in columns if column not in distances]
    heads = ["method", *(title_of(measure_of(column)) for column in columns)]
    lines = [heads, ["---", *["---:"] * len(columns)]]
    lines += [[r["method"], *map(printed, r["cells"])] for r in table_rows(report, columns)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def printed(cell: Mapping[str, Any]) -> str:
    """Return a number with its interval; the best of a column is bold."""
    bold = "**" if cell.get("best") else ""
    return f"{bold}{cell['value']}{cell.get('interval', '')}{bold}"


def inversion(report: Report) -> list[str]:
    """Return the table of redrawn photos."""
    return [table(report, report.columns)]


def edits(report: Report) -> list[str]:
    """Return a table for each edit, and one of time and memory."""
    parts = []
    for heading, columns in report.groups.items():
        pairs = [note.split(": ", 1) for note in report.notes if note.startswith(f"{heading}: ")]
        parts += [f"### {heading}", *(f"Direction {how}" for _, how in pairs)]
        parts.append(table(report, columns))
    return parts


def notes_of(reports: Sequence[Report]) -> list[str]:
    """Return what the reports say of their protocol, and what they could not measure."""
    notes, absent = [], []
    for note in dict.fromkeys(note for report in reports for note in report.notes):
        what, is_missing, _ = note.partition(" is left out, because ")
        if is_missing:
            absent.append(what)
        elif note.partition(": ")[0] not in {edit for report in reports for edit in report.groups}:
            notes.append(SIZES.sub("", note))
    if absent:
        notes.append(f"Left out, for want of the published weights: {', '.join(absent)}.")
    errors = [error for report in reports for row in report.results for error in row.errors]
    notes += [f"Not measured: {error}" for error in errors]
    return list(dict.fromkeys(notes))


def page(folder: Path) -> str:
    """Return the whole page."""
    parts, reports = [INTRODUCTION], []
    for headings, tables in ((INVERSIONS, inversion), (EDITS, edits), (MORE, inversion)):
        for name, heading in headings.items():
            report, versions = load(folder / name)
            reports.append(report)
            title = report.title.partition(": ")[2]
            parts += [f"## {heading}", f"{title}.", *tables(report)]
    notes = "\n".join(f"- {note}" for note in [*notes_of(reports), f"Made by {versions}."])
    return "\n\n".join([*parts, "## Notes", notes]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1])))
