"""The place to write to may not be written."""

from __future__ import annotations

import os
import sys

import pytest

from faulty import WRITERS, unwritable, versions, visible
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.errors import SfeError
from stylefeatureeditor.photo.image import save_photo, to_uint8
from tiny import tiny_editor, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")
AS_SUPERUSER = sys.platform == "win32" or os.geteuid() == 0


@pytest.mark.parametrize("what", WRITERS)
def test_what_was_there_stays(what, tmp_path, monkeypatch):
    writer = WRITERS[what]
    older, _ = versions(writer, tmp_path)
    folder = tmp_path / "0"
    before = visible(folder)
    with unwritable(folder, monkeypatch), pytest.raises((SfeError, OSError)) as caught:
        writer.save(folder, 1)
    assert "ermission denied" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert visible(folder) == before
    assert writer.load(folder) == older


@pytest.mark.skipif(AS_SUPERUSER, reason="the superuser may write anywhere")
@pytest.mark.parametrize("what", WRITERS)
def test_a_read_only_folder_is_left_as_it_was(what, tmp_path):
    writer = WRITERS[what]
    older, _ = versions(writer, tmp_path)
    folder = tmp_path / "0"
    folder.chmod(0o500)
    try:
        with pytest.raises((SfeError, OSError)):
            writer.save(folder, 1)
        assert writer.load(folder) == older
    finally:
        folder.chmod(0o700)


def test_the_command_line_says_so_in_one_sentence(tmp_path, monkeypatch, capsys):
    tiny_editor().save_pretrained(tmp_path / "model")
    save_photo(to_uint8(tiny_photos())[0], tmp_path / "in.png")
    (tmp_path / "out").mkdir()
    words = ["edit", str(tmp_path / "in.png"), "--aligned", "-e", "smile=1"]
    words += ["--model", str(tmp_path / "model"), "-o", str(tmp_path / "out" / "edited.png")]
    with unwritable(tmp_path / "out", monkeypatch):
        assert main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in said if line.startswith("sfe: ")]) == 1
    assert "ermission denied" in said[-1]
    assert list((tmp_path / "out").iterdir()) == []
