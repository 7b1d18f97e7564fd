"""Finding faces. The detector itself is tried on a public-domain photo, where it is installed."""

from __future__ import annotations

import importlib.util
import sys
import threading

import numpy as np
import pytest

from stylefeatureeditor.editor import align
from stylefeatureeditor.errors import DependencyError, FaceError
from stylefeatureeditor.photo import detector
from stylefeatureeditor.photo.landmarks import (
    Face,
    choose_face,
    face_in_box,
    find_ahead,
    find_faces,
)
from tiny import tiny_editor

HAS_DETECTOR = all(map(importlib.util.find_spec, ("dlib", "face_recognition_models", "skimage")))
needs_detector = pytest.mark.skipif(
    not HAS_DETECTOR, reason="needs dlib, its landmark model and scikit-image (the extra `faces`)"
)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    data = pytest.importorskip("skimage.data", reason="the photo comes with scikit-image")
    return data.astronaut()


def some_faces(count: int) -> list[Face]:
    return [Face((0, 0, 10 - i, 10), 1.0, np.zeros((68, 2))) for i in range(count)]


@needs_detector
def test_the_astronaut_has_one_face_and_it_is_where_it_is(astronaut):
    faces = find_faces(astronaut)
    assert len(faces) == 1
    (face,) = faces
    left, top, right, bottom = face.box
    assert 160 < left < 200
    assert 60 < top < 100
    assert 240 < right < 290
    assert 150 < bottom < 190
    assert face.score > 0.5
    assert face.landmarks.shape == (68, 2)
    assert np.abs(face.landmarks[36:42].mean(axis=0) - (203, 101)).max() < 6  # left in the picture
    assert np.abs(face.landmarks[42:48].mean(axis=0) - (246, 104)).max() < 6
    assert np.abs(face.landmarks[57] - (222, 156)).max() < 6  # lower lip


@needs_detector
def test_a_large_photo_is_searched_smaller_and_gives_the_same_place(astronaut, monkeypatch):
    plain, reduced = find_faces(astronaut)[0].landmarks, []
    for name, value in (("PASSES", ((1, astronaut.size * 2 / 3),)), ("LONGEST", 700)):
        with monkeypatch.context() as patch:
            patch.setattr(detector, name, value)
            ((_, _, points),) = detector.detect(astronaut, 0.25)
            reduced.append(np.array(points))
    assert not np.array_equal(*reduced)
    reduced = reduced[0]
    assert np.abs(reduced - plain).max() < 6
    assert np.abs((reduced - plain).mean(axis=0)).max() < 1.5


@needs_detector
def test_a_small_face_is_found_on_the_second_look(astronaut):
    from PIL import Image

    small = np.asarray(Image.fromarray(astronaut).resize((150, 150)))
    first = detector.PASSES[:1]
    assert find_faces(small)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "PASSES", first)
        assert not detector.detect(small, 0.25)


@needs_detector
def test_small_faces_are_found_beside_a_large_one_where_all_are_asked_for(astronaut):
    from PIL import Image

    group = np.full((512, 900, 3), 128, dtype=np.uint8)
    group[:, :512] = astronaut
    for number in range(3):
        small = np.asarray(Image.fromarray(astronaut).resize((150, 150)))
        group[160 * number : 160 * number + 150, 600:750] = small
    (large,) = find_faces(group)
    faces = find_faces(group, all_sizes=True)
    assert len(faces) == 4
    assert np.array_equal(faces[0].landmarks, large.landmarks)
    assert {int(face.landmarks[30, 1]) // 160 for face in faces[1:]} == {0, 1, 2}
    assert all(600 < face.landmarks[30, 0] < 750 for face in faces[1:])
    assert [len(align(group, face=which, size=64)) for which in ("all", 4, "largest")] == [4, 1, 1]


@needs_detector
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photo_that_lies_turned_is_found_and_comes_back_as_it_lay(astronaut, turns, caplog):
    small = np.ascontiguousarray(astronaut[:300, 60:400])
    upright = find_faces(small)[0]
    lying = np.ascontiguousarray(np.rot90(small, turns))
    (face,) = find_faces(lying)
    rows, columns = np.rint(upright.landmarks[:, 1]), np.rint(upright.landmarks[:, 0])
    marked = np.zeros(small.shape[:2])
    marked[rows[30].astype(int), columns[30].astype(int)] = 1  # the tip of the nose
    ((row, column),) = np.argwhere(np.rot90(marked, turns))
    assert np.abs(face.landmarks[30] - (column, row)).max() <= 1
    left, top, right, bottom = face.box
    assert left < face.landmarks[30, 0] < right
    assert top < face.landmarks[30, 1] < bottom
    editor = tiny_editor()
    result = editor.edit(lying, {"smile": 2.0})
    assert f"turned by {360 - 90 * turns} degrees; it is edited upright" in caplog.text
    caplog.clear()
    straight = editor.edit(small, {"smile": 2.0})
    assert not caplog.text
    back = np.rot90(np.asarray(result.photo), -turns).astype(int)
    assert np.abs(back - np.asarray(straight.photo)).mean() < 2
    assert np.abs(back - small).mean() > 4


@pytest.mark.parametrize(
    ("upright", "turned", "chosen"),
    [(0.3, 1.2, (5, 15)), (0.3, 0.28, (1, 5)), (0.9, 1.2, (1, 5)), (None, 0.3, (5, 15))],
)
def test_a_doubtful_find_gives_way_to_a_better_one_in_the_turned_photo(
    upright, turned, chosen, monkeypatch
):
    scores = {0: upright, 1: None, 2: 0.1, 3: turned}
    asked = []

    def ask(_pixels, turns, _min_score, _look):
        asked.append(turns)
        points = [[turns + 1.0, 5.0]] * 68
        return [] if scores[turns] is None else [([0, 0, 9, 9], scores[turns], points)]

    monkeypatch.setattr("stylefeatureeditor.photo.landmarks._ask", ask)
    (face,) = find_faces(np.zeros((20, 30, 3), dtype=np.uint8))
    assert tuple(face.landmarks[0]) == chosen
    assert asked == ([0] if upright == 0.9 else [0, 1, 2, 3])


@needs_detector
def test_two_faces_come_largest_first_and_doubtful_ones_not_at_all(astronaut):
    from PIL import Image

    half = np.asarray(Image.fromarray(astronaut).resize((300, 300)))
    pair = np.zeros((512, 812, 3), dtype=np.uint8)
    pair[:300, :300], pair[:, 300:] = half, astronaut
    faces = find_faces(pair)
    assert len(faces) == 2
    assert faces[0].area > faces[1].area
    assert faces[0].landmarks[30, 0] > 300 > faces[1].landmarks[30, 0]
    assert not find_faces(astronaut, min_score=5.0)


@needs_detector
def test_a_picture_without_a_face_gives_an_empty_list():
    assert find_faces(np.full((120, 160, 3), 128, dtype=np.uint8)) == []


def test_without_dlib_the_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(DependencyError, match=r"dlib.*stylefeatureeditor\[faces\]"):
        find_faces(np.zeros((8, 8, 3), dtype=np.uint8))


def test_without_the_landmark_model_too(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DependencyError, match=r"landmark model.*stylefeatureeditor\[faces\]"):
        detector.model_file()


@needs_detector
@pytest.mark.parametrize("shape", [(40, 65535), (65535, 40), (60, 40000)])
def test_a_strip_that_broke_the_detector_is_searched(shape):
    assert find_faces(np.zeros((*shape, 3), dtype=np.uint8)) == []


def test_what_breaks_the_detector_costs_one_photo(monkeypatch):
    monkeypatch.setattr(detector, "check_installed", lambda: None)
    program = detector._PROGRAM.replace(
        "serve()",
        "import os, stylefeatureeditor.photo.detector as own\n"
        "own.detect = lambda pixels, *_: os.abort() if len(pixels) == 7 else [len(pixels)]\n"
        "own.serve()",
    )
    monkeypatch.setattr(detector, "_PROGRAM", program)
    other = detector.Detector()
    six, seven, eight = (np.zeros((height, 9, 3), dtype=np.uint8) for height in (6, 7, 8))
    assert other.ask(six, 0.25) == [6]
    with pytest.raises(FaceError, match="the face detector broke on this photo of 9 x 7 pixels"):
        other.ask(seven, 0.25)
    assert other.ask(eight, 0.25) == [8]
    other._stop()


def test_faces_are_chosen_by_size_by_number_or_all():
    faces = some_faces(3)
    assert choose_face(faces, "largest") == faces[:1]
    assert choose_face(faces, "all") == faces
    assert choose_face(faces, 3)[0] is faces[2]


@pytest.mark.parametrize(
    ("count", "which", "sentence"),
    [
        (0, "largest", "no face was found"),
        (0, 1, "no face was found"),
        (2, 5, "face 5 was asked for, but 2 were found"),
        (1, 2, "face 2 was asked for, but 1 was found"),
        (2, 0, "numbered from 1"),
        (2, "second", '"largest", "all" or a number'),
        (2, True, '"largest", "all" or a number'),
    ],
)
def test_a_face_that_is_not_there_is_refused(count, which, sentence):
    with pytest.raises(FaceError, match=sentence):
        choose_face(some_faces(count), which)


@needs_detector
def test_landmarks_are_placed_in_a_box_that_a_person_draws(astronaut):
    (found,) = find_faces(astronaut)
    pointed = face_in_box(astronaut, found.box)
    assert np.abs(pointed.landmarks - found.landmarks).max() < 4
    for box in ((0, 0, 9, 90), (5000, 5000, 6000, 6000), (90, 90, 20, 20)):
        with pytest.raises(FaceError, match="too small"):
            face_in_box(astronaut, box)


@needs_detector
def test_a_detector_made_ready_answers_from_the_process_it_has(astronaut):
    ready = detector.Detector()
    ready.get_ready()
    process = ready._process
    ready.get_ready()
    assert ready._process is process
    assert ready.ask(astronaut, 0.25) == detector.Detector().ask(astronaut, 0.25)
    assert ready._process is process
    ready._stop()


@needs_detector
def test_faces_searched_ahead_are_not_searched_again(astronaut, monkeypatch):
    own = detector.Detector()
    monkeypatch.setattr("stylefeatureeditor.photo.landmarks._detector", own)
    begun = threading.Event()
    exchange = own._exchange
    monkeypatch.setattr(own, "_exchange", lambda *asked: (begun.set(), exchange(*asked))[1])
    find_ahead(astronaut)
    assert begun.wait(60)
    monkeypatch.setattr(own, "_exchange", None)  # the thread has the lock, and its answer stays
    assert len(find_faces(astronaut)) == 1
    with pytest.raises(TypeError):
        find_faces(astronaut[:-1])


def test_what_goes_wrong_ahead_is_told_to_who_asks(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    find_ahead(np.zeros((8, 8, 3), dtype=np.uint8))
    with pytest.raises(DependencyError):
        find_faces(np.zeros((8, 8, 3), dtype=np.uint8))


def test_making_ready_without_the_detector_is_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    alone = detector.Detector()
    alone.get_ready()
    assert alone._process is None
