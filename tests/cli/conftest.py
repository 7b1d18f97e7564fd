"""A tiny model in a folder, a portrait, and a way to run `sfe` inside this process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from stylefeatureeditor.cli.main import main
from stylefeatureeditor.photo.image import to_uint8
from tiny import SIZE, tiny_editor, tiny_model, tiny_photos


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


@cache
def portrait_pixels() -> np.ndarray:
    """A real face in a photo of 260 x 240, (240, 260, 3)."""
    return np.ascontiguousarray(astronaut()[:240, 95:355])


@pytest.fixture
def sfe(capsys):
    """Return a function that runs `sfe WORDS...`."""

    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a 32 px model that knows "smile" (also "grin") and "age"."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_editor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def other_model(tmp_path_factory):
    """A model of the same sizes with other weights."""
    folder = tmp_path_factory.mktemp("models") / "other"
    tiny_editor(model=tiny_model(name="other")).save_pretrained(folder)
    return folder


@pytest.fixture
def portrait(tmp_path):
    """A file with a real face."""
    path = tmp_path / "portrait.png"
    Image.fromarray(portrait_pixels()).save(path)
    return path


@pytest.fixture
def aligned(tmp_path):
    """A square crop that needs no face detector."""
    path = tmp_path / "aligned.png"
    Image.fromarray(to_uint8(tiny_photos())[0]).resize((2 * SIZE, 2 * SIZE)).save(path)
    return path
