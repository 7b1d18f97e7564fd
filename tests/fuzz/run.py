"""make fuzz: the large run, and docs/RELIABILITY.md from what came of it.

    python tests/fuzz/run.py                          20,000 inputs, the faults, the page
    python tests/fuzz/run.py --target NAME --only N   one input again, with its traceback

Each target runs in a process of its own with limited memory: a reader that kills it is found too.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from fuzz.campaign import Outcome, lay_out, try_one  # noqa: E402
from fuzz.report import Row, write_page  # noqa: E402
from fuzz.targets import TARGETS  # noqa: E402

ROOT = TESTS.parent
PAGE = ROOT / "docs" / "RELIABILITY.md"
KEPT = ROOT / "out" / "fuzz"
INPUTS = 20_000
MEMORY_BYTES = 4 << 30  # address space of a worker beyond what it starts with
SILENT_SECONDS = 120  # wall time of one input after which a worker is stopped


def main() -> int:
    """Run everything, or one input again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="of all targets (%(default)s)")
    parser.add_argument("--target", help="the name of one target, or its beginning")
    parser.add_argument("--only", type=int, help="read this input alone, and show its traceback")
    parser.add_argument("--go-on", action="store_true", help="take targets that out/fuzz/ has")
    parser.add_argument("--worker", type=int, nargs=2, metavar=("FIRST", "END"))
    args = parser.parse_args()
    chosen = [t for t in TARGETS if t.name.startswith(args.target or "")]
    logging.disable(logging.CRITICAL)
    if args.only is not None:
        return once_more(chosen[0], args.only)
    if args.worker:
        return work(chosen[0], *args.worker)
    total = sum(target.share for target in TARGETS)
    rows = []
    for target in chosen:
        count = args.inputs * target.share // total
        row = finished(target, count) if args.go_on else None
        rows.append(row or campaign(target, count))
        keep(rows[-1])
        say(f"{target.name}: {rows[-1].inputs} inputs, {rows[-1].seconds:.0f} s of CPU time")
        for outcome in rows[-1].defects:
            say(f"  input {outcome.number}: {outcome.what}")
    if not args.target:
        write_page(PAGE, rows, faults())
    return 1 if any(row.defects for row in rows) else 0


def keep(row: Row) -> None:
    """Leave a target's outcomes in out/fuzz/, for a run that is broken off."""
    KEPT.mkdir(parents=True, exist_ok=True)
    content = [row.seconds, row.peak, [[o.number, o.kind, o.what] for o in row.outcomes]]
    (KEPT / f"{row.name}.json").write_text(json.dumps(content))


def finished(target, count: int) -> Row | None:
    """Return the outcomes that an earlier run has left, if there are as many."""
    file = KEPT / f"{target.name}.json"
    if not file.is_file():
        return None
    seconds, peak, outcomes = json.loads(file.read_text())
    row = Row(target.name, [Outcome(*outcome) for outcome in outcomes], seconds, peak)
    return row if row.inputs == count else None


def campaign(target, count: int) -> Row:
    """Run the inputs 0 to `count` of a target; a worker that dies is followed by another."""
    outcomes: list[Outcome] = []
    seconds, peak = 0.0, 0.0
    while len(outcomes) < count:
        command = [sys.executable, __file__, "--target", target.name]
        command += ["--worker", str(len(outcomes)), str(count)]
        with tempfile.TemporaryFile("w+") as lines:
            worker = subprocess.Popen(command, stdout=lines, stderr=subprocess.DEVNULL)
            before, since = -1, time.monotonic()
            while worker.poll() is None:
                time.sleep(0.05)
                if (size := os.fstat(lines.fileno()).st_size) != before:
                    before, since = size, time.monotonic()
                if time.monotonic() - since > SILENT_SECONDS:
                    worker.kill()
                    worker.wait()
            before = lines.seek(0, os.SEEK_END)
            lines.seek(0)
            for line in lines.read().splitlines():
                number, kind, what, seconds_so_far, peak_so_far = json.loads(line)
                outcomes.append(Outcome(number, kind, what))
                used, peak = seconds_so_far, max(peak, peak_so_far)
            seconds += used
        if before <= 0:
            raise RuntimeError(f"the worker of {target.name} does not begin: try --only 0")
        if len(outcomes) < count and worker.returncode != 0:
            how = f"the process ended with {worker.returncode}"
            outcomes.append(Outcome(len(outcomes), "defect", how))
    return Row(target.name, outcomes, seconds, peak)


def work(target, first: int, end: int) -> int:
    """Run inputs in this process, one line of JSON for each."""
    with tempfile.TemporaryDirectory() as name:
        home(Path(name))
        folder = Path(name) / "files"
        folder.mkdir()
        lay_out(target, folder)
        target.seeds()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        start = time.process_time()
        for number in range(first, end):
            outcome = try_one(target, number, folder)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            what = outcome.what if outcome.kind == "defect" else ""
            line = [number, outcome.kind, what, time.process_time() - start, peak]
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
    return 0


def once_more(target, number: int) -> int:
    """Show what one input does."""
    from random import Random

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(target, folder)
        path, content = target.case(Random(f"{target.name} {number}"))
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        say(f"{path}, {len(content)} bytes")
        target.read(folder / path)
    return 0


def faults() -> Path:
    """Run the tests of faults; return their record in JUnit's XML."""
    record = Path(tempfile.mkdtemp()) / "faults.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"--junitxml={record}"]
    subprocess.run([*command, str(TESTS / "faults")], cwd=ROOT, check=False)
    return record


def home(folder: Path) -> None:
    """Keep caches away from the user's."""
    for name in ("HOME", "XDG_CACHE_HOME", "SFE_CACHE"):
        os.environ[name] = str(folder / "home")


def say(line: str) -> None:
    """Tell how far the run is."""
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
