from __future__ import annotations

import numpy as np
from PIL import Image

from stylefeatureeditor.photo.contact_sheet import MAX_TILE, MIN_TILE, draw_strip


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
