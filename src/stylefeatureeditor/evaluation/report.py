"""The report of an evaluation: what was run beside what the paper reports, in four forms.

    report.md, report.tex    one table; the best value that was run is bold
    report.html              tables, the plot and pictures to compare, in one file
    report.json              the numbers, unrounded

The forms are drawn from `templates/`. Pictures are data URIs: PNG up to 128 pixels, JPEG above, at
most 512 a side; nothing is measured on them.
"""

from __future__ import annotations

import base64
import io
import json
import math
import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import torch
from PIL import Image

from stylefeatureeditor import __version__
from stylefeatureeditor.errors import PhotoError
from stylefeatureeditor.evaluation import paper
from stylefeatureeditor.evaluation.measures import protocol_notes
from stylefeatureeditor.evaluation.paper import Reported
from stylefeatureeditor.evaluation.report_plot import plot_svg
from stylefeatureeditor.evaluation.report_tables import (
    COSTS,
    FORMATS,
    Report,
    is_set_distance,
    measure_of,
    number,
    table_rows,
    title_of,
)
from stylefeatureeditor.files import atomic_path
from stylefeatureeditor.photo.contact_sheet import DIFFERENCE_GAIN, difference_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from stylefeatureeditor.evaluation.results import MethodResult, Shown
    from stylefeatureeditor.evaluation.runner import Evaluation

LARGEST_SIDE = 512
LARGEST_PNG = 128
JPEG_QUALITY = 90

# what --paper takes: rows, and what they were measured on
PAPER_TABLES = {
    "faces": (paper.FACES, "CelebA-HQ at 1024 pixels, seconds on a V100"),
    "ablations": (paper.ABLATIONS, "CelebA-HQ at 1024 pixels"),
    "cars": (paper.CARS, "Stanford Cars"),
}


def make_report(
    title: str,
    command: str,
    results: Sequence[MethodResult],
    evaluation: Evaluation,
    notes: Sequence[str],
    table: str,
) -> Report:
    """Return the report of an evaluation."""
    photos, device = evaluation.photos, torch.device(evaluation.device)
    rows, left_out = merge(results), evaluation.suite.left_out
    sets = [m.count for row in rows for name, m in row.values.items() if is_set_distance(name)]
    threads = torch.get_num_threads()
    where = f"on the CPU with {threads} thread{'s' if threads > 1 else ''}"
    if device.type == "cuda":
        where = f"on {torch.cuda.get_device_name(device)}"
    costs = (
        f"Seconds are per photo, in batches of {evaluation.batch_size}, {where}; peak memory is "
        "the GPU's, on a CPU that of the process with all it has loaded."
    )
    title = f"{title}: {len(photos)} photos of {photos.size} px"
    said = (*protocol_notes(min(sets, default=None)), costs, *dict.fromkeys(notes), *left_out)
    report = Report(title, command, rows, notes=said, left_out=left_out)
    return report if table == "none" else beside_paper(report, table)


def beside_paper(report: Report, table: str) -> Report:
    """Return a report with a table of the paper beside it, and the sentence that it was not run.

    Without a common column of quality the paper's rows are left out.
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

    Of a value that several have, the first is kept; `count` is the largest.
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


def to_markdown(report: Report) -> str:
    """Return the report as a Markdown page; the best value that was run is bold."""
    return _render("report.md", report)


def to_latex(report: Report) -> str:
    """Return the table as LaTeX (booktabs), intervals left out, as a paper prints it."""
    return _render("report.tex", report)


def to_html(report: Report) -> str:
    """Return the report as a page that needs nothing else."""
    try:
        plot = plot_svg(report)
    except ImportError:
        plot = "<p>It is drawn by matplotlib: pip install 'stylefeatureeditor[eval]'</p>"
    return _render("report.html", report, plot=plot)


def to_json(report: Report) -> str:
    """Return the report as JSON, with the versions that made it."""
    content = {
        "title": report.title,
        "command": report.command,
        "versions": {
            "stylefeatureeditor": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "results": [
            {
                "method": result.method,
                "images": result.count,
                "peak_mib": result.peak_mib,
                "values": {
                    name: {
                        "value": _finite(mean.value),
                        "low": _finite(mean.low),
                        "high": _finite(mean.high),
                        "images": mean.count,
                    }
                    for name, mean in result.values.items()
                },
                "errors": list(result.errors),
            }
            for result in report.results
        ],
        "paper": [{"method": row.method, "values": row.values} for row in report.reported],
        "notes": list(report.notes),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write_report(report: Report, folder: Path) -> dict[str, Path]:
    """Write the report; each file is whole or not there."""
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


def data_uri(pixels: np.ndarray) -> str:
    """Return (S, S, 3) uint8 pixels as a data URI, not larger than the page shows."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    kind = "PNG" if max(picture.size) <= LARGEST_PNG else "JPEG"
    file = io.BytesIO()
    picture.save(file, kind, quality=JPEG_QUALITY, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _render(template: str, report: Report, plot: str | None = None) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "data_uri": data_uri,
        "heading": title_of,
        "measure": measure_of,
        "numbers": _numbers,
        "tex": _escaped,
    }
    return environment.get_template(template).render(
        report=report,
        rows=table_rows,
        pictures_by_kind=_pictures_by_kind,
        plot=plot,
        difference_map=difference_map,
        gain=DIFFERENCE_GAIN,
    )


def _pictures_by_kind(result: MethodResult) -> dict[str, list[Shown]]:
    kinds: dict[str, list[Shown]] = {}
    for shown in result.shown:
        kinds.setdefault(shown.kind[:1].upper() + shown.kind[1:], []).append(shown)
    return kinds


def _numbers(values: dict[str, float]) -> str:
    """The numbers of one image, for its caption."""
    return ", ".join(
        f"{FORMATS[name][0]} {number(name, value)}"
        for name, value in values.items()
        if name in FORMATS and name not in COSTS and math.isfinite(value)
    )


def _escaped(text: str) -> str:
    for sign in "&%#_":
        text = text.replace(sign, f"\\{sign}")
    for sign, command in (("↓", "downarrow"), ("↑", "uparrow"), ("∞", "infty")):
        text = text.replace(sign, f"$\\{command}$")
    return text


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
