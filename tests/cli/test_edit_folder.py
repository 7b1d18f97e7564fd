"""A folder of photos through `sfe edit`: together, whatever becomes of one of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stylefeatureeditor.editor import Editor
from stylefeatureeditor.photo.image import read_photo

SMILE = ("-e", "smile=2")


@pytest.fixture
def album(aligned):
    folder = aligned.with_name("album")
    folder.mkdir()
    for name in ("a.png", "b.png", "d.png", "e.png"):
        (folder / name).write_bytes(aligned.read_bytes())
    return folder


@pytest.fixture
def groups(monkeypatch):
    """How many photos each call of the editor got."""
    seen = []
    together = Editor.edit_batch

    def noted(self, photos, *args, **options):
        seen.append(len(photos))
        return together(self, photos, *args, **options)

    monkeypatch.setattr(Editor, "edit_batch", noted)
    return seen


def made(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_photos_of_a_folder_go_together(album, model, sfe, groups):
    out = album.with_name("out")
    words = ("edit", album, "--aligned", *SMILE, "--model", model, "-o", out)
    assert sfe(*words, "--batch-size", "3").code == 0
    assert groups == [3, 1]
    assert made(out) == ["a_edited.png", "b_edited.png", "d_edited.png", "e_edited.png"]
    alone = album.with_name("alone.png")
    assert sfe("edit", album / "d.png", *words[2:5], "--model", model, "-o", alone).code == 0
    difference = read_photo(out / "d_edited.png").pixels.astype(int) - read_photo(alone).pixels
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("bad", ["a.png", "b.png", "e.png"])
def test_a_bad_photo_takes_no_other_with_it(bad, album, model, sfe):
    (album / bad).write_bytes((album / bad).read_bytes()[:300])
    out = album.with_name("out")
    words = ("--aligned", *SMILE, "--model", model, "-o", out, "--batch-size", "3")
    ran = sfe("edit", album, *words)
    assert ran.code == 2
    expected = sorted({"a.png", "b.png", "d.png", "e.png"} - {bad})
    assert made(out) == [name.replace(".png", "_edited.png") for name in expected]
    assert ran.err.splitlines()[0].startswith(f"sfe: {album / bad}: {bad} is damaged")
    assert ran.err.splitlines()[-1] == "sfe: 1 of 4 photos failed"


def test_a_file_that_cannot_be_written_takes_no_other_with_it(album, model, sfe, monkeypatch):
    from stylefeatureeditor.errors import PhotoError
    from stylefeatureeditor.photo.result import EditResult

    save = EditResult.save

    def full(self, path, **options):
        if path.name.startswith("b"):
            raise PhotoError("the disk is full")
        return save(self, path, **options)

    monkeypatch.setattr(EditResult, "save", full)
    ran = sfe("edit", album, "--aligned", *SMILE, "--model", model, "-o", album.with_name("out"))
    assert ran.code == 2
    assert made(album.with_name("out")) == ["a_edited.png", "d_edited.png", "e_edited.png"]
    assert f"{album / 'b.png'}: the disk is full" in ran.err


def test_inversions_in_a_folder_are_edited_like_photos(album, model, other_model, sfe):
    kept = album.with_name("kept")
    assert sfe("invert", album, "--aligned", "--model", model, "-o", kept).code == 0
    (kept / "weights.safetensors").write_bytes((model / "e4e.safetensors").read_bytes())
    out = album.with_name("out")
    ran = sfe("edit", kept, *SMILE, "--model", model, "-o", out)
    assert ran.code == 0
    assert ran.err.splitlines() == [
        f"sfe: {kept}: skipped, made by an earlier run (4): a_inverted.png, b_inverted.png, "
        "d_inverted.png, e_inverted.png",
        f"sfe: {kept}: skipped, no photos by their names (1): weights.safetensors",
    ]
    assert made(out) == ["a_edited.png", "b_edited.png", "d_edited.png", "e_edited.png"]
    (kept / "b_inverted.safetensors").write_bytes(b"damaged")
    ran = sfe("edit", kept, *SMILE, "--model", model, "-o", album.with_name("more"))
    assert ran.code == 2
    assert len(made(album.with_name("more"))) == 3
    assert "b_inverted.safetensors" in ran.err
    assert sfe("edit", kept, *SMILE, "--model", other_model, "-o", kept).code == 2


def test_a_photo_beside_its_inversion_is_edited_once(album, model, sfe):
    words = ("--aligned", "--model", model)
    assert sfe("invert", album, *words, "-o", album).code == 0
    ran = sfe("edit", album, *SMILE, *words, "-o", album.with_name("out"))
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 4


def test_a_batch_holds_one_photo_at_least(aligned, model, sfe):
    ran = sfe("edit", aligned, *SMILE, "--batch-size", "0", "--model", model)
    assert ran.code == 2
    assert "whole number of at least 1" in ran.err


def test_a_pattern_that_the_shell_left_alone_means_its_files(album, model, sfe):
    words = ("--aligned", *SMILE, "--model", model, "-o", album.with_name("out"))
    assert sfe("edit", album / "[ab].png", *words).code == 0
    assert made(album.with_name("out")) == ["a_edited.png", "b_edited.png"]
    (album / "[d].png").write_bytes((album / "d.png").read_bytes())  # a name, not a pattern
    ran = sfe("edit", album / "[d].png", *words[:-1], album.with_name("one.png"))
    assert ran.out == f"{album.with_name('one.png')}\n"


def test_only_what_our_note_marks_is_skipped_and_all_that_is_skipped_is_named(album, model, sfe):
    words = ("--aligned", *SMILE, "--model", model)
    assert sfe("edit", album / "a.png", *words).code == 0  # a_edited.png, with our note
    for name in ("x_edited.jpg", "y_compare.jpg", "z.jfif", "w.jpe"):
        Image.open(album / "a.png").convert("RGB").save(album / name, "JPEG")
    (album / "notes.txt").write_text("no photo")
    (album / "sub").mkdir()
    (album / "sub" / "a.png").write_bytes((album / "a.png").read_bytes())
    out = album.with_name("out")
    ran = sfe("edit", album, *words, "-o", out)
    assert ran.code == 0
    own = [f"{name}_edited.png" for name in ("a", "b", "d", "e", "w", "x_edited", "y_compare", "z")]
    assert made(out) == own
    assert ran.err.splitlines() == [
        f"sfe: {album}: skipped, made by an earlier run (1): a_edited.png",
        f"sfe: {album}: skipped, no photos by their names (1): notes.txt",
        f"sfe: {album}: skipped, folders below, which --recursive opens (1): sub",
    ]
    ran = sfe("edit", album, *words, "-o", out, "--recursive")
    assert ran.code == 0
    assert made(out) == [*own[:4], "sub", *own[4:]]
    assert made(out / "sub") == ["a_edited.png"]
    assert "folders" not in ran.err


LOOKS = "[older]\nage = 2\n[smiling]\nsmile = 2\nage = -1\n"


@pytest.fixture
def looks(tmp_path):
    path = tmp_path / "looks.toml"
    path.write_text(LOOKS, "utf-8")
    return path


def test_each_photo_is_written_once_for_each_look(album, looks, model, sfe, monkeypatch):
    seen = []
    encode = Editor._encode

    def noted(self, photo, **options):
        seen.append(photo)
        return encode(self, photo, **options)

    monkeypatch.setattr(Editor, "_encode", noted)
    out = album.with_name("out")
    words = ("edit", album, "--edits", looks, "--aligned", "--model", model, "-o", out)
    ran = sfe(*words)
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 8
    assert sum(photo.__class__.__name__ != "Inversion" for photo in seen) == 4  # once each
    for look, edits in (("older", {"age": 2.0}), ("smiling", {"smile": 2.0, "age": -1.0})):
        assert made(out / look) == ["a.png", "b.png", "d.png", "e.png"]
        editor = Editor.from_pretrained(model, device="cpu")
        expected = np.asarray(editor.edit(album / "a.png", edits, aligned=True).photo)
        found = read_photo(out / look / "a.png").pixels
        assert np.abs(found.astype(int) - expected).max() <= 1
    assert "skipped 8 done before" in sfe(*words).out
    looks.write_text(LOOKS.replace("smile = 2", "smile = 1"), "utf-8")
    assert "was made with other settings (edits" in sfe(*words).err


def test_looks_of_one_photo_and_of_one_that_is_damaged(album, looks, model, sfe):
    out, words = album.with_name("out"), ("--edits", looks, "--aligned", "--model", model, "-o")
    assert sfe("edit", album / "a.png", *words, out).code == 0
    assert (made(out / "older"), made(out / "smiling")) == (["a.png"], ["a.png"])
    (album / "b.png").write_bytes(b"no picture")
    ran = sfe("edit", album, *words, album.with_name("more"))
    assert ran.code == 2
    assert "2 of 8 pictures failed" in ran.err


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        (LOOKS, ("-e", "smile=1"), "leave -e, --text, --grid and --ray out"),
        (LOOKS, ("-o", "out.png"), "name the folder of all with -o"),
        ("", (), "holds no look"),
        ("age = 2", (), "should be a table such as smile = 2"),
        ("[older]", (), "should be a table such as smile = 2"),
        ('["../older"]\nage = 2', (), "names a folder"),
        ('[older]\nage = "much"', (), "a table such as smile = 2"),
        ("[older]\nage = 1e30", (), "must be a finite number"),
        ("[older]\nsimle = 2", (), "did you mean smile"),
        ("[older", (), "cannot be read"),
    ],
)
def test_looks_that_are_none_are_refused(album, looks, model, sfe, content, words, says):
    looks.write_text(content, "utf-8")
    out = album.with_name("out")
    ran = sfe("edit", album, "--edits", looks, "--model", model, "-o", out, *words)
    assert ran.code == 2
    assert says in ran.err
    assert not out.exists()
