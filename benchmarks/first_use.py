"""From `git clone` to the edited photo and to green tests, timed; the README's sentence about it.

    python -m benchmarks.first_use

Clones the last commit into an empty folder. pip's cache stays as it is; the network counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import ROOT
from stylefeatureeditor.files import atomic_path

MARKS = "<!-- times -->", "<!-- end of times -->"


def seconds_of(*command: str, folder: Path) -> float:
    """Run a command to its end and return how long it took.

    Raises:
        SystemExit: it failed; what it wrote is shown.
    """
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - start


def sentence(demo: float, tests: float) -> str:
    """Return what the README says."""
    return (
        f"On {os.cpu_count()} CPU cores, with the packages from a mirror nearby, the demo's "
        f"picture was there {demo:.0f} seconds\nafter `git clone` began, and the tests were "
        f"through {tests / 60:.0f} minutes after that."
    )


def main() -> None:
    """Clone, run both commands, rewrite the README."""
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name, "clone")
        demo = seconds_of("git", "clone", "--quiet", str(ROOT), str(clone), folder=Path(name))
        demo += seconds_of("make", "demo", folder=clone)
        tests = seconds_of("make", "test", folder=clone)
    found = sentence(demo, tests)
    print(found)
    readme = ROOT / "README.md"
    head, rest = readme.read_text("utf-8").split(MARKS[0], 1)
    tail = rest.split(MARKS[1], 1)[1]
    with atomic_path(readme) as part:
        part.write_text(f"{head}{MARKS[0]}\n{found}\n{MARKS[1]}{tail}", "utf-8")


if __name__ == "__main__":
    main()
