"""Feeding damaged files to their readers, and what came of it.

An input is a function of (target, number) alone: `python tests/fuzz/run.py --target NAME --only N`
does one again.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
import traceback
import warnings
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from stylefeatureeditor.errors import SfeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fuzz.targets import Target

MAX_CPU_SECONDS = 10.0  # for one input; sound ones take milliseconds
LINKED = 0.01  # share of inputs that are links in place of files
LINKS = ("/dev/zero", "/dev/full", ".", "nowhere", "/proc/self/mem")
MAX_GROWTH_MIB = 1024  # of the process by one input


class _TooSlow(BaseException):
    """Nothing in the package may catch it."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        number: of the input.
        kind: "read", "refused", or "defect".
        what: the sentence of a refusal, or where a defect is.
    """

    number: int
    kind: str
    what: str = ""


def lay_out(target: Target, folder: Path) -> None:
    """Write what lies beside the damaged file."""
    for path, content in target.beside().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def try_one(target: Target, number: int, folder: Path) -> Outcome:
    """Read input `number` of a target in a folder that `lay_out` has filled; leave it so."""
    name, content = target.case(Random(f"{target.name} {number}"))
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    rng = Random(f"{target.name} {number} link")
    if rng.random() < LINKED:
        path.symlink_to(rng.choice(LINKS))
    else:
        path.write_bytes(content)
    try:
        return Outcome(number, *_read(target, path))
    finally:
        path.unlink(missing_ok=True)
        beside = target.beside()
        if name in beside:
            path.write_bytes(beside[name])


def _read(target: Target, path: Path) -> tuple[str, str]:
    before = _peak_mib()
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.read(path)
    except SfeError as error:
        said = str(error)
        if "\n" in said or not said or len(said) > 4000:
            return "defect", f"not one sentence: {said[:300]!r} ({len(said)} characters)"
        kind, what = "refused", said
    except _TooSlow:
        return "defect", f"more than {MAX_CPU_SECONDS:g} s of CPU time: {_place()}"
    except Exception as error:  # noqa: BLE001 - that is what we are after
        return "defect", f"{type(error).__name__}: {str(error)[:200]} at {_place()}"
    else:
        kind, what = "read", ""
    growth = _peak_mib() - before
    if growth > MAX_GROWTH_MIB:
        return "defect", f"took {growth:.0f} MiB"
    return kind, what


def _place() -> str:
    frames = traceback.extract_tb(sys.exc_info()[2])
    ours = [frame for frame in frames if "/src/stylefeatureeditor/" in frame.filename]
    frame = (ours or frames)[-1]
    return f"{frame.filename.rpartition('/src/')[2]}:{frame.lineno} {frame.name}"


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooSlow

    old = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
