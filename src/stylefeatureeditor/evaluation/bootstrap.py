"""Means with confidence intervals, by the percentile bootstrap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """A number of a table."""

    value: float  # the mean, or the distance of two sets
    low: float | None = None  # lower end of the 95 % interval, if any
    high: float | None = None
    count: int = 0  # images behind it; 0 if not known


def bootstrap_mean(values: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES) -> Mean | None:
    """Return the mean of the finite values and its interval; None if there is no such value.

    Infinite values are left out too: PSNR is infinite for equal images.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return None
    mean = math.fsum(known) / known.size
    if known.size == 1:
        return Mean(mean, count=1)
    draw = np.random.default_rng(seed)
    means = np.empty(resamples)
    for index in range(resamples):  # one at a time: n x resamples would not stay small
        means[index] = known[draw.integers(known.size, size=known.size)].mean()
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Mean(mean, float(low), float(high), known.size)
