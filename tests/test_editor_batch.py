"""Faces of several photos go through the networks together, a few at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylefeatureeditor.errors import FaceError, MaskError, PhotoError
from stylefeatureeditor.photo.landmarks import Face
from synthetic_face import frontal_face, soft_photo
from tiny import SIZE, tiny_editor, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")

EDITS = {"smile": 2.0}
PHOTO = soft_photo(200, 150)


@pytest.fixture
def faces(monkeypatch):
    """How many faces the next photos have, the last number for all that follow."""
    counts = [1]

    def find(_pixels, **_):
        count = counts.pop(0) if len(counts) > 1 else counts[0]
        centres = [(40 + 30 * place, 60) for place in range(count)]
        return [Face((0, 0, 1, 1), 1.0, frontal_face(centre, 10)) for centre in centres]

    monkeypatch.setattr("stylefeatureeditor.editor.find_faces", find)
    return counts


def rows_seen(module):
    """A list that gets the batch of every call of a network."""
    seen = []
    module.register_forward_hook(lambda _module, inputs, _out: seen.append(len(inputs[0])))
    return seen


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.usefixtures("faces")
def test_photos_share_the_calls_of_every_network():
    editor = tiny_editor()
    i, e = rows_seen(editor.model.inverter), rows_seen(editor.model.e4e)
    results = list(editor.edit_batch([PHOTO, PHOTO[:, ::-1], PHOTO], EDITS, batch_size=2))
    assert (i, e) == ([2, 1], [2, 1])
    close(results[1].pixels, editor.edit(PHOTO[:, ::-1], EDITS).pixels)


def test_no_call_sees_more_faces_than_asked_for_however_many_a_photo_has(faces):
    faces[:] = [5, 1]
    editor = tiny_editor()
    i, e = rows_seen(editor.model.inverter), rows_seen(editor.model.e4e)
    results = list(editor.edit_batch([PHOTO, PHOTO], EDITS, batch_size=2, face="all", mask="face"))
    assert (i, e) == ([2, 2, 1, 1], [2, 2, 1, 1])
    assert [len(result.pixels) for result in results] == [5, 1]
    faces[:] = [5]
    close(results[0].pixels, editor.edit(PHOTO, EDITS, face="all", mask="face").pixels)
    assert len(results[0].inversion.anchor.features) == 5


def test_a_photo_that_cannot_be_edited_stops_no_other(faces):
    faces[:] = [1, 0, 1]
    editor = tiny_editor()
    failed = {}
    photos = [PHOTO, b"no picture", PHOTO[:, ::-1], PHOTO]
    results = editor.edit_batch(photos, EDITS, batch_size=3, on_error=failed.__setitem__)
    assert len(list(results)) == 2
    assert {number: type(error) for number, error in failed.items()} == {
        1: PhotoError,
        2: FaceError,
    }


@pytest.mark.usefixtures("faces")
def test_a_mask_may_fit_some_photos_and_not_others():
    failed = {}
    mask = np.full((150, 200), 255, np.uint8)
    photos = [PHOTO, PHOTO[:100], tiny_photos()]
    editor = tiny_editor()
    results = editor.edit_batch(photos, EDITS, mask=mask, on_error=failed.__setitem__)
    assert len(list(results)) == 1
    assert [type(error) for error in failed.values()] == [MaskError, MaskError]


def test_the_first_bad_photo_raises_where_nobody_asks_to_be_told():
    with pytest.raises(PhotoError):
        list(tiny_editor().edit_batch([b"no picture", tiny_photos()], EDITS))


def test_all_photos_may_be_bad():
    failed = []
    results = tiny_editor().edit_batch(
        [b"", b"x"], EDITS, on_error=lambda number, _error: failed.append(number)
    )
    assert list(results) == []
    assert failed == [0, 1]


@pytest.mark.usefixtures("faces")
def test_inversions_of_a_group_hold_their_own_faces():
    editor = tiny_editor()
    first, second = editor.edit_batch([PHOTO, PHOTO[:, ::-1]], EDITS)
    assert first.inversion.features.shape[0] == len(first.inversion.faces) == 1
    again = editor.edit(second.inversion, EDITS)
    close(again.pixels, second.pixels)
    assert again.inversion.faces[0].pixels.shape[-1] == SIZE
