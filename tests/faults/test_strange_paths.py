"""Paths of other scripts, of three hundred signs, with blanks, quotes and line breaks."""

from __future__ import annotations

import sys

import pytest

from faulty import WRITERS, versions
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import SfeError
from stylefeatureeditor.photo.image import read_photo, save_photo, to_uint8
from synthetic_face import soft_photo
from tiny import tiny_editor, tiny_photos

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows allows fewer signs"),
]
NAMES = (
    "Фото Jürgen 写真 مجلد",
    "🙂👨‍👩‍👧",
    "e\u0301 and \u00e9",
    "  two  blanks ",
    'it\'s "quoted" & $HOME; `x` %s {0}',
    "two\nlines",
    "-o",
    "a.b.c.",
    "/".join(["deep" * 12] * 7),  # longer than three hundred signs in all
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", [what for what in WRITERS if what != "a model"])
def test_what_is_saved_there_is_read_again(name, what, tmp_path):
    _, newer = versions(WRITERS[what], tmp_path)
    folder = tmp_path / name
    folder.mkdir(parents=True)
    if "deep" in name:
        assert len(str(folder)) > 300
    WRITERS[what].save(folder, 1)
    assert WRITERS[what].load(folder) == newer


@pytest.mark.parametrize("name", NAMES)
def test_an_edit_from_the_command_line_goes_there(name, tmp_path, capsys):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    tiny_editor().save_pretrained(folder / "model")
    save_photo(to_uint8(tiny_photos())[0], folder / "in.png")
    words = ["edit", str(folder / "in.png"), "--aligned", "-e", "smile=1"]
    words += ["--model", str(folder / "model"), "-o", str(folder / "out.png")]
    assert main(words) == 0, capsys.readouterr().err
    assert read_photo(folder / "out.png").pixels.shape == (32, 32, 3)


@pytest.mark.parametrize("name", ["x" * 300, "写" * 300, "a\0b", "\ud800"])
def test_a_name_that_the_system_refuses_is_one_sentence(name, tmp_path):
    path = tmp_path / f"{name}.png"
    attempts = {
        "read": lambda: read_photo(path),
        "save": lambda: save_photo(soft_photo(8, 8), path),
        "open": lambda: Editor.from_pretrained(tmp_path / name, device="cpu"),
        "model": lambda: tiny_editor().save_pretrained(tmp_path / name),
    }
    for what, attempt in attempts.items():
        with pytest.raises(SfeError) as caught:
            attempt()
        assert "\n" not in str(caught.value), what
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 300, "写" * 300])
def test_the_command_line_refuses_it_in_one_sentence(name, tmp_path, capsys):
    save_photo(to_uint8(tiny_photos())[0], tmp_path / "in.png")
    tiny_editor().save_pretrained(tmp_path / "model")
    words = ["edit", str(tmp_path / "in.png"), "--aligned", "-e", "smile=1"]
    words += ["--model", str(tmp_path / "model"), "-o", str(tmp_path / f"{name}.png")]
    assert main(words) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
