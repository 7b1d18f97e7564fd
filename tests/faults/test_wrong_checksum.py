"""What comes has the right size and other bytes."""

from __future__ import annotations

import pytest

from faulty import CONTENT, source_of
from file_server import serving
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.errors import DownloadError
from stylefeatureeditor.weights import download, sources
from stylefeatureeditor.weights.download import fetch

WRONG = CONTENT[:5000] + bytes([CONTENT[5000] ^ 1]) + CONTENT[5001:]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_one_bit_is_enough_to_refuse_it_and_nothing_of_it_stays(tmp_path):
    with serving(WRONG) as server:
        source = source_of(server.url, CONTENT)
        with pytest.raises(DownloadError, match="SHA-256"):
            fetch(source, tmp_path)
        assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
        server.content = CONTENT
        assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_a_wrong_beginning_is_not_kept_for_the_next_attempt(tmp_path):
    with serving(CONTENT) as server:
        source = source_of(server.url, CONTENT)
        (tmp_path / "model.bin.part").write_bytes(WRONG[:6000])
        with pytest.raises(DownloadError, match="SHA-256"):
            fetch(source, tmp_path)
        assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_the_next_address_is_asked_when_the_first_sends_something_else(tmp_path):
    from dataclasses import replace

    with serving(WRONG) as wrong, serving(CONTENT) as right:
        source = replace(source_of(wrong.url, CONTENT), urls=(wrong.url, right.url))
        assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_a_file_changed_on_disk_is_not_used_and_not_removed(tmp_path):
    with serving(CONTENT) as server:
        source = source_of(server.url, CONTENT)
        (tmp_path / "model.bin").write_bytes(WRONG)
        with pytest.raises(DownloadError, match="delete it and ask for it again"):
            fetch(source, tmp_path)
        assert (tmp_path / "model.bin").read_bytes() == WRONG
        assert server.requests == []


def test_sfe_models_pull_says_so_in_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path / "cache"))
    with serving(WRONG) as server:
        source = source_of(server.url, CONTENT)
        name, known = next(iter(sources.SOURCES.items()))
        from dataclasses import replace

        fake = replace(known, urls=source.urls, size=source.size, sha256=source.sha256)
        monkeypatch.setitem(sources.SOURCES, name, fake)
        assert main(["models", "pull", name, "--yes"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "SHA-256" in said[0]
    assert not (tmp_path / "cache" / "downloads" / fake.file_name).exists()
