"""Draw how held-out L2 falls in phases 1 and 2, beside the e4e reconstruction they start from.

    python runs/curves.py OUT/inverter OUT/editor docs/pictures/phases.svg

Reads the validations in the runs' log.jsonl. Needs matplotlib.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib import pyplot


def validations(run: Path) -> list[dict[str, float]]:
    """Return the validations of a run, in order."""
    lines = (run / "log.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == "validate"]


def main(inverter: Path, editor: Path, target: Path) -> None:
    """Draw both phases on one axis of steps, and print their last values."""
    first, second = validations(inverter), validations(editor)
    end = first[-1]["step"]
    e4e = second[-1]["l2_e4e"]
    pyplot.rcParams["svg.hashsalt"] = "curves"  # the same file for the same logs
    figure, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    axes.axhline(e4e, color="0.5", linestyle="--", label="e4e, where they start from")
    axes.axhline(e4e / 3, color="0.8", linestyle=":", label="a third of it")
    for rows, start, name in ((first, 0, "phase 1: Inverter"), (second, end, "phase 2: with H")):
        axes.plot([start + row["step"] for row in rows], [row["l2"] for row in rows], label=name)
    axes.set(xlabel="steps of 16 photos", ylabel="held-out L2", yscale="log")
    axes.legend(frameon=False)
    figure.savefig(target, metadata={"Date": None})
    rows = (("e4e", e4e), ("phase 1", first[-1]["l2"]), ("phase 2", second[-1]["l2"]))
    sys.stdout.write("".join(f"{name}: L2 {l2:.4f}, e4e / {e4e / l2:.1f}\n" for name, l2 in rows))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
