"""The cache may be read and not written, as on a shared machine."""

from __future__ import annotations

import pytest

from faulty import CONTENT, source_of, unwritable
from file_server import serving
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import DownloadError
from stylefeatureeditor.weights.download import fetch
from tiny import tiny_editor, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path / "cache"))
    tiny_editor().save_pretrained(tmp_path / "cache" / "models" / "mine")
    (tmp_path / "cache" / "downloads").mkdir()
    return tmp_path / "cache"


def test_a_file_that_is_there_is_used(cache, monkeypatch):
    (cache / "downloads" / "model.bin").write_bytes(CONTENT)
    with unwritable(cache, monkeypatch):
        source = source_of("http://127.0.0.1:9/model.bin")
        assert fetch(source, cache / "downloads").read_bytes() == CONTENT


def test_a_file_that_is_not_there_names_the_way_out(cache, monkeypatch):
    with serving(CONTENT) as server, unwritable(cache, monkeypatch):
        with pytest.raises(DownloadError, match="set SFE_CACHE to a folder that can be written"):
            fetch(source_of(server.url), cache / "downloads")
        assert server.requests == []


def test_a_cache_that_cannot_be_made_names_the_way_out(tmp_path, monkeypatch):
    with unwritable(tmp_path, monkeypatch), pytest.raises(DownloadError, match="SFE_CACHE"):
        fetch(source_of("http://127.0.0.1:9/model.bin"), tmp_path / "new" / "cache")


def test_a_model_in_it_is_opened_and_edits(cache, monkeypatch):
    with unwritable(cache, monkeypatch):
        editor = Editor.from_pretrained("mine", device="cpu")
        assert editor.edit(tiny_photos(), {"smile": 1.0}).pixels.isfinite().all()


def test_models_are_listed_and_shown(cache, monkeypatch, capsys):
    with unwritable(cache, monkeypatch):
        assert main(["models", "list"]) == 0
        assert "mine" in capsys.readouterr().out
        assert main(["models", "info", "mine"]) == 0
