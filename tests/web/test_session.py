import base64
import io

import numpy as np
import pytest
from PIL import Image

from stylefeatureeditor import load_inversion, read_photo
from stylefeatureeditor.errors import (
    DirectionError,
    FaceError,
    MaskError,
    PhotoError,
    SfeError,
    ShapeError,
    WeightsError,
)
from stylefeatureeditor.web.brush import read_painted
from stylefeatureeditor.web.opened import Limits
from stylefeatureeditor.web.session import Session
from stylefeatureeditor.web.view import viewer_message


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def left_half() -> bytes:
    """A brush's picture: white on transparent, the left half painted."""
    rgba = np.zeros((48, 52, 4), np.uint8)
    rgba[:, :26] = 255
    return png(rgba)


def test_an_edit_changes_the_face_and_nothing_else(opened, pixels):
    opened.change(edits={"smile": 2.0})
    drawing = opened.draw(1024)
    changed = (np.asarray(drawing.after) != pixels).any(axis=-1)
    assert changed.sum() > 2000
    assert not changed[:5].any()
    assert np.array_equal(np.asarray(drawing.before), pixels)


def test_the_saved_photo_is_what_the_editor_makes(opened, portrait, tmp_path):
    opened.change(edits={"smile": 2.0, "age": -3.0}, mask="face", blend="feather")
    opened.draw(64)
    saved = read_photo(opened.save_photo(tmp_path)).pixels
    edits = {"smile": 2.0, "age": -3.0}
    alone = opened.editor.edit(portrait, edits, mask="face", blend="feather").photo
    assert np.abs(saved.astype(int) - np.asarray(alone)).max() <= 1


def test_a_small_picture_shows_what_the_large_one_will(opened):
    opened.change(edits={"smile": 2.0})
    small = np.asarray(opened.draw(120).after).astype(float)
    large = opened.draw(1024).after.resize(small.shape[1::-1], Image.Resampling.LANCZOS)
    assert max(small.shape) == 120
    assert np.abs(small - np.asarray(large)).mean() < 3


def test_a_second_edit_inverts_nothing(opened, monkeypatch):
    opened.draw(64)
    monkeypatch.setattr(opened.editor.method, "invert", lambda _: pytest.fail("inverted again"))
    opened.change(edits={"smile": 1.0})
    opened.draw(64)


def test_what_a_moving_slider_shows_is_not_remembered(opened):
    opened.draw(64, edits={"smile": 2.0})
    assert opened.settings.edits == {}
    assert not opened.past


def test_steps_are_undone_and_done_again(opened):
    opened.change(edits={"smile": 1.0})
    opened.change(edits={"smile": 1.0, "age": 2.0})
    opened.change(mask="face")
    opened.undo()
    opened.undo()
    assert opened.settings.edits == {"smile": 1.0}
    opened.redo()
    assert opened.settings.edits == {"smile": 1.0, "age": 2.0}
    opened.change(edits={})
    opened.redo()  # a new step has taken the place of what was undone
    assert opened.settings.edits == {}


def test_only_so_many_steps_are_kept(both, portrait):
    session = Session(both, Limits(steps=3))
    session.open(portrait, "portrait.png")
    for strength in range(1, 9):
        session.change(edits={"smile": float(strength)})
    assert len(session.past) == 3


def test_a_strength_of_zero_is_no_edit_and_an_alias_is_its_direction(opened):
    opened.change(edits={"smile": 0, "age": 1})
    assert opened.settings.edits == {"age": 1.0}
    opened.change(edits={"grin": 1})
    assert opened.settings.edits == {"smile": 1.0}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"edits": {"smile": float("nan")}}, DirectionError),
        ({"edits": {"smile": "2"}}, DirectionError),
        ({"edits": {"beard": 1.0}}, DirectionError),
        ({"face": 2}, FaceError),
        ({"face": True}, FaceError),
        ({"face": None}, FaceError),
    ],
)
def test_settings_from_outside_are_checked(opened, values, error):
    with pytest.raises(error):
        opened.change(**values)
    assert opened.settings.edits == {}


def test_a_painted_mask_keeps_the_rest(opened, pixels):
    opened.change(edits={"smile": 3.0}, blend="feather")
    everywhere = np.asarray(opened.draw(1024).after)
    opened.change(painted=left_half(), mask="painted")
    painted = np.asarray(opened.draw(1024).after)
    assert np.array_equal(painted[:, 160:], pixels[:, 160:])
    assert not np.array_equal(everywhere[:, 160:], pixels[:, 160:])
    assert not np.array_equal(painted[:, :120], pixels[:, :120])


def test_the_saved_mask_is_one_that_an_edit_takes(opened, portrait, tmp_path):
    opened.change(painted=left_half(), mask="painted", edits={"smile": 3.0})
    mask = opened.save_mask(tmp_path)
    saved = read_photo(opened.save_photo(tmp_path)).pixels
    alone = opened.editor.edit(portrait, {"smile": 3.0}, mask=mask).photo
    shown = np.asarray(opened.draw(1024).after)
    assert np.array_equal(shown, saved)
    assert np.abs(saved.astype(int) - np.asarray(alone)).max() <= 1


def test_the_crop_alone_is_compared_with_the_crop(opened):
    opened.change(edits={"smile": 1.0}, blend="none")
    drawing = opened.draw(1024)
    assert drawing.before.size == drawing.after.size == (32, 32)


def test_an_inversion_file_opens_again(opened, tmp_path, both):
    opened.change(edits={"smile": 2.0})
    file = opened.save_inversion(tmp_path)
    assert len(load_inversion(file)) == 1
    again = Session(both, Limits())
    again.open(file, file.name)
    again.change(edits={"smile": 2.0})
    ours, theirs = (np.asarray(one.draw(1024).after) for one in (opened, again))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_an_inversion_of_another_model_is_refused(opened, tmp_path, both, other_model):
    file = opened.save_inversion(tmp_path)
    other = Session(both, Limits())
    other.choose_model(other_model)
    with pytest.raises(ShapeError, match=r"portrait_inverted\.safetensors was made by another"):
        other.open(file, file.name)


def test_another_model_keeps_photo_and_edits(opened, other_model):
    opened.change(edits={"smile": 2.0})
    before = np.asarray(opened.draw(1024).after)
    opened.choose_model(other_model)
    assert opened.settings.edits == {"smile": 2.0}
    assert not np.array_equal(before, np.asarray(opened.draw(1024).after))
    with pytest.raises(WeightsError, match="no model"):
        opened.choose_model("/etc")


def test_every_face_can_be_chosen_and_all_at_once(session, pixels, tmp_path):
    Image.fromarray(np.concatenate([pixels, pixels[:, ::-1]], axis=1)).save(tmp_path / "two.png")
    session.open(tmp_path / "two.png", "two.png")
    assert session.opened.count == 2
    halves = {}
    for face in (1, 2, "all"):
        session.change(face=face, edits={"smile": 2.0})
        drawing = session.draw(1024)
        changed = np.asarray(drawing.after) != np.asarray(drawing.before)
        halves[face] = (changed[:, :260].any(), changed[:, 260:].any())
    assert halves["all"] == (True, True)
    assert {halves[1], halves[2]} == {(True, False), (False, True)}
    with pytest.raises(FaceError, match="choose it first"):
        session.strip("smile")


def test_an_aligned_crop_needs_no_detector(session, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "stylefeatureeditor.web.opened.find_faces", lambda *_, **__: pytest.fail("searched")
    )
    Image.fromarray(pixels[:200, :200]).save(tmp_path / "crop.png")
    session.open(tmp_path / "crop.png", "crop.png", aligned=True)
    assert session.draw(1024).after.size == (200, 200)
    with pytest.raises(FaceError, match="square"):
        session.open(pixels, "wide.png", aligned=True)
    assert session.opened.name == "crop.png"  # what was open stays open


@pytest.mark.parametrize("name", [None, ""])
def test_a_strip_is_of_a_chosen_edit(opened, name):
    with pytest.raises(DirectionError, match="choose an edit first"):
        opened.strip(name)


def test_a_strip_goes_from_end_to_end(opened):
    strip = opened.strip("smile")
    assert strip.width > 8 * 32


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"not a picture", "notes.txt", "notes.txt is not a picture"),
        (b"", "empty.png", "empty.png is empty"),
        (png(np.zeros((600, 600), np.uint8)), "big.png", "big.png has 0 megapixels"),
        (png(np.full((90, 90, 3), 99, np.uint8)), "wall.png", "no face was found in wall.png"),
        (b"not tensors", "a.safetensors", r"a\.safetensors"),
    ],
)
def test_what_cannot_be_used_is_called_by_its_own_name(both, tmp_path, content, name, says):
    path = tmp_path / "0123456789abcdef"
    path.write_bytes(content)
    session = Session(both, Limits(photo_pixels=300_000))
    with pytest.raises(SfeError, match=says) as caught:
        session.open(path, name)
    assert "0123456789abcdef" not in str(caught.value)


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
    session.open(pixels, "up.png")
    assert session.opened.sentence == ""
    session.open(np.ascontiguousarray(np.rot90(pixels, -1)), "side.png")
    assert "side.png: the photo lies turned by 90 degrees" in session.opened.sentence
    message = viewer_message(session, 1, session.draw(64))
    assert message["warning"] == session.opened.sentence
