"""The tables of a report: columns with titles, rows that were run, rows of the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stylefeatureeditor.evaluation.bootstrap import Mean
    from stylefeatureeditor.evaluation.paper import Reported
    from stylefeatureeditor.evaluation.results import MethodResult

HERE, PAPER = "run here", "paper"
NOTHING = "-"
# title and decimals by column; an edit's columns end with one of these words
FORMATS = {
    "lpips": ("LPIPS", 3),
    "lpips_vgg": ("LPIPS (VGG)", 3),
    "l2": ("L2", 4),
    "fid": ("FID", 2),
    "clean_fid": ("clean-FID", 2),
    "kid": ("KID", 4),
    "clean_kid": ("clean-KID", 4),
    "fid_attributes": ("attribute FID", 3),
    "kid_attributes": ("attribute KID", 4),
    "ms_ssim": ("MS-SSIM", 3),
    "ssim": ("SSIM", 3),
    "psnr": ("PSNR", 2),
    "identity": ("ID", 3),
    "arcface": ("ID (ArcFace)", 3),
    "flip": ("flip rate", 3),
    "leakage": ("leakage", 3),
    "lec": ("LEC", 2),
    "seconds_invert": ("s, inversion", 3),
    "seconds_edit": ("s, edit alone", 3),
    "seconds": ("s per edit", 3),
    "peak_mib": ("peak MiB", 0),
}
COSTS = frozenset({"seconds_invert", "seconds_edit", "seconds", "peak_mib"})
HIGHER = frozenset({"ms_ssim", "ssim", "psnr", "identity", "arcface", "flip"})
ORDER = {name: place for place, name in enumerate(FORMATS)}


@dataclass(frozen=True)
class Report:
    """The content of a report."""

    title: str
    command: str
    results: tuple[MethodResult, ...]  # rows that were run
    reported: tuple[Reported, ...] = ()  # rows of the paper, columns named as in `results`
    notes: tuple[str, ...] = ()  # sentences on the protocol, and on what was left out
    left_out: tuple[str, ...] = ()  # those of the notes that say what could not be measured

    @property
    def columns(self) -> list[str]:
        """Columns that were run: inversion, then edit by edit, then time and memory."""
        seen = list(dict.fromkeys(name for result in self.results for name in result.cells))
        edits = list(dict.fromkeys(edit_of(name) for name in seen))
        return sorted(
            seen,
            key=lambda name: (
                measure_of(name) in COSTS,  # time and memory stand last
                edits.index(edit_of(name)) if edit_of(name) else -1,
                ORDER.get(measure_of(name), len(ORDER)),
            ),
        )

    @property
    def groups(self) -> dict[str, list[str]]:
        """Columns under the heading they share, for pages that no row of all columns fits."""
        found: dict[str, list[str]] = {}
        for column in self.columns:
            costs = "Time and memory" if measure_of(column) in COSTS else "Inversion"
            found.setdefault(edit_of(column) or costs, []).append(column)
        return found

    @property
    def errors(self) -> list[str]:
        """Images that were not measured: "method: name: reason"."""
        return [f"{result.method}: {error}" for result in self.results for error in result.errors]

    def best(self, column: str) -> float | None:
        """Return the best value that was run, if several were."""
        values = [r.cells[column].value for r in self.results if column in r.cells]
        if len(values) < 2:
            return None
        return max(values) if measure_of(column) in HIGHER else min(values)


def edit_of(column: str) -> str:
    """Return the edit a column belongs to: "smile- fid" -> "smile-"; "" for none."""
    return column.rpartition(" ")[0]


def measure_of(column: str) -> str:
    """Return what a column measures: "smile- fid" -> "fid"."""
    return column.rpartition(" ")[2]


def is_set_distance(column: str) -> bool:
    """Tell whether a column compares sets of images: FID or KID, of any features."""
    return bool({"fid", "kid"} & set(measure_of(column).split("_")))


def title_of(column: str) -> str:
    """Return the heading of a column with the direction that is better."""
    name, _ = FORMATS.get(measure_of(column), (measure_of(column), 3))
    arrow = "↑" if measure_of(column) in HIGHER else "↓"
    return f"{edit_of(column)} {name} {arrow}".strip()


def number(column: str, value: float) -> str:
    """Return a value with the decimals of its column."""
    if not math.isfinite(value):
        return "∞" if value > 0 else NOTHING
    decimals = FORMATS.get(measure_of(column), ("", 3))[1]
    return f"{value:.{decimals}f}"


def table_rows(report: Report, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table with some columns: those that were run, then the paper's."""
    for result in report.results:
        known = {column: result.cells[column] for column in columns if column in result.cells}
        yield {
            "method": result.method,
            "source": HERE,
            "images": result.count,
            "measured": max((mean.count for mean in known.values()), default=0) or result.count,
            "cells": [_cell(name, known.get(name), report.best(name)) for name in columns],
        }
    for row in report.reported:  # as printed there: no zeros it never stated
        texts = (f"{row.values[c]:g}" if c in row.values else NOTHING for c in columns)
        cells = [{"value": text} for text in texts]
        yield {"method": row.method, "source": PAPER, "cells": cells}


def _cell(column: str, mean: Mean | None, best: float | None) -> dict[str, Any]:
    """A number as it is printed: "0.123" and " [0.120, 0.126]"; the best of a column is bold."""
    if mean is None:
        return {"value": NOTHING}
    interval = ""
    if mean.low is not None and mean.high is not None:
        interval = f" [{number(column, mean.low)}, {number(column, mean.high)}]"
    value = number(column, mean.value)
    return {"value": value, "interval": interval, "best": mean.value == best}
