"""docs/PERFORMANCE.md from the JSON of the last runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """# Performance

Written by `python -m benchmarks.run`; do not edit. Times are medians. The floor of a row is its
arithmetic (two operations per multiply-add of plain convolutions, counted while it runs) at the
best convolution rate that the same run measured (3x3, 512 to 512 channels, 64 x 64); what counts is
time / floor. Below 1 the work gets by with fewer operations than plain convolutions. Weights are
random, so that nothing has to be downloaded; they do not change the work.

"""
PARTS = {  # of the page that other programs write, between marks
    "gpu": "bash benchmarks/gpu.sh",
    "before and after": "python -m benchmarks.before_after --write",
    "serving": "python -m benchmarks.serving --write",
}
EDIT_ROW = "random-1024, the edit itself"  # what the web page is held against
QUICKEST = "re-edit, quickest other precision"
GOALS = (  # on a CPU in float32 at 1024 px: what, most, unit
    ("fresh edit", 1.25, "time / floor"),
    ("re-edit", 1.25, "time / floor"),
    ("strip of 7 strengths", 1.15, "time / floor"),
    ("peak memory of a fresh edit", 2.6, "GiB"),
    (QUICKEST, 0.45, "of float32's time"),
)
WEB_GOALS = {  # seconds
    "faces, while it moves": 0.5,
    "faces, after it is let go": 0.5,
    "random-1024, while it moves": 1.0,
}


def write_report(results: Path, target: Path) -> None:
    """Write the page from every device's results."""
    devices = [_device(json.loads(path.read_text())) for path in sorted(results.glob("*.json"))]
    old = target.read_text() if target.is_file() else ""
    parts = []
    for name in PARTS:
        begin, end = _marks(name)
        found = old.partition(begin)[2].partition(end)[0] or "\n"
        parts.append(f"{begin}{found}{end}\n\n")
    target.write_text("".join([HEAD, *devices, *parts, NOTES]))


def write_part(page: Path, name: str, text: str) -> None:
    """Put one of PARTS between its marks of the page; a page without them gets them at its end."""
    begin, end = _marks(name)
    head, _, rest = (page.read_text() if page.is_file() else "").partition(begin)
    with atomic_path(page) as temporary:
        temporary.write_text(f"{head}{begin}\n\n{text}\n{end}{rest.partition(end)[2]}")


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: {PARTS[name]} writes this -->", f"<!-- {name}: end -->"


def _device(report: dict[str, Any]) -> str:
    machine = report["machine"]
    name = machine["gpu"] if report["device"] == "cuda" else machine["cpu"]
    lines = [
        f"## {report['device'].upper()}: {name}\n",
        f"{machine['threads']} threads, torch {machine['torch']}, Python {machine['python']}, "
        f"version {machine['version']}, {_commits(report)}; load before the run "
        f"{machine['load']:.1f}.\n",
    ]
    if report["device"] == "cpu" and "1024" in report["sizes"]:
        lines += _goals(report["sizes"]["1024"])
    for size, part in report["sizes"].items():
        lines += _inference(size, part)
        lines += _engines(part.get("engines", []))
        lines += _methods(part.get("methods", []))
        lines += training_table(part["training"])
    lines += _processes(report["processes"])
    return "\n".join(lines + _web(report)) + "\n"


def _commits(report: dict[str, Any]) -> str:
    rows = [*report["processes"], *report.get("web", [])]
    for part in report["sizes"].values():
        rows += part["rows"] + part["training"]
        rows += part.get("engines", []) + part.get("methods", [])
    found = sorted({row["commit"] for row in rows})
    return f"commit{'s' if len(found) > 1 else ''} {', '.join(found)}"


def _goals(part: dict[str, Any]) -> list[str]:
    found = {row["name"]: row["ratio"] for row in part["rows"]}
    if part["memory"]:
        found["peak memory of a fresh edit"] = part["memory"]["peak"]
    others = [row["of_float32"] for row in part.get("engines", []) if "float32" not in row["name"]]
    if others:
        found[QUICKEST] = min(others)
    rows = [
        f"| {name} | {most} {unit} | {found[name]:.2f} | {_verdict(found[name], most)} |"
        for name, most, unit in GOALS
        if name in found
    ]
    return ["| goal at 1024 px | at most | measured | |", "|---|---|---|---|", *rows, ""]


def _inference(size: str, part: dict[str, Any]) -> list[str]:
    lines = [f"### {size} px", ""]
    if part["rows"]:
        rates = [row["rate"] / 1e9 for row in part["rows"]]
        span = (
            f"{min(rates):.0f}"
            if min(rates) == max(rates)
            else f"{min(rates):.0f}-{max(rates):.0f}"
        )
        lines += [f"Best convolution rate {span} GFLOP/s."]
    if part["memory"]:
        memory = part["memory"]
        lines += [
            f"Peak memory of a fresh edit {memory['peak']:.2f} GiB, of which weights "
            f"{memory['weights']:.2f}."
        ]
    lines += [
        "",
        "| work | GFLOP | floor, ms | time, ms | quartiles | time / floor |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['name']} | {row['gflop']:.1f} | {row['floor'] * 1e3:.1f} | "
        f"{row['median'] * 1e3:.1f} | {row['low'] * 1e3:.1f}-{row['high'] * 1e3:.1f} | "
        f"{row['ratio']:.2f} |"
        for row in part["rows"]
    ]
    return [*lines, ""]


def _engines(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "A re-edit on other engines. Error: RMS of the difference to float32 over float32's",
        "standard deviation, with random weights; MS-SSIM of the same pair.",
        "",
        "| engine | re-edit, ms | of float32 | preview, ms | error | MS-SSIM |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        preview = f"{row['preview'] * 1e3:.0f}" if "preview" in row else ""
        similarity = f"{row['ms_ssim']:.4f}" if "ms_ssim" in row else ""
        lines.append(
            f"| {row['name']} | {row['median'] * 1e3:.0f} | {row['of_float32']:.2f} | {preview} | "
            f"{row['error']:.1g} | {similarity} |"
        )
    return [*lines, ""]


def _methods(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "The methods of the paper's Table 1 at their published sizes, a process each; "
        "an inversion draws its picture too. ReStyle over e4e does the work of ReStyle over pSp. "
        "The paper's seconds are per edit, on a V100.",
        "",
        "| method | invert, s | fresh edit, s | re-edit, s | peak, GiB | weights, GiB | paper, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "failed" in row:
            lines.append(f"| {row['name']} | failed: {row['failed'].splitlines()[-1]} | | | | | |")
            continue
        about = "about " if "stages" in row else ""
        invert, fresh, again = (_digits(row[what]) for what in ("invert", "fresh", "again"))
        paper = "" if row["paper"] is None else _digits(row["paper"])
        lines.append(
            f"| {row['title']} | {about}{invert} | {about}{fresh} | {again} | {row['peak']:.1f} | "
            f"{row['weights']:.2f} | {paper} |"
        )
    fitted = [row for row in rows if "stages" in row]
    return [*lines, "", *(_extrapolated(row) for row in fitted), ""]


def _extrapolated(row: dict[str, Any]) -> str:
    stages = " and ".join(f"{count} of {_digits(step)} s" for count, step in row["stages"])
    return f"* {row['title']} is extrapolated from a few of its steps: {stages}."


def _digits(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"


def training_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table of training steps."""
    if not rows:
        return []
    lines = [
        "Training steps with every loss, pictures decoded from PNG files as they are needed:",
        "",
        "| phase | batch | precision | step, ms | images/s | waiting for images | peak, GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "failed" in row:
            lines.append(f"| {row['name']} | failed: {row['failed'].splitlines()[-1]} | | | | | |")
            continue
        lines.append(
            f"| {row['name']} | {row['batch']} | {row['precision']} | {row['median'] * 1e3:.0f} | "
            f"{row['images_per_s']:.3g} | {row['wait']:.1%} | {row['peak']:.1f} |"
        )
    return [*lines, ""]


def _processes(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["### Whole processes", "", "| command | seconds | peak, GiB |", "|---|---|---|"]
    lines += [f"| `{row['name']}` | {row['median']:.2f} | {row['peak']:.2f} |" for row in rows]
    return [*lines, ""]


def _web(report: dict[str, Any]) -> list[str]:
    if not report.get("web"):
        return []
    lines = [
        "### The web page",
        "",
        "In headless Chromium on the same machine, from a slider's event to the picture drawn. At "
        "1024 px the final picture may take half a second more than the edit itself, without a "
        "page, timed just before and after it:",
        "",
        "| model, slider | seconds | quartiles | at most | |",
        "|---|---|---|---|---|",
    ]
    for row in report["web"]:
        most = _most_seconds(row["name"], report["web"])
        goal = "|" if most is None else f"{most:.2f} | {_verdict(row['median'], most)}"
        lines.append(
            f"| {row['name']} | {row['median']:.2f} | {row['low']:.2f}-{row['high']:.2f} | {goal} |"
        )
    return [*lines, ""]


def _most_seconds(name: str, rows: list[dict[str, Any]]) -> float | None:
    """The goal of a row of the web page."""
    if name == EDIT_ROW:
        return None
    edits = [row["median"] for row in rows if row["name"] == EDIT_ROW]
    return WEB_GOALS.get(name, edits[0] + 0.5 if edits else None)


def _verdict(measured: float, most: float) -> str:
    return "met" if measured <= most else "**missed**"


NOTES = """## Why it is as fast as it is

* What an inversion knows is not computed again: a re-edit runs H, G from layer k, and one pass of
  the low layers for both codes; E and I do not run.
* A model that is opened gets quick modules in place of the plain ones (`runtimes/quick.py`). On
  CPUs, 3x3 convolutions between at least 128 channels run as Winograd's F(4x4, 3x3), with a quarter
  of the products. BatchNorm, style, demodulation and bias are done while cells are copied into
  tiles and out of them. The rounding is that of float32.
* The largest layers of G run 128 rows at a time, so that what stands between them stays in the
  processor's cache; only the image itself has the picture's size.
* Convolutions with few cells, in e4e's heads and G's first layers, are one product with the kernel
  as it lies; otherwise most of their time goes into rearranging the kernel.
* Large tensors are taken in large pages on Linux (`THP_MEM_ALLOC_ENABLE=1`, set when the package is
  imported before torch): fresh memory is a quarter of the time of the 1024 px layers otherwise.

## What was tried and lost

* Fusing the transposed convolution with its blur into one convolution per output phase: four times
  the arithmetic; slower at every layer.
* The blur as two one-dimensional filters, or as three box filters: 1.6 to 4 times slower than one
  depthwise 4x4 convolution.
* BatchNorm folded into the weights when a model is loaded: no faster than folding while copying,
  and a second set of weights.
* Winograd's F(2x2, 3x3): half the gain of F(4x4). Kernels kept transformed: a seventh faster, four
  times the memory of the weights.
* All layers of G from 128 px up in bands: no faster than the last two alone.
"""
