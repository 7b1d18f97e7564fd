"""There is no home folder, as in many containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylefeatureeditor.cli.main import main
from stylefeatureeditor.photo.image import save_photo, to_uint8
from tiny import tiny_editor, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _homeless(monkeypatch):
    for name in ("HOME", "USERPROFILE", "SFE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(Path, "expanduser", lambda _: homeless())


@pytest.mark.parametrize(
    "words",
    [("models", "list"), ("models", "pull", "ffhq", "--yes"), ("models", "info", "ffhq")],
    ids=" ".join,
)
def test_what_needs_the_cache_says_how_to_name_one(words, capsys):
    assert main(list(words)) == 2
    said = capsys.readouterr().err.strip()
    assert "SFE_CACHE" in said
    assert "\n" not in said


def test_the_doctor_says_how_to_name_one(capsys):
    code = main(["doctor"])
    out, err = capsys.readouterr()
    assert code in (0, 2)
    assert "SFE_CACHE" in out + err


def test_a_model_folder_and_a_photo_are_enough_for_an_edit(tmp_path, capsys):
    tiny_editor().save_pretrained(tmp_path / "model")
    save_photo(to_uint8(tiny_photos())[0], tmp_path / "in.png")
    words = ["edit", str(tmp_path / "in.png"), "--aligned", "-e", "smile=1"]
    words += ["--model", str(tmp_path / "model"), "-o", str(tmp_path / "out.png")]
    assert main(words) == 0, capsys.readouterr().err
    assert (tmp_path / "out.png").is_file()


def test_a_named_cache_is_enough_for_the_rest(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path))
    monkeypatch.setattr(Path, "expanduser", lambda path: path)
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out
