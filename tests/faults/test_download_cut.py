"""A download breaks off: at every tenth byte, again and again, or with the program."""

from __future__ import annotations

import pytest

from faulty import source_of
from file_server import serving
from stylefeatureeditor.errors import DownloadError
from stylefeatureeditor.weights import download
from stylefeatureeditor.weights.download import fetch

CONTENT = bytes(range(256)) + b"the end"
CUTS = range(0, len(CONTENT), 10)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(download, "CHUNK_BYTES", 16)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def server():
    with serving(CONTENT) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(server):
    server.cuts, server.requests = [], []


@pytest.mark.parametrize("cut", CUTS)
def test_it_goes_on_at_the_very_byte(cut, server, tmp_path):
    server.cuts = [cut]
    assert fetch(source_of(server.url, CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={cut}-" if cut else None]
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize("cut", CUTS)
def test_under_the_final_name_there_is_never_a_part(cut, server, tmp_path):
    server.cuts = [cut, 0, 0, 0]  # every attempt ends at the same byte
    source = source_of(server.url, CONTENT)
    with pytest.raises(DownloadError, match="by hand"):
        fetch(source, tmp_path)
    assert not (tmp_path / "model.bin").exists()
    part = tmp_path / "model.bin.part"
    assert part.read_bytes() == CONTENT[:cut]
    assert fetch(source, tmp_path).read_bytes() == CONTENT  # the next call goes on from there


@pytest.mark.parametrize("cut", CUTS[::3])
def test_a_program_that_ends_meanwhile_loses_no_more_than_a_chunk(cut, server, tmp_path):
    def stop(done, _total):
        if done >= cut:
            raise KeyboardInterrupt

    source = source_of(server.url, CONTENT)
    with pytest.raises(KeyboardInterrupt):
        fetch(source, tmp_path, stop)
    kept = (tmp_path / "model.bin.part").read_bytes()
    assert CONTENT.startswith(kept)
    assert cut <= len(kept) < cut + 16
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    if kept:
        assert server.requests[-1] == f"bytes={len(kept)}-"
