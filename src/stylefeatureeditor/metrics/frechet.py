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
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.errors import ConfigError, check_shape
from stylefeatureeditor.metrics.pixel import frechet_distance

if TYPE_CHECKING:
    from collections.abc import Iterable

KID_SUBSETS = 100  # as its authors: 100 subsets of 1000 images
KID_SUBSET_SIZE = 1000


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and scatter of feature vectors, in float64; parts may be joined in any grouping.

    Attributes:
        count: n.
        mean: (D,).
        scatter: (D, D), the sum over images of (f - mean)(f - mean)^T.
    """

    count: int
    mean: Tensor
    scatter: Tensor

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


def statistics(chunks: Iterable[Tensor]) -> FeatureStatistics:
    """Return the statistics of features that come in chunks, (n_i, D) each, at least one."""
    parts = (FeatureStatistics.of(chunk) for chunk in chunks)
    total = next(parts)
    for part in parts:
        total = total + part
    return total


def frechet_inception_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Return FID of two sets.

    Raises:
        ConfigError: a set has fewer than two images.
    """
    if min(first.count, second.count) < 2:
        raise ConfigError(
            f"FID needs at least two images on each side, got {first.count} and {second.count}"
        )
    return frechet_distance(first.mean, first.covariance, second.mean, second.covariance).item()


@dataclass(frozen=True)
class KernelDistance:
    """KID.

    Attributes:
        mean: over the subsets.
        std: over the subsets.
    """

    mean: float
    std: float


class FeatureRows(Protocol):
    """Features that are fetched as they are needed."""

    def __len__(self) -> int: ...

    def take(self, places: np.ndarray) -> Tensor:
        """Return some rows, (len(places), D)."""


@dataclass(frozen=True)
class MemoryFeatures:
    """Features that are in memory, (n, D)."""

    features: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def take(self, places: np.ndarray) -> Tensor:
        """Return some rows."""
        return self.features[torch.from_numpy(places)]


def kernel_inception_distance(
    first: FeatureRows,
    second: FeatureRows,
    *,
    seed: int = 0,
    subsets: int = KID_SUBSETS,
    subset_size: int = KID_SUBSET_SIZE,
) -> KernelDistance:
    """Return KID of two sets, over seeded subsets of both.

    Args:
        first: n rows of D.
        second: m rows of D.
        seed: of the subsets.
        subsets: how many are drawn.
        subset_size: images of each side in a subset, fewer if a set has fewer.

    Raises:
        ConfigError: a set has fewer than two images.
    """
    size = min(subset_size, len(first), len(second))
    if size < 2:
        raise ConfigError(
            f"KID needs at least two images on each side, got {len(first)} and {len(second)}"
        )
    draw = np.random.default_rng(seed)
    values = np.empty(subsets)
    for index in range(subsets):
        x = first.take(np.sort(draw.choice(len(first), size, replace=False)))
        y = second.take(np.sort(draw.choice(len(second), size, replace=False)))
        values[index] = _discrepancy(x.double(), y.double())
    return KernelDistance(float(values.mean()), float(values.std()))


def _discrepancy(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of two (n, D) sets."""
    n = len(x)
    within = sum((kernel.sum() - kernel.trace()) for kernel in (_kernel(x, x), _kernel(y, y)))
    return float(within / (n * (n - 1)) - 2 * _kernel(x, y).mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3
