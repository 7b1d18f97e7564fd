"""Distances between two sets of images, from a feature vector of each image.

    FID = |m1 - m2|^2 + tr(C1 + C2 - 2 sqrt(C1 C2))                      Heusel et al. 2017
    KID = mean over subsets of  k(x, x') + k(y, y') - 2 k(x, y),         Binkowski et al. 2018
          k(a, b) = (a . b / D + 1)^3, x != x', y != y'  (unbiased)

Both are 0 for equal distributions; lower is better. FID is biased upwards, the more the fewer
images there are, so it compares only at equal counts; KID is not, and may come out negative.

Shapes: n images, D features (2048).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.errors import ConfigError, check_shape
from stylefeatureeditor.metrics.pixel import frechet_distance

CHUNK = 1024  # feature vectors read at a time
KID_SUBSETS = 100  # as its authors: 100 subsets of 1000 images
KID_SUBSET_SIZE = 1000


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and scatter of feature vectors, in float64; parts may be joined in any grouping."""

    count: int  # n
    mean: Tensor  # (D,)
    scatter: Tensor  # (D, D), the sum over images of (f - mean)(f - mean)^T

    @staticmethod
    def of(features: Tensor) -> FeatureStatistics:
        """Return the statistics of (n, D) features."""
        check_shape("features", features, (None, None))
        rows = features.double()
        mean = rows.mean(dim=0) if len(rows) else rows.new_zeros(rows.shape[1])
        centred = rows - mean
        return FeatureStatistics(len(rows), mean, centred.T @ centred)

    def __add__(self, other: FeatureStatistics) -> FeatureStatistics:
        count = self.count + other.count
        if count == 0:
            return self
        step = other.mean - self.mean
        mean = self.mean + step * (other.count / count)
        between = torch.outer(step, step) * (self.count * other.count / count)
        return FeatureStatistics(count, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Tensor:
        """(D, D), with n - 1 in the denominator."""
        return self.scatter / (self.count - 1)


class FeatureVectors(Protocol):
    """n vectors of D that are fetched as they are needed; a tensor is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: np.ndarray, /) -> Tensor:
        """Return some of them, (len(places), D)."""


def statistics(features: FeatureVectors) -> FeatureStatistics:
    """Return the statistics of features, CHUNK at a time."""
    places = np.arange(len(features))
    total = FeatureStatistics.of(features[places[:CHUNK]])
    for start in range(CHUNK, len(places), CHUNK):
        total = total + FeatureStatistics.of(features[places[start : start + CHUNK]])
    return total


def frechet_inception_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Return FID of two sets; ConfigError if a set has fewer than two images."""
    _check_counts("FID", first.count, second.count)
    return frechet_distance(first.mean, first.covariance, second.mean, second.covariance).item()


def kernel_inception_distance(
    first: FeatureVectors,
    second: FeatureVectors,
    *,
    seed: int = 0,
    subsets: int = KID_SUBSETS,
    subset_size: int = KID_SUBSET_SIZE,
) -> float:
    """Return KID of two sets of vectors, the mean over seeded subsets of both.

    A subset has `subset_size` images of each side, or all of the smaller set. ConfigError if a set
    has fewer than two images.
    """
    _check_counts("KID", len(first), len(second))
    size = min(subset_size, len(first), len(second))
    draw = np.random.default_rng(seed)
    values = np.empty(subsets)
    for index in range(subsets):
        x = first[np.sort(draw.choice(len(first), size, replace=False))]
        y = second[np.sort(draw.choice(len(second), size, replace=False))]
        values[index] = _discrepancy(x.double(), y.double())
    return float(values.mean())


def _check_counts(what: str, *counts: int) -> None:
    if min(counts) < 2:
        raise ConfigError(
            f"{what} needs at least two images on each side, got {counts[0]} and {counts[1]}"
        )


def _discrepancy(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of two (n, D) sets."""
    n = len(x)
    within = sum((kernel.sum() - kernel.trace()) for kernel in (_kernel(x, x), _kernel(y, y)))
    return float(within / (n * (n - 1)) - 2 * _kernel(x, y).mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3
