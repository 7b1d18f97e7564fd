"""FID and KID: against numpy and scipy, in parts, and where they must be zero."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from scipy import linalg

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.metrics.frechet import (
    FeatureStatistics,
    frechet_inception_distance,
    kernel_inception_distance,
    statistics,
)

X = torch.randn(60, 5, generator=torch.Generator().manual_seed(1)) * 2 + 3
Y = torch.randn(50, 5, generator=torch.Generator().manual_seed(2)) + 1


def test_statistics_are_those_of_numpy():
    stats = statistics(X)
    np.testing.assert_allclose(stats.mean.numpy(), X.double().numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(
        stats.covariance.numpy(), np.cov(X.double().numpy(), rowvar=False), rtol=1e-12
    )


def test_parts_join_to_the_whole_in_any_grouping():
    whole = statistics(X)
    parts = reduce(add, map(FeatureStatistics.of, X.split([1, 20, 39])))
    nested = FeatureStatistics.of(X[:7]) + (FeatureStatistics.of(X[7:9]) + statistics(X[9:]))
    for joined in (parts, nested):
        assert joined.count == 60
        torch.testing.assert_close(joined.mean, whole.mean)
        torch.testing.assert_close(joined.scatter, whole.scatter)


def test_more_than_one_chunk_is_the_whole():
    many = torch.randn(2500, 5, generator=torch.Generator().manual_seed(4))
    chunked, whole = statistics(many), FeatureStatistics.of(many)
    assert chunked.count == 2500
    torch.testing.assert_close(chunked.scatter, whole.scatter)


def test_an_empty_part_changes_nothing():
    whole, empty = statistics(X), FeatureStatistics.of(X[:0])
    assert torch.equal((whole + empty).scatter, whole.scatter)
    assert torch.equal((empty + whole).mean, whole.mean)


def test_fid_is_the_formula_with_a_matrix_root():
    x, y = X.double().numpy(), Y.double().numpy()
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(
        c1 + c2 - 2 * linalg.sqrtm(c1 @ c2).real
    )
    assert frechet_inception_distance(statistics(X), statistics(Y)) == pytest.approx(expected)


def test_fid_needs_two_images_a_side():
    with pytest.raises(ConfigError, match="got 60 and 1"):
        frechet_inception_distance(statistics(X), statistics(Y[:1]))


def test_kid_is_the_sum_over_pairs():
    x, y = X[:6].double(), Y[:6].double()

    def kernel(a, b):
        return (float(a @ b) / 5 + 1) ** 3

    pairs = [(i, j) for i in range(6) for j in range(6)]
    within = sum(kernel(z[i], z[j]) for z in (x, y) for i, j in pairs if i != j) / 30
    across = sum(kernel(x[i], y[j]) for i, j in pairs) / 36
    found = kernel_inception_distance(X[:6], Y[:6], subsets=2)
    assert found == pytest.approx(within - 2 * across)


def test_kid_subsets_follow_the_seed():
    first, again, other = (
        kernel_inception_distance(X, Y, seed=seed, subsets=5, subset_size=20) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_kid_of_two_halves_of_one_set_is_about_zero():
    many = torch.randn(400, 5, generator=torch.Generator().manual_seed(3))
    same = kernel_inception_distance(many[:200], many[200:])
    other = kernel_inception_distance(many[:200], Y)
    assert abs(same) < 0.1 < other


def test_kid_needs_two_images_a_side():
    with pytest.raises(ConfigError, match="got 1 and 50"):
        kernel_inception_distance(X[:1], Y)
