"""docs/RELIABILITY.md: what was fuzzed, which faults were injected, what came of it."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from pathlib import Path

    from fuzz.campaign import Outcome

PACKAGES = ("torch", "numpy", "pillow", "safetensors", "av")

HEAD = """# Reliability

This page is written by `make fuzz` (`tests/fuzz/run.py`). `make test` does a small part of it, on
other inputs.

## Damaged inputs

{inputs:,} damaged files of {targets} kinds were read. A reader may return, or raise an `SfeError`
of one line. Everything else is a defect: another exception, a message of several lines
or of any length, more than {cpu:g} s of CPU time or {growth} MiB of memory for one input, a dead
process.
**Defects: {defects}.**

Each input starts from a sound file and is damaged by its bytes or by its structure: members of
archives, JSON values, tensors' names, shapes and values, with lengths and checksums put right
again, so that the damage reaches the reader behind them. What loads is used: pictures are saved,
models run, directions applied, inversions edited. An input is a function of its kind and number.

| Input | Read | Sound or harmless | Refused in a sentence | Defects | CPU s | Peak MiB |
|---|---|---|---|---|---|---|
"""
FOUND = """
Earlier runs found these, all fixed and tested (`tests/fuzz/test_found.py`): a config that asks for
a million layers; a safetensors header of up to 100 MB; a compressed `data.pkl` in a TorchScript
archive; YAML aliases of aliases; icons, which are decoded while they are opened, at any size; JSON
and YAML nested beyond the parser's depth; tables of a zip file with damaged members; biases and
filters of another shape in published checkpoints; steps in training.json that are no numbers;
names of thousands of characters in messages; layers to RGB of another
number of dimensions; one number that says it is a gigabyte of codes;
animations and films of any size; side files of videos whose tables do not fit each other; tar
members called "."; methods in a model's config that are no words; crops without area in an
inversion file; configurations, tables and checkpoints that are links to devices; an own direction
that takes a published alias. Properties (`tests/properties/`)
found a sign that settings could write and not read.
"""
FAULTS = """
## Faults

Each line is a test in `tests/faults/` that brings the fault about and looks at what is left:
nothing may be lost that was there, and nothing half written may stand under a final name. They
found models and directions that a killed save left without a part, saves of two processes that
broke each other, a full disk that ended training in a traceback, and paths that the system refuses.

| Fault | Case | Tests | Outcome |
|---|---|---|---|
"""
TAIL = """
Python {python}, {packages}; {system}.

Unwritable folders are simulated, since the superuser, who runs these tests in containers, may write
anywhere; with other users real ones are tried too. Windows paths are simulated on other systems.
"""


@dataclass(frozen=True)
class Row:
    """What became of one target's inputs.

    Attributes:
        name: of the target.
        outcomes: one per input.
        seconds: of CPU time.
        peak: memory of the process, MiB.
    """

    name: str
    outcomes: list[Outcome]
    seconds: float
    peak: float

    @property
    def inputs(self) -> int:
        """How many there were."""
        return len(self.outcomes)

    @property
    def defects(self) -> list[Outcome]:
        """The inputs that show a defect."""
        return [outcome for outcome in self.outcomes if outcome.kind == "defect"]

    def count(self, kind: str) -> int:
        """How many outcomes are of a kind."""
        return sum(outcome.kind == kind for outcome in self.outcomes)


def write_page(page: Path, rows: list[Row], record: Path) -> None:
    """Write the page from the rows and the JUnit record of the tests of faults."""
    from fuzz.campaign import MAX_CPU_SECONDS, MAX_GROWTH_MIB

    text = HEAD.format(
        inputs=sum(row.inputs for row in rows),
        targets=len(rows),
        defects=sum(len(row.defects) for row in rows),
        cpu=MAX_CPU_SECONDS,
        growth=MAX_GROWTH_MIB,
    )
    for row in rows:
        text += (
            f"| {row.name} | {row.inputs:,} | {row.count('read'):,} | {row.count('refused'):,} "
            f"| {len(row.defects)} | {row.seconds:.0f} | {row.peak:.0f} |\n"
        )
    text += FOUND + FAULTS
    for (fault, case), (passed, skipped, failed) in fault_rows(record).items():
        outcome = "held" if not failed else f"**{failed} failed**"
        outcome = "not run here" if skipped and not passed + failed else outcome
        text += f"| {fault} | {case} | {passed + failed + skipped} | {outcome} |\n"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    text += TAIL.format(
        python=platform.python_version(), packages=packages, system=platform.system()
    )
    page.write_text(text, encoding="utf-8")


def fault_rows(record: Path) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Return passed, skipped and failed tests by (file, sentence)."""
    rows: dict[tuple[str, str], tuple[int, int, int]] = {}
    for case in ElementTree.parse(record).iter("testcase"):
        fault = case.get("classname", "").rpartition("test_")[2].replace("_", " ")
        sentence = re.sub(r"\[.*", "", case.get("name", "")).removeprefix("test_").replace("_", " ")
        passed, skipped, failed = rows.get((fault, sentence), (0, 0, 0))
        if case.find("skipped") is not None:
            skipped += 1
        elif len(case):
            failed += any(child.tag in ("failure", "error") for child in case)
        else:
            passed += 1
        rows[fault, sentence] = (passed, skipped, failed)
    return rows
