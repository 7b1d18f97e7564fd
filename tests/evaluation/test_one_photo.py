"""The picture that shows methods beside each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.one_photo import DrawnPhoto, compare_in_picture, draw_photo
from toy_methods import BRIGHTER, SIDE, Darker

RED, GREEN, BLUE = ((1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


def flat(colour: tuple[float, float, float], side: int = 16) -> torch.Tensor:
    return torch.tensor(colour)[None, :, None, None].expand(1, 3, side, side)


def row(name: str, **changes: object) -> DrawnPhoto:
    values = {
        "name": name,
        "photo": flat(RED),
        "inversion": flat(GREEN),
        "edits": {"smile": flat(BLUE)},
        "invert_seconds": 0.25,
        "edit_seconds": 12.345,
    }
    return DrawnPhoto(**{**values, **changes})  # type: ignore[arg-type]


def tiles_of(picture, rows: int, columns: int, tile: int) -> np.ndarray:
    """The colours in the middle of each tile, (rows, columns, 3); labels are narrower than tiles.

    Tiles lie at the lower right, with gaps of two pixels.
    """
    pixels, step = np.asarray(picture), tile + 2
    ys = [pixels.shape[0] - number * step - tile // 2 for number in range(rows)][::-1]
    xs = [pixels.shape[1] - number * step - tile // 2 for number in range(columns)][::-1]
    return pixels[np.ix_(ys, xs)]


def test_a_row_holds_what_the_method_draws_and_how_long_it_took():
    photo = torch.full((1, 3, SIDE, SIDE), 0.5)
    made = draw_photo(Darker(0.5), photo, {"brighter 0.1": (BRIGHTER, 0.1), "0.2": (BRIGHTER, 0.2)})
    assert made.name == "darker 0.5"
    assert torch.equal(made.inversion, photo * 0.5)
    assert torch.equal(made.edits["0.2"], photo * 0.5 + 0.2)
    assert made.invert_seconds > 0
    assert made.edit_seconds > 0
    assert draw_photo(Darker(0.5), photo, {}).edit_seconds is None


def test_rows_show_photo_inversion_and_edits_from_left_to_right():
    swapped = row("two", inversion=flat(BLUE), edits={"smile": flat(GREEN)})
    picture = compare_in_picture([row("one"), swapped], tile=80)
    red, green, blue = np.eye(3) * 255
    found = tiles_of(picture, 2, 3, 80)
    assert np.array_equal(found, [[red, green, blue], [red, blue, green]])


def test_maps_are_black_where_nothing_differs():
    alike = row("alike", inversion=flat(RED), edits={"smile": flat(BLUE)})
    pixels = np.asarray(compare_in_picture([alike], differences=True, tile=80))
    middle = pixels[-40]
    inside = [tuple(each) for each in middle if tuple(each) != (255, 255, 255)]
    colours = [
        colour for colour, before in zip(inside, [None, *inside], strict=False) if colour != before
    ]
    assert colours[-2:] == [(0, 0, 0), (252, 255, 164)]


def test_names_make_room_for_themselves():
    narrow = compare_in_picture([row("A")], tile=80)
    wide = compare_in_picture([row("A method with a very long name indeed")], tile=80)
    assert wide.width > narrow.width + 100
    assert wide.height == narrow.height
    pixels = np.asarray(wide)
    assert (pixels[:, : wide.width - narrow.width] < 100).any()  # the name is written there


def test_nothing_to_draw_is_refused():
    for rows, tile in (([], 256), ([row("one")], 20)):
        with pytest.raises(ConfigError, match="at least 64 px"):
            compare_in_picture(rows, tile=tile)
