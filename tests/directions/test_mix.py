"""Two photos: the ends of the way between them, and what one takes from the other."""

from __future__ import annotations

import pytest
import torch

from seeded import seeded_image
from stylefeatureeditor.directions.mix import between, strength_like, toward
from stylefeatureeditor.editing.direction import LinearDirection, StyleSpaceDirection
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import DirectionError, FaceError
from stylefeatureeditor.methods.e4e import E4eMethod
from tiny import SIZE, WIDTH, tiny_model


@pytest.fixture(scope="module")
def editor():
    return Editor(tiny_model())


@pytest.fixture(scope="module")
def pair(editor):
    return [editor.invert(seeded_image(name, SIZE)) for name in ("anna", "ben")]


def test_the_way_begins_and_ends_with_the_reconstructions(editor, pair):
    pictures = between(editor, *pair, [0.0, 0.5, 1.0])
    for picture, inversion in zip((pictures[0], pictures[2]), pair, strict=True):
        torch.testing.assert_close(picture, inversion.pixels, rtol=1e-4, atol=1e-4)
    assert min((pictures[1] - each.pixels).abs().max() for each in pair) > 1e-2


def test_another_methods_way_ends_at_the_others_codes():
    editor = Editor(E4eMethod(tiny_model()))
    pair = [editor.invert(seeded_image(name, SIZE)) for name in ("anna", "ben")]
    picture = between(editor, *pair, [1.0])[0]
    torch.testing.assert_close(picture, pair[1].pixels, rtol=1e-4, atol=1e-4)


def test_style_vectors_of_the_other_take_the_place_of_its_own(pair):
    a, b = pair
    moved = toward(a, b, (0, 3)).apply(a.codes, 1.0).wplus
    torch.testing.assert_close(moved[:, :3], b.codes.wplus[:, :3])
    assert torch.equal(moved[:, 3:], a.codes.wplus[:, 3:])


def test_an_attribute_becomes_as_strong_as_in_the_other(pair):
    a, b = pair
    vector = torch.randn(WIDTH)
    direction = LinearDirection("smile", vector, 0.5, (1, 5))
    moved = direction.apply(a.codes, strength_like(a, b, direction)).wplus
    level = [(codes[:, 1:5] @ vector).sum() for codes in (moved, b.codes.wplus)]
    torch.testing.assert_close(*level)


def test_what_cannot_be_mixed_is_refused(editor, pair):
    a, b = pair
    channels = StyleSpaceDirection.of_channels(
        "c", ((0, 0),), editor.model.config.generator.style_layout()
    )
    with pytest.raises(DirectionError, match="linear directions only"):
        strength_like(a, b, channels)
    with pytest.raises(FaceError, match="a face at a time"):
        toward(a, editor.invert(seeded_image("two", SIZE, batch=2)))
