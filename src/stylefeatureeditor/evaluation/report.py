"""Writes a report in every form: report.md, report.tex, report.json, report.html."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stylefeatureeditor.errors import PhotoError
from stylefeatureeditor.evaluation import paper
from stylefeatureeditor.evaluation.paper import Reported
from stylefeatureeditor.evaluation.report_page import to_html
from stylefeatureeditor.evaluation.report_tables import (
    COSTS,
    Report,
    to_json,
    to_latex,
    to_markdown,
)
from stylefeatureeditor.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from stylefeatureeditor.evaluation.results import MethodResult

# what --paper takes: rows, and what they were measured on
PAPER_TABLES = {
    "faces": (paper.FACES, "CelebA-HQ at 1024 pixels, seconds on a V100"),
    "ablations": (paper.ABLATIONS, "CelebA-HQ at 1024 pixels"),
    "cars": (paper.CARS, "Stanford Cars"),
}


def beside_paper(report: Report, table: str) -> Report:
    """Return a report with a table of the paper beside it, and the sentence that it was not run.

    Without a column of quality that both have, the paper's rows would say nothing: they stay away.

    Args:
        report: what was run.
        table: one of PAPER_TABLES.
    """
    known, measured_on = PAPER_TABLES[table]
    rows = tuple(
        Reported(
            row.method,
            {f"{name} fid" if name[-1] in "+-" else name: v for name, v in row.values.items()},
        )
        for row in known
    )
    shared = set(report.columns).intersection(*(row.values for row in rows)) - COSTS
    if not shared:
        return report
    note = (
        f"Rows marked 'paper' were not run: they are what the paper reports ({measured_on}), and "
        "compare only with runs on the same photos at the same size."
    )
    return replace(report, reported=rows, notes=(*report.notes, note))


def merge(results: Sequence[MethodResult]) -> tuple[MethodResult, ...]:
    """Join the results of one method (its inversion, its edits) into one row each.

    A value that several of them have is kept from the first; `count` is the largest.
    """
    rows: dict[str, MethodResult] = {}
    for result in results:
        row = rows.get(result.method)
        if row is None:
            rows[result.method] = result
            continue
        peaks = [peak for peak in (row.peak_mib, result.peak_mib) if peak is not None]
        rows[result.method] = replace(
            row,
            values={**result.values, **row.values},
            count=max(row.count, result.count),
            errors=tuple(dict.fromkeys((*row.errors, *result.errors))),
            shown=(*row.shown, *result.shown),
            peak_mib=max(peaks, default=None),
        )
    return tuple(rows.values())


def write_report(report: Report, folder: Path) -> dict[str, Path]:
    """Write the report; each file is whole or not there.

    Args:
        report: what there is to say.
        folder: made if missing.

    Returns:
        The path of each form: "md", "tex", "json", "html".

    Raises:
        PhotoError: a file cannot be written.
    """
    forms = {"md": to_markdown, "tex": to_latex, "json": to_json, "html": to_html}
    written = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, form in forms.items():
            target = folder / f"report.{suffix}"
            with atomic_path(target) as path:
                path.write_text(form(report), encoding="utf-8")
            written[suffix] = target
    except OSError as error:
        raise PhotoError(
            f"cannot write the report to {folder} ({error.strerror or error}); choose another "
            "folder"
        ) from error
    return written
