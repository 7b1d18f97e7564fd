"""The examples of the documentation run."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import stylefeatureeditor
from stylefeatureeditor.photo.image import to_uint8
from stylefeatureeditor.weights import local_models
from tiny import SIZE, tiny_editor, tiny_model, tiny_photos

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "first_edit.ipynb"
NEW_METHOD = Path(__file__).parents[1] / "docs" / "examples" / "new_method.py"


@pytest.fixture
def builtin():
    """The place of the built-in model, which tests do not see otherwise."""
    return Path(stylefeatureeditor.__file__).parent / "builtin"


@pytest.fixture
def example(one_thread):
    del one_thread
    return runpy.run_path(str(NEW_METHOD))


def test_a_new_method_shows_in_a_picture_a_table_and_a_photo(example, tmp_path, monkeypatch):
    tiny_editor().save_pretrained(tmp_path / "model")
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, pixels in enumerate(to_uint8(tiny_photos(3))):
        Image.fromarray(pixels).save(photos / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    example["main"]("model", str(photos / "0.png"), "smile=1")
    out = tmp_path / "out" / "new_method"
    table = (out / "table.md").read_text()
    assert "| added change | run here | 3 |" in table
    assert "| e4e | run here | 3 |" in table
    assert Image.open(out / "beside.png").height > 2 * 256
    before, after = (np.asarray(Image.open(p)) for p in (photos / "0.png", out / "photo.png"))
    assert before.shape == after.shape == (SIZE, SIZE, 3)
    assert not np.array_equal(before, after)


def test_it_does_what_it_says_and_is_short(example):
    model = tiny_model()
    method = example["AddedChange"](model)
    photos = tiny_photos(2)
    smile = tiny_editor(model=model).direction("smile")
    inversion = method.invert(photos)
    assert torch.equal(method.reconstruct(inversion), photos)
    known = method.e4e.invert(photos)
    change = method.e4e.edit(known, {smile: 1.0}) - method.e4e.reconstruct(known)
    torch.testing.assert_close(method.edit(inversion, {smile: 1.0}), photos + change)
    assert len(NEW_METHOD.read_text().splitlines()) < 100


def test_the_notebook_goes_from_nothing_to_an_edited_photo(tmp_path, monkeypatch, builtin):
    pytest.importorskip("skimage")
    pytest.importorskip("dlib")
    monkeypatch.setattr(local_models, "builtin_folder", lambda: builtin)
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    blocks = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    install, *steps = blocks
    assert install.startswith("%pip install")
    known: dict[str, object] = {}
    for step in steps:
        exec(compile(step, NOTEBOOK.name, "exec"), known)
    before, after = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("photo", "edited"))
    changed = (before != after).any(axis=2)
    assert before.shape == after.shape
    assert 0.01 < changed.mean() < 0.5  # the face, and nothing else
