"""Time, arithmetic and memory of a piece of work, and this machine's best rate to hold it against.

    floor = FLOP of the work / best measured convolution rate,    ratio = time / floor

FLOP are two per multiply-add of plain convolutions and products, counted while the work runs. A
ratio of 1 is a program that does nothing but convolve at full speed; below 1 it gets by with fewer
operations than plain convolutions (docs/LOG.md).
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

Work = Callable[[], object]
ROOT = Path(__file__).parents[1]
LAUNCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[2:])
figures = [time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]
open(sys.argv[1], "w").write(json.dumps(figures))
sys.exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)
"""  # small, since a child's peak begins with its parent's
PLAIN = ("convolution.is_plain_cpu", "quick.is_plain_cpu")  # what rearranges the sums


@dataclass(frozen=True)
class Timing:
    """Seconds of one piece of work.

    Attributes:
        median: of the repeats.
        low: first quartile.
        high: third quartile.
        repeats: how many.
    """

    median: float
    low: float
    high: float
    repeats: int


@dataclass(frozen=True)
class Process:
    """What a whole process took: seconds, GiB at the peak, and what it wrote."""

    seconds: float
    peak: float
    output: str


def timed(work: Work, *, seconds: float = 6.0, least: int = 3, most: int = 30) -> Timing:
    """Run the work once to warm up, then for about `seconds`, and return its timing."""
    work()
    samples: list[float] = []
    while len(samples) < least or (sum(samples) < seconds and len(samples) < most):
        samples.append(seconds_of(work))
    return summary(samples)


def seconds_of(work: Work) -> float:
    """Return how long the work takes, the GPU's part included."""
    gc.collect()
    _wait()
    start = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - start


def summary(samples: Sequence[float]) -> Timing:
    """Return median and quartiles."""
    known = samples if len(samples) > 1 else [*samples, *samples]
    low, _, high = statistics.quantiles(known, n=4, method="inclusive")
    return Timing(statistics.median(samples), low, high, len(samples))


def flop(work: Work) -> int:
    """Return the floating-point operations of the work's matrix products and plain convolutions."""
    off = [mock.patch(f"stylefeatureeditor.runtimes.{name}", return_value=False) for name in PLAIN]
    with off[0], off[1], FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def best_convolution_rate(device: str, dtype: torch.dtype = torch.float32) -> float:
    """Return FLOP/s of a 3x3 convolution, 512 -> 512 channels on 64 x 64, the faster layout."""
    photo = torch.randn(1 if device == "cpu" else 16, 512, 64, 64, device=device, dtype=dtype)
    weight = torch.randn(512, 512, 3, 3, device=device, dtype=dtype)
    operations = 2 * weight.numel() * photo.shape[0] * 64 * 64
    rates = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x, w = (tensor.contiguous(memory_format=layout) for tensor in (photo, weight))
        timing = timed(partial(functional.conv2d, x, w, padding=1), seconds=2.0, most=20)
        rates.append(operations / timing.median)
    return max(rates)


def run_process(command: Sequence[str]) -> Process:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; the message has the end of what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "figures.json")
        launcher = [sys.executable, "-S", "-c", LAUNCHER, str(figures), *command]
        done = subprocess.run(launcher, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            what, why = " ".join(command[1:6]), done.stderr[-600:].strip()
            raise RuntimeError(f"{what} ended with {done.returncode}: {why}")
        seconds, peak = json.loads(figures.read_text())
    return Process(seconds, peak / 2**20, done.stdout)


def peak_memory(device: str) -> float:
    """Return this process's peak in GiB: of the GPU, or of main memory with all libraries."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory, which a child starts with
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # macOS, in bytes


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
