"""Load on `sfe serve` over loopback: requests per second, waits, memory, refusals, no mixing.

    python -m benchmarks.serving --write        # some minutes; into docs/PERFORMANCE.md

Several clients send photos that differ at a time. Every answer is held against the one that its
photo and edit had when nobody else asked.
"""

from __future__ import annotations

import argparse
import io
import re
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import ROOT
from benchmarks.report import write_part
from benchmarks.run import this_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE, CLIENTS, VARIANTS = 8, 4, 6
EDITS = ("smile=2", "age=-1,smile=1")


@contextmanager
def served() -> Iterator[tuple[str, int]]:
    """Serve the built-in model in a process of its own; give address and process."""
    command = [sys.executable, "-m", "stylefeatureeditor", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--queue", str(QUEUE)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        try:
            if not line:
                raise RuntimeError(f"sfe serve ended with {process.wait()} before it served")
            yield line.split()[0], process.pid
        finally:
            process.terminate()


def forms(side: int, *, aligned: bool) -> list[bytes]:
    """Return forms that differ in photo and edit; the photos are PNGs of `side` pixels."""
    from PIL import Image
    from skimage.data import astronaut

    photo = Image.fromarray(astronaut())
    made = []
    for number in range(VARIANTS):
        left = 4 * number
        box = (120 + left, left, 340 + left, 220 + left) if aligned else (left, 0, 420 + left, 420)
        buffer = io.BytesIO()
        photo.crop(box).resize((side, side)).save(buffer, "PNG")
        fields = {"edits": EDITS[number % 2], "aligned": str(int(aligned))}
        parts = [f'name="{name}"\r\n\r\n{text}'.encode() for name, text in fields.items()]
        parts.append(b'name="photo"; filename="a.png"\r\n\r\n' + buffer.getvalue())
        head = b"--sfe\r\nContent-Disposition: form-data; "
        made.append(b"".join(head + part + b"\r\n" for part in parts) + b"--sfe--\r\n")
    return made


def ask(address: str, form: bytes) -> tuple[int, bytes, float]:
    """Return status, answer and seconds of one request."""
    headers = {"Content-Type": "multipart/form-data; boundary=sfe"}
    request, start = urllib.request.Request(f"{address}/edit", form, headers), time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            content = answer.read()
            return answer.status, content, time.perf_counter() - start
    except urllib.error.HTTPError as error:
        return error.code, error.read(), time.perf_counter() - start


def memory(process: int, what: str = "VmRSS") -> float:
    """Return MiB of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1024  # type: ignore[index]


def loaded(address: str, process: int, sent: list[bytes], requests: int) -> str:
    """Return a row of the table: `requests` of `sent` in turn by CLIENTS at a time."""
    alone = [ask(address, form)[1] for form in sent]
    before, start = memory(process), time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        numbers = [number % len(sent) for number in range(requests)]
        answers = [*clients.map(lambda number: ask(address, sent[number]), numbers)]
    rate = requests / (time.perf_counter() - start)
    mixed = sum(
        (status, content) != (200, alone[number])
        for number, (status, content, _) in zip(numbers, answers, strict=True)
    )
    marks = statistics.quantiles([seconds for *_, seconds in answers], n=20, method="inclusive")
    grown = memory(process) - before
    return f"{requests} | {rate:.2f} | {marks[9]:.2f} | {marks[18]:.2f} | {grown:+.0f} | {mixed} |"


def overrun(address: str, sent: list[bytes]) -> Counter[int]:
    """Return how often each status came when three times the queue ask at once."""
    with ThreadPoolExecutor(3 * QUEUE) as clients:
        answers = clients.map(lambda n: ask(address, sent[n % len(sent)])[0], range(3 * QUEUE))
        return Counter(answers)


def main() -> None:
    """Print a table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=300, help="requests with aligned crops")
    parser.add_argument("--photos", type=int, default=100, help="requests with a search for faces")
    parser.add_argument("--write", action="store_true", help="into docs/PERFORMANCE.md")
    options = parser.parse_args()
    machine, crops = this_machine(), forms(256, aligned=True)
    with served() as (address, process):
        rows = [
            f"| crop of 256 px | {loaded(address, process, crops, options.crops)}",
            f"| photo of 512 px, its face searched | "
            f"{loaded(address, process, forms(512, aligned=False), options.photos)}",
        ]
        full = overrun(address, crops)
        most = memory(process, "VmHWM")
    lines = [
        "## Serving\n",
        f"`sfe serve` with the built-in model: {machine['cpu']}, {machine['cores']} cores shared "
        f"with other work, load {machine['load']:.0f}, commit {machine['commit']}; {CLIENTS} "
        "clients over loopback. Mixed: answers that are not the bytes which the same photo and "
        "edit had alone.\n",
        "| request | requests | per second | p50, s | p95, s | memory grown, MiB | mixed |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Of {3 * QUEUE} requests at once with a queue of {QUEUE}, {full[200]} were done and "
        f"{full[429]} refused with 429. The process had {most:.0f} MiB at its peak.",
    ]
    print("\n".join(lines))
    if options.write:
        write_part(ROOT / "docs" / "PERFORMANCE.md", "serving", "\n".join(lines))


if __name__ == "__main__":
    main()
