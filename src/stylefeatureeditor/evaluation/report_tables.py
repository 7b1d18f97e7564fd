"""Tables of results as Markdown, LaTeX and JSON: what was run, and what the paper reports."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Everything an evaluation has to say.

    Attributes:
        title: headline.
        command: what made it.
        results: rows that were run.
        reported: rows of the paper, columns named as in `results`.
        notes: sentences on the protocol, and on what was left out.
    """

    title: str
    command: str
    results: tuple[MethodResult, ...]
    reported: tuple[Reported, ...] = ()
    notes: tuple[str, ...] = ()

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


def cell(column: str, mean: Mean | None) -> str:
    """Return a value with its interval, "-" for none."""
    if mean is None:
        return NOTHING
    text = number(column, mean.value)
    if mean.low is not None and mean.high is not None:
        text += f" [{number(column, mean.low)}, {number(column, mean.high)}]"
    return text


def markdown_cells(report: Report, result: MethodResult, columns: Sequence[str]) -> list[str]:
    """Return the cells of a method that was run; the best value of a column is bold."""
    cells = []
    for column in columns:
        mean = result.cells.get(column)
        text = cell(column, mean)
        best = mean is not None and mean.value == report.best(column)
        cells.append(f"**{text}**" if best else text)
    return cells


def to_markdown(report: Report) -> str:
    """Return the report as a Markdown page; the best value that was run is bold."""
    columns = report.columns
    rows = [["method", "source", "images", *map(title_of, columns)]]
    for result in report.results:
        cells = markdown_cells(report, result, columns)
        rows.append([result.method, HERE, str(result.count), *cells])
    rows += [
        [row.method, PAPER, "", *(_reported(row, column) for column in columns)]
        for row in report.reported
    ]
    lines = [_line(rows[0]), _line(["---"] * 3 + ["---:"] * len(columns)), *map(_line, rows[1:])]
    parts = [f"# {report.title}", f"    {report.command}", "\n".join(lines)]
    parts += ["\n".join(f"- {note}" for note in report.notes)] if report.notes else []
    errors = _errors(report.results)
    parts += ["Not measured:", "\n".join(f"- {error}" for error in errors)] if errors else []
    return "\n\n".join(parts) + "\n"


def to_latex(report: Report) -> str:
    """Return the table as LaTeX (booktabs), intervals left out, as a paper prints it."""
    columns = report.columns
    heads = [
        title_of(column).replace("↓", r"$\downarrow$").replace("↑", r"$\uparrow$")
        for column in columns
    ]
    lines = [
        f"% {' '.join(report.command.split())}",
        r"\begin{tabular}{l" + "r" * len(columns) + "}",
        r"\toprule",
        " & ".join(["Method", *map(_escaped, heads)]) + r" \\",
        r"\midrule",
    ]
    for result in report.results:
        cells = []
        for column in columns:
            mean = result.cells.get(column)
            text = "--" if mean is None else number(column, mean.value)
            best = mean is not None and mean.value == report.best(column)
            cells.append(rf"\textbf{{{text}}}" if best else text)
        lines.append(" & ".join([_escaped(result.method), *cells]) + r" \\")
    if report.reported:
        lines += [
            r"\midrule",
            rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\emph{{as the paper reports}}}} \\",
        ]
        for row in report.reported:
            texts = (_reported(row, column) for column in columns)
            cells = ["--" if text == NOTHING else text for text in texts]
            lines.append(" & ".join([_escaped(row.method), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines).replace("∞", r"$\infty$") + "\n"


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


def _reported(row: Reported, column: str) -> str:
    """Print a number of the paper as the paper does: without padding zeros it never stated."""
    value = row.values.get(column)
    return NOTHING if value is None else f"{value:g}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"


def _errors(results: Sequence[MethodResult]) -> list[str]:
    return [f"{result.method}: {error}" for result in results for error in result.errors]


def _escaped(text: str) -> str:
    for sign in "&%#_":
        text = text.replace(sign, f"\\{sign}")
    return text


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
