"""Parity, edits and training on a GPU within a time limit; `benchmarks/gpu.sh` tells how to run it.

In order of worth: every golden set with the arithmetic on the GPU (`tests/on_device.py`), edits at
the largest size in float32, TF32 and bfloat16, training steps of every phase, edits compiled with
CUDA graphs. The page is written anew after each row, and names what is not there yet.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.inference import method_items
from benchmarks.measure import ROOT, peak_memory, timed
from benchmarks.models import config_of, random_model
from benchmarks.report import training_table, write_part
from benchmarks.run import this_machine
from benchmarks.training import PHASES, training_row
from stylefeatureeditor.device import set_arithmetic
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.runtimes.low_precision import in_precision
from stylefeatureeditor.runtimes.quick import quicken

BATCH = 16
SECONDS = 1.0  # for each figure of an edit, about
GOLDEN = "the golden sets"
PARITY_SHARE = 0.4  # of the minutes, at most
WORKERS = 8  # test processes, on a GPU


@dataclass(frozen=True)
class Arithmetic:
    """How the networks compute."""

    name: str
    dtype: torch.dtype = torch.float32
    tf32: bool = False
    compiled: bool = False

    @property
    def waiting(self) -> str:
        """What it is called until it has been measured."""
        return f"edits in {self.name}"


PLAIN = (
    Arithmetic("float32"),
    Arithmetic("TF32", tf32=True),
    Arithmetic("bfloat16", torch.bfloat16),
)
COMPILED = (
    Arithmetic("TF32, compiled, CUDA graphs", tf32=True, compiled=True),
    Arithmetic("bfloat16, compiled, CUDA graphs", torch.bfloat16, compiled=True),
)


@dataclass
class Measured:
    """What one run has found so far; `write` puts it on the page."""

    device: str
    page: Path
    end: float
    parity: dict[str, dict[str, float]] = field(default_factory=dict)
    edits: list[dict[str, Any]] = field(default_factory=list)
    training: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    def in_time(self) -> bool:
        """Return whether another row may begin."""
        return time.monotonic() < self.end

    def done(self, what: str) -> None:
        """Take what was measured off the list, and write the page."""
        self.waiting.remove(what)
        self.write()

    def write(self) -> None:
        """Write the page."""
        write_part(self.page, "gpu", "\n".join(self._lines()))

    def _lines(self) -> list[str]:
        machine = this_machine()
        name = machine["gpu"] if self.device == "cuda" else f"rehearsed on {machine['cpu']}"
        lines = [
            f"## GPU: {name}",
            "",
            f"Written by `bash benchmarks/gpu.sh`; torch {machine['torch']}, CUDA "
            f"{torch.version.cuda}, commit {machine['commit']}.",
            "",
        ]
        if self.parity:
            lines += [
                "Golden sets, every operation that returns a new tensor on the device, in float32. "
                "Difference: the largest, in units of the golden tensor's standard deviation.",
                "",
                "| tests | ran | failed | difference |",
                "|---|---|---|---|",
            ]
            lines += [
                f"| {name} | {row['ran']} | {row['failed']} | "
                f"{format(row['worst'], '.1e') if row['worst'] else ''} |"
                for name, row in sorted(self.parity.items())
            ]
            lines.append("")
        if self.edits:
            works = [key for key in self.edits[0] if key not in ("name", "size", "peak")]
            lines += [
                f"Edits at {self.edits[0]['size']} px, ms; peak memory of all of them, GiB:",
                "",
                f"| arithmetic | {' | '.join(works)} | peak |",
                "|---" * (2 + len(works)) + "|",
            ]
            lines += [
                f"| {row['name']} | "
                + " | ".join(f"{row[work] * 1e3:.1f}" if work in row else "" for work in works)
                + f" | {row['peak']:.1f} |"
                for row in self.edits
            ]
            lines.append("")
        for size, rows in self.training.items():
            lines += [f"### {size} px", "", *training_table(rows)]
        if self.waiting:
            lines += [f"There was no time for: {'; '.join(self.waiting)}.", ""]
        return lines


def golden_tests() -> list[str]:
    """Return the test files that compare with golden numbers."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [
        str(path.relative_to(ROOT))
        for path in paths
        if re.search(r"\bgolden\(|\bGOLDEN\b|^from released import", path.read_text(), re.MULTILINE)
    ]


def run_parity(found: Measured, tests: list[str], seconds: float) -> None:
    """Run the golden tests on the device, and count by file."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.jsonl")
        is_whole = _run_tests(found.device, tests, seconds, log)
        lines = log.read_text().splitlines() if log.is_file() else []
    for line in lines:
        test = json.loads(line)
        name = test["test"].partition("::")[0]
        row = found.parity.setdefault(name, {"ran": 0, "failed": 0, "worst": 0.0})
        row["ran"] += 1
        row["failed"] += test["failed"]
        row["worst"] = max(row["worst"], test.get("worst", 0.0))
    if is_whole:
        found.done(GOLDEN)
    else:
        found.write()


def _run_tests(device: str, tests: list[str], seconds: float, log: Path) -> bool:
    """Return whether all have run before the time was up."""
    workers = WORKERS if device == "cuda" else 0
    command = ["timeout", f"{seconds:.0f}", sys.executable, "-m", "pytest", "-p", "on_device"]
    command += ["-m", "", "-n", str(workers), "--dist", "loadfile", "--tb=line", *tests]
    environment = {
        **os.environ,
        "PYTHONPATH": "tests",
        "SFE_TEST_DEVICE": device,
        "SFE_TEST_LOG": str(log),
    }
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode in (0, 1)


def run_edits(found: Measured, size: int, ways: tuple[Arithmetic, ...]) -> None:
    """Time what a user asks for, in each arithmetic."""
    for way in ways:
        if not found.in_time():
            return
        if found.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        set_arithmetic(torch.device(found.device), quick=way.tf32)
        model = quicken(random_model(config_of(size))).to(found.device)
        if way.compiled or way.dtype != torch.float32:
            model = in_precision(model, way.dtype, compiled=way.compiled)
        row: dict[str, Any] = {"name": way.name, "size": size, "peak": 0.0}
        found.edits.append(row)
        photo = torch.rand(1, 3, size, size, device=found.device) * 2 - 1
        with torch.no_grad():
            for item in method_items(Sfe(model), photo, batch=BATCH):
                if not found.in_time():
                    return
                row[item.name] = timed(item.work, seconds=SECONDS).median
                row["peak"] = peak_memory(found.device)
                print(f"  {way.name}, {item.name}: {row[item.name]:.4f} s", flush=True)
                found.write()
        found.done(way.waiting)
    set_arithmetic(torch.device(found.device), quick=False)


def run_training(found: Measured, size: int) -> None:
    """Time the training steps of one size; a phase that fails leaves its reason."""
    for phase in PHASES:
        if not found.in_time():
            return
        try:
            row = training_row(phase, size, found.device)
            print(f"  {size} px, {phase}: {row['images_per_s']:.1f} images/s", flush=True)
        except RuntimeError as error:
            row = {"name": phase, "failed": str(error)}
            print(f"  {error}", flush=True)
        found.training.setdefault(size, []).append(row)
        found.done(f"{phase} at {size} px")


def main() -> None:
    """Run everything that there is time for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--golden", nargs="+", default=["all"], metavar="FILE")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "PERFORMANCE.md")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; DEVICE=cpu rehearses")
    options.page.parent.mkdir(parents=True, exist_ok=True)
    seconds, sizes = options.minutes * 60, sorted(options.sizes)
    compiled = COMPILED if options.device == "cuda" else ()
    found = Measured(options.device, options.page, time.monotonic() + seconds)
    found.waiting = [
        GOLDEN,
        *(way.waiting for way in PLAIN),
        *(f"{phase} at {size} px" for size in sizes for phase in PHASES),
        *(way.waiting for way in compiled),
    ]
    tests = golden_tests() if options.golden == ["all"] else options.golden
    run_parity(found, tests, PARITY_SHARE * seconds)
    run_edits(found, sizes[-1], PLAIN)
    for size in sizes:
        run_training(found, size)
    run_edits(found, sizes[-1], compiled)


if __name__ == "__main__":
    main()
