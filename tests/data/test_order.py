"""The order of images as a function of the step."""

from __future__ import annotations

import numpy as np
import pytest

from stylefeatureeditor.data.order import SHARD_WINDOW, Order
from stylefeatureeditor.errors import ConfigError


def test_every_epoch_is_a_permutation_of_its_own():
    order = Order(length=10, batch_size=4, seed=5)
    seen = np.concatenate([order.at(step)[0] for step in range(5)])
    first, second = seen[:10], seen[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()


def test_a_step_does_not_depend_on_the_steps_before_it():
    order = Order(length=7, batch_size=3, seed=1)
    straight = [order.at(step) for step in range(20)]
    again = Order(length=7, batch_size=3, seed=1).at(13)
    np.testing.assert_array_equal(again, straight[13])


def test_ranks_together_see_the_batch_of_one():
    one = Order(length=13, batch_size=6, seed=2)
    parts = [Order(length=13, batch_size=2, seed=2, rank=r, world_size=3) for r in range(3)]
    for step in range(9):
        together = [
            np.concatenate(values) for values in zip(*(p.at(step) for p in parts), strict=True)
        ]
        np.testing.assert_array_equal(together, one.at(step))


def test_a_batch_may_be_larger_than_the_set():
    indices, _ = Order(length=3, batch_size=8).at(0)
    assert np.bincount(indices).min() >= 2


def test_seeds_differ_and_may_be_negative():
    orders = [Order(length=50, batch_size=50, seed=seed).at(0)[0].tolist() for seed in (-1, 0, 1)]
    assert len(set(map(tuple, orders))) == 3


def test_about_half_are_mirrored_and_others_in_the_next_epoch():
    order = Order(length=400, batch_size=400)
    (first, flips), (second, others) = order.at(0), order.at(1)
    assert 150 < flips.sum() < 250
    assert set(first[flips]) != set(second[others])


def test_shards_are_mixed_within_a_window_only():
    shards = (5,) * (2 * SHARD_WINDOW)
    indices, _ = Order(length=sum(shards), batch_size=sum(shards), shards=shards).at(0)
    assert sorted(indices) == list(range(sum(shards)))
    half = 5 * SHARD_WINDOW
    first, second = set(indices[:half] // 5), set(indices[half:] // 5)
    assert len(first) == len(second) == SHARD_WINDOW
    assert not first & second
    assert indices[:half].tolist() != sorted(indices[:half])


def test_nonsense_is_refused():
    for wrong in ({"length": 0}, {"batch_size": 0}, {"rank": 1}, {"shards": (1, 2)}):
        with pytest.raises(ConfigError):
            Order(**{"length": 4, "batch_size": 2, **wrong})
