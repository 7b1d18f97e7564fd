"""What a slow model shows while a slider moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stylefeatureeditor import Preview
from stylefeatureeditor.device import quick_dtype
from stylefeatureeditor.photo.result import EditResult
from stylefeatureeditor.web.slider_preview import SliderPreview, no_finer_than_shown
from stylefeatureeditor.web.view import draft
from tiny_methods import tiny_method_editor

EDITS = {"smile": 2.0}
SLOW = 9.0  # seconds


@pytest.fixture
def slow(opened, monkeypatch):
    """A visitor whose model takes its time and is thought to be large."""
    monkeypatch.setattr("stylefeatureeditor.web.slider_preview.LEAST_SIZE", 32)
    opened.prepare()
    opened.preview.seconds = SLOW
    return opened


def test_a_moving_slider_has_a_preview_and_one_that_was_let_go_the_picture(slow):
    inversion = slow.inversion(1)
    moving = slow.draw(64, EDITS)
    assert moving.is_preview
    dtype = quick_dtype(slow.editor.method.device)
    assert np.array_equal(
        moving.result.crop, Preview(slow.editor, inversion, dtype=dtype).crop(EDITS)
    )
    assert draft(slow, moving)["pace"] == "preview"
    slow.change(edits=EDITS)
    still = slow.draw(64)
    assert not still.is_preview
    assert np.array_equal(still.result.crop, slow.editor.edit(inversion, EDITS).crop)


def test_finished_pictures_are_pasted_twice_as_fine_as_shown(slow, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "stylefeatureeditor.web.session.no_finer_than_shown",
        lambda result, times: asked.append(times) or no_finer_than_shown(result, times),
    )
    slow.draw(64, EDITS)
    slow.change(edits=EDITS)
    slow.draw(64)
    assert asked == [1, 2]


def test_a_preview_stays_within_what_was_painted(slow, pixels):
    slow.change(mask="face", blend="feather")
    inside = np.asarray(slow.draw(1024, EDITS).after)
    slow.change(mask="none", blend="feather")
    everywhere = np.asarray(slow.draw(1024, EDITS).after)
    assert (inside != pixels).any(axis=-1).sum() < (everywhere != pixels).any(axis=-1).sum()


@pytest.mark.parametrize("blend", ["feather", "residual"])
def test_a_picture_is_no_finer_than_the_screen_shows_it(slow, blend):
    inversion = slow.editor.invert(slow.photo)
    face = inversion.faces[0]
    size = face.pixels.shape[-1]
    middle = np.array([face.photo.shape[1], face.photo.shape[0]]) / 2
    corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)])
    for side, times, expected in (
        (size / 5, 1, size // 4),
        (size / 5, 2, size // 2),
        (size / 2, 1, size // 2),
        (size / 2, 2, size),
        (2 * size, 1, size),
    ):
        small = replace(face, quad=middle + corners * side / 2)
        edited = slow.editor.edit(inversion, EDITS, blend=blend)
        whole = replace(edited, inversion=replace(inversion, faces=(small,)))
        coarse = no_finer_than_shown(whole, times)
        assert coarse.pixels.shape[-1] == expected
        apart = np.asarray(coarse.photo).astype(float) - np.asarray(whole.photo)
        assert np.abs(apart).mean() < 1
    assert np.array_equal(np.asarray(coarse.photo), np.asarray(whole.photo))


@pytest.mark.parametrize("blend", ["feather", "residual"])
def test_twice_as_fine_is_as_good_as_whole(slow, blend):
    inversion, size = slow.editor.invert(slow.photo), 256
    wave = torch.linspace(0, 9, size).sin()
    smooth = (wave[:, None] * wave).expand(1, 3, size, size)
    corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)])
    face = replace(inversion.faces[0], pixels=0.5 * smooth, quad=100 + corners * size / 12)
    whole = EditResult(smooth, replace(inversion, faces=(face,), pixels=0.5 * smooth), blend=blend)
    coarse = no_finer_than_shown(whole, times=2)
    assert coarse.pixels.shape[-1] == size // 2
    apart = np.asarray(coarse.photo).astype(int) - np.asarray(whole.photo)
    assert np.abs(apart).max() <= 4
    assert (np.asarray(whole.photo) != face.photo).any()


def test_the_preview_is_made_ahead_and_once(slow, monkeypatch):
    slow.prepare()
    monkeypatch.setattr(slow.editor.model.e4e, "forward", lambda _: pytest.fail("E ran again"))
    monkeypatch.setattr(
        "stylefeatureeditor.web.slider_preview.Preview", lambda *_, **__: pytest.fail("again")
    )
    assert slow.draw(64, EDITS).is_preview


def test_memory_counts_a_preview_until_it_is_let_go(slow):
    slow.prepare()
    before = slow.bytes() - slow.preview.bytes()
    assert slow.bytes() == before + 3 * 16 * 16 * 4
    slow.forget_inversions()
    assert slow.preview.bytes() == 0


def test_without_a_photo_there_is_nothing_to_prepare(session):
    session.prepare()
    assert session.bytes() == 0


def test_the_pace_is_the_models(both, model, monkeypatch):
    quick, editor = SliderPreview(), both.editor(model)
    assert quick.pace(editor) == "live"
    quick.seconds = SLOW
    assert quick.pace(editor) == "live"  # too small for a preview
    monkeypatch.setattr("stylefeatureeditor.web.slider_preview.LEAST_SIZE", 32)
    assert quick.pace(editor) == "preview"
    assert quick.pace(tiny_method_editor("psp")) == "release"


def test_how_long_a_picture_takes_is_known_before_the_first_edit(opened):
    assert opened.preview.seconds == 0
    opened.prepare()
    drawn = opened.preview.seconds
    assert drawn > 0
    opened.prepare()  # nothing is drawn anew
    assert opened.preview.seconds == drawn
