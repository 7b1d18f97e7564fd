"""The disk fills up while something is saved."""

from __future__ import annotations

import errno
import shutil

import pytest

from faulty import CONTENT, WRITERS, failing, no_room_beyond, source_of, versions, visible
from file_server import serving
from stylefeatureeditor.errors import DownloadError, SfeError
from stylefeatureeditor.weights import download

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("what", WRITERS)
@pytest.mark.parametrize("room", [0, 2000])
def test_what_was_there_stays_and_nothing_is_half_written(what, room, tmp_path):
    writer = WRITERS[what]
    older, newer = versions(writer, tmp_path)
    folder = tmp_path / "0"
    before = visible(folder)
    problem = None
    with no_room_beyond(room):
        try:
            writer.save(folder, 1)
        except (SfeError, OSError) as error:
            problem = str(error)
    if problem is None:
        assert writer.load(folder) == newer  # it had room enough
        return
    assert "\n" not in problem
    assert writer.load(folder) == older
    assert visible(folder) == before
    assert list(folder.rglob(".*")) == []


@pytest.mark.parametrize("what", WRITERS)
def test_a_disk_that_is_full_when_the_cache_is_flushed_changes_nothing(what, tmp_path, monkeypatch):
    writer = WRITERS[what]
    older, _ = versions(writer, tmp_path)
    with (
        failing({"fsync": errno.ENOSPC}, monkeypatch),
        pytest.raises((SfeError, OSError), match="No space"),
    ):
        writer.save(tmp_path / "0", 1)
    assert writer.load(tmp_path / "0") == older
    assert list((tmp_path / "0").rglob(".*")) == []


@pytest.mark.parametrize("what", WRITERS)
def test_once_there_is_room_the_same_save_succeeds(what, tmp_path, monkeypatch):
    writer = WRITERS[what]
    _, newer = versions(writer, tmp_path)
    with (
        failing({"fsync": errno.ENOSPC}, monkeypatch),
        pytest.raises((SfeError, OSError), match="No space"),
    ):
        writer.save(tmp_path / "0", 1)
    writer.save(tmp_path / "0", 1)
    assert writer.load(tmp_path / "0") == newer


def test_a_download_that_finds_no_room_goes_on_later(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CHUNK_BYTES", 1000)
    with serving(CONTENT) as server:
        source = source_of(server.url)
        with no_room_beyond(4000), pytest.raises(DownloadError, match=r"model\.bin"):
            download.fetch(source, tmp_path)
        assert not (tmp_path / "model.bin").exists()
        assert (tmp_path / "model.bin.part").stat().st_size <= 4000
        assert download.fetch(source, tmp_path).read_bytes() == CONTENT
        assert server.requests[1].startswith("bytes=")


def test_a_download_is_not_begun_where_it_cannot_fit(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=10))
    with serving(CONTENT) as server, pytest.raises(DownloadError, match="no room"):
        download.fetch(source_of(server.url), tmp_path)
    assert not (tmp_path / "model.bin").exists()
