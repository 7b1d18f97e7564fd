"""Time, arithmetic and memory of a piece of work, and this machine's best rate to hold it against.

    floor = FLOP of the work / best measured convolution rate,    ratio = time / floor

FLOP are two per multiply-add of plain convolutions and products, counted while the work runs. A
ratio of 1 is a program that does nothing but convolve at full speed; below 1 it gets by with fewer
operations than plain convolutions (docs/LOG.md).
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
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
PLAIN = ("convolution.is_plain_cpu", "generator.stylegan2.is_plain_cpu")  # what rearranges the sums


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
    device = "cuda" if torch.cuda.is_available() else "cpu"
    work()
    samples: list[float] = []
    while len(samples) < least or (sum(samples) < seconds and len(samples) < most):
        gc.collect()
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        samples.append(time.perf_counter() - start)
    return summary(samples)


def summary(samples: Sequence[float]) -> Timing:
    """Return median and quartiles of at least two samples."""
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Timing(statistics.median(samples), low, high, len(samples))


def flop(work: Work) -> int:
    """Return the floating-point operations of the work's matrix products and plain convolutions."""
    off = [mock.patch(f"stylefeatureeditor.{name}", return_value=False) for name in PLAIN]
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
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=complained)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complained.seek(0)
        output, complaint = said.read(), complained.read()
    if process.returncode:
        what = " ".join(command[1:6])
        raise RuntimeError(f"{what} ended with {process.returncode}: {complaint[-600:].strip()}")
    return Process(seconds, usage.ru_maxrss / 2**20, output)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
