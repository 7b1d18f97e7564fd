from __future__ import annotations

import numpy as np
from PIL import Image

from stylefeatureeditor.photo.contact_sheet import (
    MAX_TILE,
    MIN_TILE,
    difference_map,
    draw_grid,
    draw_strip,
)


def tile(level: int, side: int = 128) -> Image.Image:
    return Image.new("RGB", (side, side), (level, level, level))


def test_tiles_stand_in_their_order_under_their_labels():
    strip = np.asarray(draw_strip([("first", tile(10)), ("second", tile(200))]))
    bottom = strip[-1, :, 0]
    assert bottom[0] == 10
    assert bottom[-1] == 200
    labels = strip[: strip.shape[0] - 128]
    assert (labels < 100).any()
    assert np.array_equal(strip[-128:, :128], np.full((128, 128, 3), 10))


def test_labels_never_overlap():
    label = "a very long name of a direction -2.5"
    one = draw_strip([(label, tile(0, 32))])
    two = draw_strip([(label, tile(0, 32))] * 2)
    assert two.width > 2 * one.width
    ink = (np.asarray(two)[: two.height - MIN_TILE] < 128).any(axis=(0, 2))
    middle = two.width // 2
    assert not ink[middle - 1 : middle + 1].any()


def test_small_crops_are_enlarged_to_be_seen():
    strip = np.asarray(draw_strip([("photo", tile(7, 32)), ("edit", tile(7, 32))]))
    assert (strip[-MIN_TILE:, :MIN_TILE] == 7).all()


def test_large_crops_are_made_smaller():
    strip = draw_strip([("photo", tile(7, 1024))] * 3)
    assert strip.height < MAX_TILE * 1.2
    assert np.asarray(strip)[-1, 5, 0] == 7


def test_heads_stand_left_of_their_rows():
    rows = [[tile(10)], [tile(200)]]
    plain, headed = (draw_grid(["x"], rows, heads) for heads in ((), [("a", "1 s"), ("b", "2 s")]))
    assert headed.height == plain.height
    assert np.array_equal(np.asarray(headed)[:, -128:], np.asarray(plain))
    left = np.asarray(headed)[:, : headed.width - 128]
    assert (left[-128:] < 150).any()
    assert (left[16:144] < 150).any()


def test_a_difference_map_is_black_where_nothing_differs_and_grows_brighter():
    grey = np.full((4, 4, 3), 100, dtype=np.uint8)
    assert difference_map(grey, grey).max() == 0
    faint, strong, most = (difference_map(grey, grey + by)[0, 0] for by in (5, 25, 70))
    assert 0 < faint.sum() < strong.sum() < most.sum()
    assert most.tolist() == difference_map(grey, grey + 100)[0, 0].tolist() == [252, 255, 164]
