"""docs/PERFORMANCE.md from the JSON of the last runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """# Performance

Written by `python -m benchmarks.run`; do not edit. Times are medians. The floor of a row is its
arithmetic (two operations per multiply-add, counted while it runs) at the best convolution rate
that the same run measured (3x3, 512 to 512 channels, 64 x 64); what counts is time / floor.
Weights are random, so that nothing has to be downloaded; they do not change the work.

"""


def write_report(results: Path, target: Path) -> None:
    """Write the page from every device's results."""
    devices = [_device(json.loads(path.read_text())) for path in sorted(results.glob("*.json"))]
    target.write_text("".join([HEAD, *devices, NOTES]))


def _device(report: dict) -> str:
    machine = report["machine"]
    lines = [
        f"## {report['device']}\n",
        f"{machine['threads']} threads, torch {machine['torch']}, Python {machine['python']}, "
        f"version {machine['version']} at {machine['commit']}.\n",
    ]
    for size, part in report["sizes"].items():
        lines += [
            f"### {size} px",
            "",
            f"Best convolution rate {part['rate'] / 1e9:.0f} GFLOP/s. Peak memory of a fresh edit "
            f"{part['memory']['peak']:.2f} GiB, of which weights {part['memory']['weights']:.2f}.",
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
        lines.append("")
    lines += ["### Whole processes", "", "| command | seconds |", "|---|---|"]
    lines += [f"| `{row['name']}` | {row['median']:.2f} |" for row in report["processes"]]
    return "\n".join(lines) + "\n\n"


NOTES = """## Why it is as fast as it is

* What an inversion knows is not computed again: a re-edit runs H, G from layer k, and one pass of
  the low layers for both codes; E and I do not run.
* On CPUs the generator runs in channels-last layout, and a single picture has style,
  demodulation and gain scaled into its kernel: no pass over the pixels is left but the noise and
  the activation, which work in place.
* Large tensors are taken in large pages on Linux (`THP_MEM_ALLOC_ENABLE=1`, set when the package is
  imported before torch): fresh memory is a quarter of the time of the 1024 px layers otherwise.

## What was tried and lost

* Fusing the transposed convolution with its blur into one convolution per output phase: four times
  the arithmetic; slower at every layer.
* The blur as two one-dimensional filters, or as three box filters: 1.6 to 4 times slower than one
  depthwise 4x4 convolution.
* Channels-last for encoders, Fuser and H: no faster than the contiguous layout there.
"""
