import io
import json
import zipfile

import numpy as np
import pytest

from page_pictures import left_half, png
from stylefeatureeditor.errors import ConfigError, MaskError, PhotoError
from stylefeatureeditor.photo.session_file import (
    FaceEdits,
    SavedPhoto,
    load_session,
    painted_at,
    save_session,
)

PHOTO = SavedPhoto(
    name="a.jpg",
    content=b"the file, whatever it is",
    turns=1,
    landmarks=(np.arange(136.0).reshape(68, 2), np.ones((68, 2))),
    faces={
        1: FaceEdits(edits={"smile": 2.0}, mask="face"),
        2: FaceEdits(edits={"age": -1.5}, mask="painted", painted=left_half()),
    },
    face="all",
    blend="residual",
)


def saved(table: dict, compression=zipfile.ZIP_STORED, **files: bytes) -> bytes:
    """A session of any table."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("session.json", json.dumps(table))
        for name, content in {"photos/1.jpg": b"photo", **files}.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def row(**values) -> dict:
    plain = {"name": "a.jpg", "file": "photos/1.jpg", "turns": 0, "aligned": False}
    return {**plain, "landmarks": [], "faces": {}, "face": 1, "blend": None, **values}


def table(*rows: dict, **values) -> dict:
    return {"format": 1, "model": "faces", "photos": list(rows or (row(),)), **values}


def test_what_was_saved_comes_back(tmp_path):
    session = load_session(save_session("faces", [PHOTO, PHOTO], tmp_path / "a.sfe"))
    assert session.model == "faces"
    for photo in session.photos:
        assert {**vars(photo), "landmarks": 0} == {**vars(PHOTO), "landmarks": 0}
        for ours, theirs in zip(photo.landmarks, PHOTO.landmarks, strict=True):
            assert np.array_equal(ours, theirs)


def test_a_session_is_read_from_its_bytes(tmp_path):
    content = save_session("faces", [PHOTO], tmp_path / "a.sfe").read_bytes()
    assert load_session(content).photos[0].faces == PHOTO.faces
    assert load_session(saved(table())).photos[0].content == b"photo"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 and no more",
        saved(table(format=2)),
        saved(table(photos=[])),
        saved({"format": 1}),
        saved([1, 2]),
        saved(table(row(), row())),  # one file, named twice
        saved(table(row(file="photos/2.jpg"))),
        saved(table(row(turns=7))),
        saved(table(row(face=2))),
        saved(table(row(face=True))),
        saved(table(row(blend="alpha"))),
        saved(table(row(landmarks=[[1, 2]]))),
        saved(table(row(landmarks=[[[float("nan"), 0]] * 68]))),
        saved(table(row(landmarks=[[[1e9, 0]] * 68]))),
        saved(table(row(faces={"2": {"edits": {}, "mask": "none"}}))),
        saved(table(row(faces={"x": {"edits": {}, "mask": "none"}}))),
        saved(table(row(faces={"1": {"edits": {"smile": float("inf")}, "mask": "none"}}))),
        saved(table(row(faces={"1": {"edits": {"smile": 1e30}, "mask": "none"}}))),
        saved(table(row(faces={"1": {"edits": {}, "mask": "hair"}}))),
        saved(table(), zipfile.ZIP_DEFLATED, big=b"0" * 1_000_000),
    ],
)
def test_what_is_no_session_is_refused_in_a_sentence(content):
    with pytest.raises(PhotoError):
        load_session(content, "a.sfe")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(PhotoError, match=r"b\.sfe cannot be read"):
        load_session(tmp_path / "b.sfe")


def test_a_mask_is_brought_to_its_photo():
    done = PHOTO.faces[2]
    mask = np.asarray(done.region(104, 96))
    assert mask.shape == (96, 104)
    assert mask[:, :50].min() == 255
    assert mask[:, 54:].max() == 0
    assert FaceEdits(mask="painted").region(9, 9) is None
    assert PHOTO.faces[1].region(9, 9) == "face"
    grey = np.asarray(painted_at(png(np.full((4, 4, 3), 200, np.uint8)), 4, 4))
    assert (grey == 200).all()
    with pytest.raises(MaskError, match="not a picture"):
        painted_at(b"no picture", 9, 9)
    with pytest.raises(ConfigError, match="is one of"):
        FaceEdits(mask="hair")
