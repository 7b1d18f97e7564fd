"""The images on the page are the worst, the best, and a fixed lot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylefeatureeditor.evaluation.pictures import PictureKeeper
from stylefeatureeditor.evaluation.rows import Row, Table

KEYS = np.random.default_rng(5).permutation(40) / 40.0


def row(index: int) -> Row:
    return Row(index, str(index), {"l2": KEYS[index]})


def keep(folder, order, batch=4, **changes):
    keeper = PictureKeeper(folder, "l2", np.arange(40), count=3, **changes)
    for numbers in np.split(np.array(order), range(batch, len(order), batch)):
        images = torch.zeros(len(numbers), 3, 2, 2)
        keeper.offer(images, [row(int(i)) for i in numbers])
    return keeper


def table() -> Table:
    return Table(np.arange(40), tuple(map(str, range(40))), {"l2": KEYS})


@pytest.mark.parametrize("order", [range(40), range(39, -1, -1)])
def test_worst_and_best_do_not_depend_on_the_order(tmp_path, order):
    worst, best, _ = keep(tmp_path, list(order)).choose(table())
    assert [KEYS[i] * 40 for i in worst] == [39, 38, 37]
    assert [KEYS[i] * 40 for i in best] == [0, 1, 2]
    assert len(list(tmp_path.iterdir())) < 40


def test_two_processes_keep_what_one_would(tmp_path):
    keep(tmp_path, range(0, 40, 2))
    worst, _, _ = keep(tmp_path, range(1, 40, 2)).choose(table())
    assert [KEYS[i] * 40 for i in worst] == [39, 38, 37]


def test_a_resumed_run_keeps_what_it_would_have(tmp_path):
    keep(tmp_path, range(20))
    later = PictureKeeper(tmp_path, "l2", np.arange(40), count=3)
    later.remember(map(row, range(20)))
    before = len(list(tmp_path.iterdir()))
    later.offer(torch.zeros(1, 3, 2, 2), [Row(20, "20", {"l2": 0.501})])  # neither good nor bad
    assert len(list(tmp_path.iterdir())) == before + (20 in later.lot)


def test_the_lot_follows_the_seed(tmp_path):
    lots = [keep(tmp_path, [], seed=seed).lot for seed in (0, 0, 1)]
    assert lots[0] == lots[1] != lots[2]


def test_equal_images_are_kept_too(tmp_path):
    keeper = PictureKeeper(tmp_path, "l2", np.arange(10), count=2)
    keeper.offer(torch.zeros(10, 3, 2, 2), [Row(i, str(i), {"l2": 1.0}) for i in range(10)])
    equal = Table(np.arange(10), tuple(map(str, range(10))), {"l2": np.ones(10)})
    assert keeper.choose(equal)[1] == [0, 1]
