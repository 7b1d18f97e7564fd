"""Intervals of means."""

from __future__ import annotations

import numpy as np
import pytest

from stylefeatureeditor.evaluation.bootstrap import bootstrap_mean

VALUES = np.random.default_rng(0).normal(3, 2, 400)


def test_the_interval_is_the_textbooks_for_many_values():
    mean = bootstrap_mean(VALUES, resamples=2000)
    half = 1.96 * VALUES.std(ddof=1) / 20
    assert mean.value == pytest.approx(VALUES.mean())
    assert mean.high - mean.value == pytest.approx(half, rel=0.1)
    assert mean.value - mean.low == pytest.approx(half, rel=0.1)


def test_the_same_seed_gives_the_same_interval():
    assert bootstrap_mean(VALUES, seed=1) == bootstrap_mean(VALUES, seed=1)
    assert bootstrap_mean(VALUES, seed=1) != bootstrap_mean(VALUES, seed=2)


def test_values_that_are_no_number_do_not_count():
    mean = bootstrap_mean(np.array([1.0, np.nan, 3.0, np.inf]))
    assert (mean.value, mean.count) == (2.0, 2)


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert bootstrap_mean(np.array([1.0])).low is None
    assert bootstrap_mean(np.array([np.nan])) is None
