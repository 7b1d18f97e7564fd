"""A tiny model in a folder, a portrait, and a visitor's session with it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from page_pictures import png
from stylefeatureeditor.photo.landmarks import Face, find_faces
from stylefeatureeditor.web import opened as opened_photo
from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.loaded_models import Models
from stylefeatureeditor.web.session import Session
from tiny import tiny_editor, tiny_model

_known: dict[bytes, list[Face]] = {}


@pytest.fixture(autouse=True)
def _faces_are_searched_once(monkeypatch, one_thread):
    """The detector takes longer than all the rest, and there are but few photos."""
    del one_thread

    def find(photo: np.ndarray, *, all_sizes: bool) -> list[Face]:
        key = photo.tobytes()
        if key not in _known:
            _known[key] = find_faces(photo, all_sizes=all_sizes)
        return _known[key]

    monkeypatch.setattr(opened_photo, "find_faces", find)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a 32 px model that knows "smile" and "age"."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_editor().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def other_model(tmp_path_factory):
    """A model of the same sizes with other weights."""
    folder = tmp_path_factory.mktemp("models") / "other"
    tiny_editor(model=tiny_model(name="other")).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def both(model, other_model):
    """Both models, loaded once for all tests."""
    return Models([model, other_model], "cpu")


@pytest.fixture
def session(both):
    """A photo's place on the page, nothing opened yet."""
    return Session(both, Limits())


@pytest.fixture(scope="session")
def pixels():
    """A real face in a photo of 260 x 240."""
    return np.ascontiguousarray(astronaut()[:240, 95:355])


@pytest.fixture
def portrait(tmp_path, pixels):
    """A file with a real face."""
    path = tmp_path / "portrait.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def opened(session, portrait):
    """A visitor who has opened the portrait."""
    session.open(portrait.read_bytes(), "portrait.png")
    return session


@pytest.fixture
def two(both, pixels):
    """A visitor who has opened a photo of two faces."""
    session = Session(both, Limits())
    session.open(png(np.concatenate([pixels, pixels[:, ::-1]], axis=1)), "two.png")
    assert session.opened.count == 2
    return session
