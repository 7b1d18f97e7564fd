"""What is done already: only what the same settings made."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from stylefeatureeditor.editing.catalog import Catalog
from stylefeatureeditor.photo.image import read_note, save_photo
from stylefeatureeditor.weights.direction_files import load_own_directions, save_own_directions
from tiny import SIZE


@pytest.fixture
def album(aligned):
    folder = aligned.with_name("album")
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(aligned.read_bytes())
    return folder


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        (("-e", "age=2"), "edits smile=2, now age=2"),
        (("-e", "smile=2.5"), "edits smile=2, now smile=2.5"),
        (("-e", "smile=2", "--blend", "residual"), "blend feather, now residual"),
        (("-e", "smile=2", "--mask", "{mask}"), "mask none, now picture"),
    ],
)
def test_outputs_of_other_settings_are_neither_skipped_nor_replaced(
    words, difference, album, model, sfe
):
    mask = album.with_name("mask.png")
    Image.new("L", (2 * SIZE, 2 * SIZE), 255).save(mask)
    out = album.with_name("out")
    start = ("edit", album, "--aligned", "--model", model, "-o", out)
    assert sfe(*start, "-e", "smile=2").code == 0
    before = times(out)
    words = [word.format(mask=mask) for word in words]
    ran = sfe(*start, *words)
    assert ran.code == 2
    assert difference in ran.err
    assert "and 1 more were: name another folder with -o" in ran.err
    assert ran.err.count("\n") == 1
    assert times(out) == before
    ran = sfe(*start, *words, "--overwrite")
    assert (ran.code, len(ran.out.splitlines())) == (0, 2)
    assert sfe(*start, *words).out == "skipped 2 done before; --overwrite does them again\n"


def test_another_direction_of_the_name_made_another_output(album, model, sfe, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(model, own)
    words = ("edit", album, "--aligned", "-e", "smile=2", "-o", album.with_name("out"))
    assert sfe(*words, "--model", own).code == 0
    known = load_own_directions(own)
    entries = [replace(each, scale=2.0) if each.name == "smile" else each for each in known.entries]
    save_own_directions(Catalog(tuple(entries)), own)
    ran = sfe(*words, "--model", own)
    assert ran.code == 2
    assert "(directions " in ran.err


def test_another_model_made_another_output(album, model, other_model, sfe):
    start = ("edit", album, "--aligned", "-e", "smile=2", "-o", album.with_name("out"), "--model")
    assert sfe(*start, model).code == 0
    ran = sfe(*start, other_model)
    assert ran.code == 2
    assert "(model " in ran.err


def test_a_picture_of_unknown_origin_is_not_replaced(album, aligned, model, sfe):
    (album / "a_edited.png").write_bytes(aligned.read_bytes())
    ran = sfe("edit", album, "--aligned", "-e", "smile=2", "--model", model)
    assert ran.code == 2
    assert "a_edited.png is there already and does not say with what settings" in ran.err
    assert not (album / "b_edited.png").exists()


def test_inversions_of_other_settings_are_not_taken_for_done(album, model, other_model, sfe):
    words = ("invert", album, "--aligned", "-o", album.with_name("out"), "--model")
    assert sfe(*words, model).code == 0
    assert "skipped 2" in sfe(*words, model).out
    assert sfe(*words, other_model).code == 2


def test_one_photo_named_by_itself_is_always_done_again(aligned, model, sfe):
    words = ("edit", aligned, "--aligned", "--model", model)
    assert sfe(*words, "-e", "smile=2").code == 0
    assert sfe(*words, "-e", "age=2").code == 0
    note = read_note(aligned.with_name("aligned_edited.png"))
    assert json.loads(note)["edits"] == {"age": 2}


def test_a_note_is_kept_in_png_and_changes_no_pixel(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    path = save_photo(pixels, tmp_path / "a.png", note="smile=2 \u263a")
    assert read_note(path) == "smile=2 \u263a"
    assert np.array_equal(np.asarray(Image.open(path)), pixels)
    assert read_note(save_photo(pixels, tmp_path / "b.png")) is None
    assert read_note(save_photo(pixels, tmp_path / "c.jpg", note="lost")) is None
    assert read_note(tmp_path / "none.png") is None
