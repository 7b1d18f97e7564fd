"""Drawing: steady edits, the same wherever drawing starts, with few frames in memory."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest

from moving_face import swaying
from stylefeatureeditor.model import Framing
from stylefeatureeditor.video.drawing import Drawing
from stylefeatureeditor.video.measures import measure
from stylefeatureeditor.video.tracks import smooth


@pytest.fixture
def drawing(editor, swaying_scan):
    def make(course=((0.0, 2.0),), **changes):
        (direction,) = editor.resolve({"smile": 1.0})
        settings = {
            "method": editor.method,
            "edits": {direction: course},
            "tracks": smooth(swaying_scan, 25, Framing()),
            "seconds": 1 / 12800,
            "blend": "residual",
            "steady": 1.0,
        }
        return Drawing(**{**settings, **changes})

    return make


def pixels(frames):
    return [frame.pixels for frame in frames]


def test_an_edit_flickers_at_most_half_as_much_as_frame_by_frame(editor, drawing, swaying_frames):
    frames = swaying_frames[:16]
    together = list(drawing().edited(frames))
    alone = editor.edit_batch(pixels(frames), {"smile": 2.0}, blend="residual")
    alone = [replace(f, pixels=np.array(r.photo)) for f, r in zip(frames, alone, strict=True)]
    tracks = drawing().tracks
    steady, plain = (measure(frames, edits, tracks, None) for edits in (together, alone))
    changed = np.abs(np.stack(pixels(together)) - np.stack(pixels(frames)).astype(float))
    assert changed.max() > 20  # the edit is there
    assert steady.flicker < plain.flicker / 2
    assert steady.warp < plain.warp


@pytest.mark.parametrize("start", [4, 12, 28])
def test_drawing_that_starts_later_draws_the_same(drawing, swaying_frames, start):
    whole = list(drawing().edited(swaying_frames))
    first = drawing().first_needed(start)
    assert first % 4 == 0
    later = list(drawing().edited(swaying_frames[first:], start))
    assert [frame.number for frame in later] == list(range(start, 30))
    for one, other in zip(whole[start:], later, strict=True):
        assert np.array_equal(one.pixels, other.pixels)


def test_strengths_follow_their_keyframes(drawing, swaying_frames):
    frames = swaying_frames[:13]
    course = ((0.0, 0.0), (0.16, 0.0), (0.32, 3.0))
    edited = list(drawing(course, steady=0.0).edited(frames))
    change = [
        np.abs(after.pixels.astype(int) - before.pixels).mean()
        for before, after in zip(frames, edited, strict=True)
    ]
    assert max(change[:5]) == 0
    assert change[4] < change[6] < change[8]
    assert change[12] > change[6]


def test_memory_holds_the_frames_under_the_gaussian_alone(drawing, swaying_frames):

    class Pixels(np.ndarray):
        pass

    def coming():
        for frame in swaying_frames:
            copy = frame.pixels.copy().view(Pixels)
            refs.append(weakref.ref(copy))
            yield replace(frame, pixels=copy)

    refs: list = []
    most = 0
    for _ in drawing(batch_size=2).edited(coming()):
        most = max(most, sum(ref() is not None for ref in refs))
    assert 3 <= most <= 8  # a reach of 3, and groups of 2


def test_outside_its_mask_a_face_stays_as_it_is(drawing, swaying_frames):
    frames = swaying_frames[:6]
    free, masked = (next(iter(drawing(mask=mask).edited(frames))).pixels for mask in (None, "face"))
    changed = [np.abs(frames[0].pixels.astype(int) - x).max(axis=2) > 0 for x in (free, masked)]
    pose = swaying(0)
    y, x = np.mgrid[:180, :240]
    far = np.hypot(x - pose.x, y - pose.y) > 55
    assert (changed[0] & far).any()
    assert not (changed[1] & far).any()
    assert changed[1].any()


def test_a_fading_face_shows_less_of_its_edit(drawing, swaying_frames):
    frames = swaying_frames[:2]
    tracks = drawing().tracks
    faint = replace(tracks, weight=np.full(len(tracks.frame), 0.25))
    edits = [
        next(iter(drawing(((0.0, 0.2),), tracks=some).edited(frames))).pixels
        for some in (tracks, faint)
    ]
    change = [np.abs(pixels.astype(int) - frames[0].pixels).sum() for pixels in edits]
    assert change[1] < 0.4 * change[0]
    assert change[1] > 0


def test_frames_without_a_face_come_back_as_they_are(drawing, swaying_frames):
    tracks = drawing().tracks
    rows = {name: getattr(tracks, name)[tracks.frame > 1] for name in vars(tracks)}
    some = replace(tracks, **{**rows, "times": tracks.times})
    edited = list(drawing(tracks=some).edited(swaying_frames[:4]))
    same = [a.pixels is b.pixels for a, b in zip(edited, swaying_frames, strict=False)]
    assert same == [True, True, False, False]
