import base64
import json
import shlex
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from page_pictures import left_half, png
from stylefeatureeditor import Editor, load_session, save_inversion
from stylefeatureeditor.errors import (
    DirectionError,
    FaceError,
    MaskError,
    PhotoError,
    SfeError,
    ShapeError,
    WeightsError,
)
from stylefeatureeditor.photo.session_file import save_session
from stylefeatureeditor.web import opened as opened_photo
from stylefeatureeditor.web.handlers import read_painted
from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.opened import NO_FACE
from stylefeatureeditor.web.session import Session, round_steps
from stylefeatureeditor.web.settings import as_command


def edits_of(session: Session, face: int = 1) -> dict[str, float]:
    return dict(session.settings.of(face).edits)


def test_an_edit_changes_the_face_and_nothing_else(opened, pixels):
    opened.change(edits={"smile": 2.0})
    drawing = opened.draw(1024)
    changed = (np.asarray(drawing.after) != pixels).any(axis=-1)
    assert changed.sum() > 2000
    assert not changed[:5].any()
    assert np.array_equal(np.asarray(drawing.before), pixels)


def test_a_photo_that_nothing_is_done_to_passes_no_network(opened, pixels, monkeypatch):
    monkeypatch.setattr(opened.editor.method, "invert", lambda _: pytest.fail("inverted"))
    drawing = opened.draw(1024)
    assert drawing.after is drawing.before
    assert np.array_equal(np.asarray(opened.whole()), pixels)


def test_the_whole_photo_is_what_the_editor_makes(opened, portrait):
    opened.change(edits={"smile": 2.0, "age": -3.0}, mask="face", blend="feather")
    opened.draw(64)
    saved = np.asarray(opened.whole()).astype(int)
    edits = {"smile": 2.0, "age": -3.0}
    alone = opened.editor.edit(portrait, edits, mask="face", blend="feather").photo
    assert np.abs(saved - np.asarray(alone)).max() <= 1


def test_a_small_picture_shows_what_the_large_one_will(opened):
    opened.change(edits={"smile": 2.0})
    small = np.asarray(opened.draw(120).after).astype(float)
    large = opened.draw(1024).after.resize(small.shape[1::-1], Image.Resampling.LANCZOS)
    assert max(small.shape) == 120
    assert np.abs(small - np.asarray(large)).mean() < 3


def test_a_second_edit_inverts_nothing(opened, monkeypatch):
    opened.change(edits={"age": 1.0})
    opened.draw(64)
    monkeypatch.setattr(opened.editor.method, "invert", lambda _: pytest.fail("inverted again"))
    opened.change(edits={"smile": 1.0})
    opened.draw(64)


def test_what_a_moving_slider_shows_is_not_remembered(opened):
    opened.draw(64, {"smile": 2.0})
    assert edits_of(opened) == {}
    assert not opened.past


def test_a_slider_leaves_the_others_where_they_are(opened):
    opened.change(edits={"smile": 1.0})
    opened.change(moved={"age": 2.0})
    assert edits_of(opened) == {"smile": 1.0, "age": 2.0}


def test_steps_are_undone_and_done_again(opened):
    opened.change(edits={"smile": 1.0})
    opened.change(edits={"smile": 1.0, "age": 2.0})
    opened.change(mask="face")
    opened.go(-2)
    assert edits_of(opened) == {"smile": 1.0}
    opened.go(1)
    assert edits_of(opened) == {"smile": 1.0, "age": 2.0}
    opened.change(edits={})
    opened.go(1)  # a new step has taken the place of what was undone
    assert edits_of(opened) == {}
    opened.go(-99)
    assert not opened.past


def test_only_so_many_steps_are_kept(both, portrait):
    session = Session(both, Limits(steps=3))
    session.open(portrait.read_bytes(), "portrait.png")
    for strength in range(1, 9):
        session.change(edits={"smile": float(strength)})
    assert len(session.past) == 3


def test_a_strength_of_zero_is_no_edit_and_an_alias_is_its_direction(opened):
    opened.change(edits={"smile": 0, "age": 1})
    assert edits_of(opened) == {"age": 1.0}
    opened.change(edits={"grin": 1})
    assert edits_of(opened) == {"smile": 1.0}


@pytest.mark.parametrize(
    "edits",
    [{"smile": float("nan")}, {"smile": 10**400}, {"smile": "2"}, {"smile": True}, {"beard": 1.0}],
)
def test_strengths_from_outside_are_checked(opened, edits):
    with pytest.raises(DirectionError):
        opened.change(edits=edits)
    assert edits_of(opened) == {}


@pytest.mark.parametrize("face", [2, True, None, "some", [1]])
def test_only_faces_that_are_there_are_taken_in_hand(opened, face):
    with pytest.raises(FaceError):
        opened.pick(face)
    assert opened.settings.face == 1


def test_a_painted_mask_keeps_the_rest(opened, pixels):
    opened.change(edits={"smile": 3.0}, blend="feather")
    everywhere = np.asarray(opened.draw(1024).after)
    opened.change(painted=left_half(), mask="painted")
    painted = np.asarray(opened.draw(1024).after)
    assert np.array_equal(painted[:, 160:], pixels[:, 160:])
    assert not np.array_equal(everywhere[:, 160:], pixels[:, 160:])
    assert not np.array_equal(painted[:, :120], pixels[:, :120])
    assert np.array_equal(painted, np.asarray(opened.whole()))


def test_the_crop_alone_is_compared_with_the_crop(opened):
    opened.change(edits={"smile": 1.0}, blend="none")
    drawing = opened.draw(1024)
    assert drawing.before.size == drawing.after.size == (32, 32)


def halves(session: Session) -> tuple[bool, bool]:
    """Which half of two.png is changed."""
    drawing = session.draw(1024)
    changed = np.asarray(drawing.after) != np.asarray(drawing.before)
    return bool(changed[:, :260].any()), bool(changed[:, 260:].any())


def test_each_face_keeps_its_own_edits(two):
    seen = {}
    for face in (1, 2):
        two.pick(face)
        two.change(moved={"smile": 2.0 * face})
        seen[face] = halves(two)
    assert sorted(seen[1]) == [False, True]
    assert seen[2] == (True, True)
    assert (edits_of(two, 1), edits_of(two, 2)) == ({"smile": 2.0}, {"smile": 4.0})
    command = shlex.split(as_command(two.settings, photo="two.png", model="m"))
    assert command[3:7] == ["-e", "1:smile=2", "-e", "2:smile=4"]


def test_all_faces_get_what_is_moved_and_keep_the_rest(two):
    two.change(edits={"age": 1.0})
    two.pick("all")
    two.change(moved={"smile": 2.0})
    assert (edits_of(two, 1), edits_of(two, 2)) == ({"age": 1.0, "smile": 2.0}, {"smile": 2.0})
    with pytest.raises(FaceError, match="choose it first"):
        two.strip("smile")


def test_each_face_keeps_its_own_mask(two):
    two.change(edits={"smile": 3.0}, blend="feather")
    where = [int(points[:, 0].mean() > 260) for points in two.opened.landmarks]
    left = np.zeros((48, 104, 4), np.uint8)
    left[:, :52] = 255
    two.pick(2)
    two.change(edits={"smile": 3.0}, painted=png(left), mask="painted")
    drawing = two.draw(1024)
    changed = (np.asarray(drawing.after) != np.asarray(drawing.before)).any(axis=-1)
    first, second = (changed[:, 20 + 260 * side : 240 + 260 * side].any() for side in where)
    assert first  # it has no mask
    assert second == (where[1] == 0)


def test_a_face_that_is_done_is_not_drawn_again(two, monkeypatch):
    two.change(edits={"smile": 2.0})
    two.draw(64)
    two.pick(2)
    drawn = []
    edit = Editor.edit
    monkeypatch.setattr(Editor, "edit", lambda *args, **by: drawn.append(1) or edit(*args, **by))
    two.draw(64, {"age": 1.0})
    assert drawn == [1]


def test_what_is_saved_comes_back_whole(two, both, tmp_path):
    two.change(edits={"smile": 2.0}, mask="face")
    two.pick(2)
    two.change(edits={"age": -3.0}, painted=left_half(), mask="painted", blend="feather")
    file = save_session(two.model, [two.saved()], tmp_path / "a.sfe")
    (saved,) = load_session(file).photos
    again = Session(both, Limits())
    again.open_saved(saved)
    assert again.settings == two.settings
    assert np.array_equal(np.asarray(again.draw(1024).after), np.asarray(two.draw(1024).after))
    alone = again.editor.edit_saved(saved).photo
    assert np.abs(np.asarray(again.whole()).astype(int) - np.asarray(alone)).max() <= 1


def test_a_session_forgets_edits_that_the_model_does_not_know(opened, both):
    opened.change(edits={"smile": 1.0})
    saved = opened.saved()
    strange = replace(saved, faces={1: replace(saved.faces[1], edits={"smile": 1.0, "tail": 2.0})})
    again = Session(both, Limits())
    again.open_saved(strange)
    assert edits_of(again) == {"smile": 1.0}


def test_an_inversion_file_opens(opened, tmp_path, both, portrait):
    file = save_inversion(opened.editor.invert(portrait), tmp_path / "a.safetensors")
    again = Session(both, Limits())
    again.open(file.read_bytes(), file.name)
    for session in (opened, again):
        session.change(edits={"smile": 2.0})
    ours, theirs = (np.asarray(one.draw(1024).after) for one in (opened, again))
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    with pytest.raises(PhotoError, match="belongs to"):
        again.choose_model(both.names()[1])


def test_an_inversion_of_another_model_is_refused(opened, tmp_path, both, other_model, portrait):
    file = save_inversion(opened.editor.invert(portrait), tmp_path / "a.safetensors")
    other = Session(both, Limits(), other_model)
    with pytest.raises(ShapeError, match=r"a\.safetensors was made by another"):
        other.open(file.read_bytes(), file.name)


def test_crops_far_larger_than_their_photo_are_refused(opened, tmp_path, both, portrait):
    inversion = opened.editor.invert(portrait)
    wide = replace(inversion.faces[0], quad=np.array([(0, 0), (0, 240), (260, 240), (260, 0.0)]))
    many = type(inversion).cat([replace(inversion, faces=(wide,))] * 7)
    file = save_inversion(many, tmp_path / "many.safetensors")
    with pytest.raises(PhotoError, match="7 faces, 7"):
        Session(both, Limits()).open(file.read_bytes(), file.name)


def test_another_model_keeps_photo_and_edits(opened, other_model):
    opened.change(edits={"smile": 2.0})
    before = np.asarray(opened.draw(1024).after)
    opened.choose_model(other_model)
    assert edits_of(opened) == {"smile": 2.0}
    assert not np.array_equal(before, np.asarray(opened.draw(1024).after))
    with pytest.raises(WeightsError, match="no model"):
        opened.choose_model("/etc")


def test_an_aligned_crop_needs_no_detector(session, pixels, monkeypatch):
    monkeypatch.setattr(opened_photo, "find_faces", lambda *_, **__: pytest.fail("searched"))
    session.open(png(pixels[:200, :200]), "crop.png", aligned=True)
    assert session.draw(1024).after.size == (200, 200)
    session.change(edits={"smile": 1.0})
    assert session.draw(1024).result is not None
    session.open(png(pixels), "wide.png", aligned=True)
    assert session.opened.sentence == "wide.png is not square: its middle square is edited."
    session.change(edits={"smile": 1.0})
    drawn = session.draw(1024)
    assert drawn.after.size == pixels.shape[1::-1]
    assert drawn.result is not None


def test_a_photo_without_a_face_opens_and_a_face_can_be_pointed_at(session):
    session.open(png(np.full((90, 90, 3), 99, np.uint8)), "wall.png")
    assert session.opened.sentence == NO_FACE
    assert session.draw(64).after.size == (64, 64)
    with pytest.raises(FaceError, match="too small"):
        session.point_at((0.1, 0.1, 0.12, 0.9))
    session.point_at((0.2, 0.2, 0.8, 0.8))
    assert (session.opened.count, session.settings.face) == (1, 1)
    session.change(edits={"smile": 2.0})
    assert session.draw(64).result is not None


def test_a_turned_photo_is_turned_in_what_is_saved(opened, pixels):
    opened.change(edits={"smile": 2.0})
    opened.turn()
    assert edits_of(opened) == {}
    assert np.array_equal(np.asarray(opened.whole()), np.rot90(pixels))
    assert opened.opened.count == 1
    opened.forget_pixels()
    assert opened.photo.pixels.shape[:2] == pixels.shape[1::-1]


def test_pixels_that_were_let_go_are_read_again(opened):
    opened.change(edits={"smile": 2.0})
    before, size = np.asarray(opened.draw(64).after), opened.bytes()
    opened.forget_pixels()
    assert opened.bytes() == len(opened.opened.content) < size
    assert np.array_equal(np.asarray(opened.draw(64).after), before)


def test_the_growing_picture_starts_with_the_photo_and_ends_with_the_edit(opened):
    with pytest.raises(DirectionError, match="move a slider first"):
        opened.growing(64, 3)
    opened.change(edits={"smile": 2.0})
    first, _, last = opened.growing(64, 3)
    drawing = opened.draw(64)
    assert np.array_equal(np.asarray(first), np.asarray(drawing.before))
    assert np.array_equal(np.asarray(last), np.asarray(drawing.after))


@pytest.mark.parametrize("name", [None, ""])
def test_a_strip_is_of_a_chosen_edit(opened, name):
    with pytest.raises(DirectionError, match="choose an edit first"):
        opened.strip(name)


def test_a_strip_goes_from_end_to_end(opened):
    assert opened.strip("smile").width > 6 * 32


@pytest.mark.parametrize(
    ("low", "high", "steps"),
    [
        (-3, 2.8, [-3, -2, -1, 0, 1, 2]),
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-0.7, 0.2, [-0.6, -0.4, -0.2, 0, 0.2]),
        (2, 30, [0, 5, 10, 15, 20, 25, 30]),
    ],
)
def test_steps_are_round_and_pass_through_nothing(low, high, steps):
    assert round_steps(low, high) == pytest.approx(steps)


def test_small_pictures_show_directions_and_faces(two):
    assert len(two.face_pictures()) == 2
    smile, age = (np.asarray(two.show_direction(name)) for name in ("smile", "age"))
    assert smile.shape == (96, 96, 3)
    assert not np.array_equal(smile, age)


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"not a picture", "notes.txt", "notes.txt is not a picture"),
        (b"", "empty.png", "empty.png is empty"),
        (png(np.zeros((600, 600), np.uint8)), "big.png", "big.png has 0 megapixels"),
        (b"not tensors", "a.safetensors", r"a\.safetensors"),
    ],
)
def test_what_cannot_be_used_is_called_by_its_own_name(both, content, name, says):
    session = Session(both, Limits(photo_pixels=300_000))
    with pytest.raises(SfeError, match=says):
        session.open(content, name)


def test_nothing_is_drawn_before_a_photo_is_open(session):
    with pytest.raises(PhotoError, match="open a photo first"):
        session.draw(64)


def test_a_painted_mask_must_be_a_small_png():
    url = "data:image/png;base64," + base64.b64encode(left_half()).decode()
    assert read_painted(url) == left_half()
    assert read_painted("") == b""
    for wrong in ("/etc/passwd", url[:60], url + "A" * 5_000_000, url.replace("/", "!")):
        with pytest.raises(MaskError):
            read_painted(wrong)


def test_a_photo_that_lies_on_its_side_is_said_to(session, pixels):
    session.open(png(pixels), "up.png")
    assert session.opened.sentence == ""
    session.open(png(np.rot90(pixels, -1)), "side.png")
    assert "side.png: the face is turned by 90 degrees" in session.opened.sentence


def test_a_session_is_plain_text_and_files(opened, tmp_path):
    opened.change(edits={"smile": 1.0})
    file = save_session(opened.model, [opened.saved()], tmp_path / "a.sfe")
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["photos/1.png", "session.json"]
        assert archive.read("photos/1.png") == opened.opened.content
        table = json.loads(archive.read("session.json"))
    assert table["photos"][0]["faces"] == {"1": {"edits": {"smile": 1.0}, "mask": "none"}}
