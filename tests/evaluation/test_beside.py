"""The picture that shows methods beside each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.beside import Row, difference_map, draw_rows, make_row
from toy_methods import BRIGHTER, SIDE, Darker

RED, GREEN, BLUE = ((1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


def flat(colour: tuple[float, float, float], side: int = 16) -> torch.Tensor:
    return torch.tensor(colour)[None, :, None, None].expand(1, 3, side, side)


def row(name: str, **changes: object) -> Row:
    values = {
        "name": name,
        "photo": flat(RED),
        "inversion": flat(GREEN),
        "edits": {"smile 2": flat(BLUE)},
        "invert_seconds": 0.25,
        "edit_seconds": 12.345,
    }
    return Row(**{**values, **changes})  # type: ignore[arg-type]


def tiles_of(picture, rows: int, columns: int, tile: int) -> np.ndarray:
    """The colours in the middle of each tile, (rows, columns, 3); tiles end at the right edge."""
    pixels, gap = np.asarray(picture), max(4, tile // 40)
    left = pixels.shape[1] - gap - columns * (tile + gap)
    top = round(2.4 * max(13, tile // 12))
    ys = [top + number * (tile + gap) + tile // 2 for number in range(rows)]
    xs = [left + number * (tile + gap) + tile // 2 for number in range(columns)]
    return pixels[np.ix_(ys, xs)]


def test_a_row_holds_what_the_method_draws_and_how_long_it_took():
    photo = torch.full((1, 3, SIDE, SIDE), 0.5)
    made = make_row(Darker(0.5), photo, {"brighter 0.1": (BRIGHTER, 0.1), "0.2": (BRIGHTER, 0.2)})
    assert made.name == "darker 0.5"
    assert torch.equal(made.inversion, photo * 0.5)
    assert torch.equal(made.edits["0.2"], photo * 0.5 + 0.2)
    assert made.invert_seconds > 0
    assert made.edit_seconds > 0
    assert make_row(Darker(0.5), photo, {}).edit_seconds is None


def test_rows_show_photo_inversion_and_edits_from_left_to_right():
    swapped = row("two", inversion=flat(BLUE), edits={"smile 2": flat(GREEN)})
    picture = draw_rows([row("one"), swapped], tile=80)
    red, green, blue = np.eye(3) * 255
    found = tiles_of(picture, 2, 3, 80)
    assert np.array_equal(found, [[red, green, blue], [red, blue, green]])


def test_maps_are_black_where_nothing_differs_and_of_one_scale():
    alike = row("alike", inversion=flat(RED), edits={"smile 2": flat(BLUE)})
    picture = draw_rows([alike], differences=True, tile=80)
    photo_map, edit_map = tiles_of(picture, 1, 5, 80)[0, 3:]
    assert photo_map.tolist() == [0, 0, 0]
    assert edit_map.tolist() == [252, 255, 164]
    grey = torch.zeros(1, 3, 4, 4)
    faint, strong = (difference_map(grey, grey + by)[0, 0].sum() for by in (0.05, 0.2))
    assert 0 < faint < strong
    at_most = difference_map(grey, grey + 0.6)[0, 0]
    assert np.array_equal(at_most, difference_map(grey, grey + 0.9)[0, 0])


def test_names_make_room_for_themselves():
    narrow = draw_rows([row("A")], tile=80)
    wide = draw_rows([row("A method with a very long name indeed")], tile=80)
    assert wide.width > narrow.width + 100
    assert wide.height == narrow.height
    pixels = np.asarray(wide)
    assert (pixels[:, : wide.width - narrow.width] < 100).any()  # the name is written there


def test_nothing_to_draw_is_refused():
    for rows, tile in (([], 256), ([row("one")], 20)):
        with pytest.raises(ConfigError, match="at least 64 px"):
            draw_rows(rows, tile=tile)
