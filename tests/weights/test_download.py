"""Downloads from a server on this machine: cut, resumed, wrong, missing, locked."""

import hashlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from file_server import serving
from stylefeatureeditor.errors import ConfigError, DownloadError
from stylefeatureeditor.weights import download
from stylefeatureeditor.weights.download import cache_dir, fetch
from stylefeatureeditor.weights.sources import Source

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(download, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(download, "LOCK_POLL_SECONDS", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def source(server):
    return Source(
        name="model",
        file_name="model.bin",
        urls=(server.url,),
        size=len(CONTENT),
        sha256=SHA256,
        licence="MIT",
        what="a model",
        feeds="tests",
    )


def left(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_is_fetched_once_and_then_used(server, source, tmp_path):
    path = fetch(source, tmp_path / "new" / "cache")
    assert path.read_bytes() == CONTENT
    assert left(path.parent) == ["model.bin"]
    assert fetch(source, path.parent) == path
    assert len(server.requests) == 1


def test_progress_rises_to_the_whole(source, tmp_path):
    seen = []
    fetch(source, tmp_path, lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("cut", [0, 1, 999, 1000, 5000, len(CONTENT) - 1])
def test_a_cut_connection_is_resumed_where_it_ended(cut, known, server, source, tmp_path):
    if not known:
        source = replace(source, size=None, sha256=None)
    server.cuts = [cut]
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={cut}-" if cut else None]


def test_a_download_goes_on_after_the_program_ended(server, source, tmp_path):
    server.cuts = [3000]

    def stop(done, _total):
        if done >= 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source, tmp_path, stop)
    assert not (tmp_path / "model.bin").exists()
    kept = (tmp_path / "model.bin.part").stat().st_size
    assert kept >= 2000
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={kept}-"]


def test_a_complete_part_needs_no_request(server, source, tmp_path):
    (tmp_path / "model.bin.part").write_bytes(CONTENT)
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert server.requests == []


def test_a_server_without_ranges_starts_again(server, source, tmp_path):
    server.ranges = False
    server.cuts = [3000, 4000]
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=3000-", "bytes=4000-"]


def test_a_wrong_range_is_not_taken(server, source, tmp_path):
    server.cuts = [3000]
    server.shift = 5
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=3000-", None]


@pytest.mark.parametrize("etag", ['"two"', None, 'W/"one"'])
def test_bytes_of_an_older_file_are_not_mixed_in(etag, server, source, tmp_path):
    source = replace(source, size=None, sha256=None)
    (tmp_path / "model.bin.part").write_bytes(b"old" * 100)
    (tmp_path / "model.bin.part.etag").write_text('"one"')
    server.etag = etag
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert left(tmp_path) == ["model.bin"]


@pytest.mark.parametrize("etag", [None, 'W/"one"'])
def test_without_a_checksum_or_a_strong_tag_nothing_is_resumed(etag, server, source, tmp_path):
    server.etag = etag
    server.cuts = [3000]
    assert fetch(replace(source, size=None, sha256=None), tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, None]


def test_unverifiable_bytes_are_fetched_again(server, source, tmp_path):
    (tmp_path / "model.bin.part").write_bytes(b"old" * 100)
    fetch(replace(source, size=None, sha256=None), tmp_path)
    assert server.requests == [None]


def test_a_part_longer_than_the_file_is_dropped(server, source, tmp_path):
    source = replace(source, size=None)
    (tmp_path / "model.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_wrong_checksum_leaves_nothing(source, tmp_path):
    with pytest.raises(DownloadError, match=f"SHA-256 {SHA256} instead of {'0' * 64}"):
        fetch(replace(source, sha256="0" * 64), tmp_path)
    assert left(tmp_path) == []


def test_a_wrong_size_is_refused_before_it_comes(source, tmp_path):
    with pytest.raises(DownloadError, match=f"offers {len(CONTENT)} bytes instead of 5"):
        fetch(replace(source, size=5), tmp_path)
    assert left(tmp_path) == []


def test_a_web_page_is_not_a_model(server, source, tmp_path):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="web page"):
        fetch(replace(source, size=None, sha256=None), tmp_path)


@pytest.mark.parametrize("body", [b"version https://git-lfs.github.com/spec/v1\n", b"\n<HTML>"])
def test_what_stands_for_a_file_is_not_taken_for_it(body, server, source, tmp_path):
    server.content = body
    with pytest.raises(DownloadError, match=r"LFS pointer|web page"):
        fetch(replace(source, size=None, sha256=None), tmp_path)
    assert left(tmp_path) == []


def test_a_packed_body_is_not_taken_for_the_file(server, source, tmp_path):
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(DownloadError, match="packed"):
        fetch(replace(source, size=None, sha256=None), tmp_path)


def test_reading_stops_at_the_known_size(server, source, tmp_path):
    server.content, server.headers = CONTENT + bytes(5000), {"Content-Length": None}
    assert fetch(source, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("length", ["\xb2", "-1", "9" * 5000, "many"])
def test_a_length_that_is_no_number_is_passed_over(length, server, source, tmp_path):
    server.headers = {"Content-Length": length}
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_a_range_that_ends_early_is_not_the_whole(server, source, tmp_path):
    server.cuts, server.short = [3000], 100
    assert fetch(replace(source, size=None, sha256=None), tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=3000-", "bytes=3100-"]


def test_a_redirection_to_no_address_is_one_sentence(server, source, tmp_path):
    server.statuses, server.moves = [302], "http://[::1"
    with pytest.raises(DownloadError, match="no address"):
        fetch(source, tmp_path)


def test_a_server_that_drips_is_left(server, source, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "DRIP_SECONDS", 0.05)
    server.drip = 0.02
    with pytest.raises(DownloadError, match="bytes came in"):
        fetch(source, tmp_path)


def test_a_full_disk_is_named_before_the_download(source, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DownloadError, match="no room"):
        fetch(source, tmp_path)


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (500, 4), (429, 4)])
def test_only_failures_that_pass_are_tried_again(status, requests, server, source, tmp_path):
    server.statuses = [status] * 9
    with pytest.raises(DownloadError, match=str(status)) as caught:
        fetch(source, tmp_path)
    assert len(server.requests) == requests
    assert server.url in str(caught.value)
    assert str(tmp_path / "model.bin") in str(caught.value)


def test_a_busy_server_is_asked_again(server, source, tmp_path):
    server.statuses = [503, 502]
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_the_next_address_is_tried(server, source, tmp_path):
    server.statuses = [404]
    moved = replace(source, urls=(f"{server.url}?old", server.url))
    assert fetch(moved, tmp_path).read_bytes() == CONTENT


def test_offline_names_the_address_and_the_place(server, source, tmp_path):
    server.server_close()
    with pytest.raises(DownloadError, match="by hand") as caught:
        fetch(source, tmp_path)
    message = str(caught.value)
    assert server.url in message
    assert str(tmp_path / "model.bin") in message
    assert "\n" not in message


def test_a_file_put_there_by_hand_is_checked(server, source, tmp_path):
    (tmp_path / "model.bin").write_bytes(CONTENT)
    assert fetch(source, tmp_path) == tmp_path / "model.bin"
    (tmp_path / "model.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match="delete it"):
        fetch(source, tmp_path)
    assert (tmp_path / "model.bin").exists()
    assert server.requests == []


def test_several_threads_fetch_a_file_once(server, source, tmp_path):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch(source, tmp_path).read_bytes()))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 6
    assert len(server.requests) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="the other process locks as POSIX does")
def test_another_process_is_waited_for(server, source, tmp_path):
    script = (
        "import fcntl, pathlib, sys, time\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with open(folder / 'model.bin.lock', 'ab') as file:\n"
        "    fcntl.flock(file, fcntl.LOCK_EX)\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
        "    (folder / 'model.bin').write_bytes(bytes(range(256)) * 40)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        results = []
        waiting = threading.Thread(target=lambda: results.append(fetch(source, tmp_path)))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        other.stdin.close()
        waiting.join(10)
    assert results == [tmp_path / "model.bin"]
    assert server.requests == []


def test_a_folder_that_cannot_be_written_is_one_sentence(source, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadError, match="SFE_CACHE"):
        fetch(source, tmp_path / "file" / "cache")


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="the superuser may write anywhere"
)
def test_a_read_only_folder_is_one_sentence(source, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DownloadError, match="SFE_CACHE"):
        fetch(source, tmp_path)


def test_a_read_only_folder_with_the_file_is_enough(source, tmp_path, monkeypatch):
    (tmp_path / "model.bin").write_bytes(CONTENT)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock", refuse)
    assert fetch(source, tmp_path) == tmp_path / "model.bin"
    (tmp_path / "model.bin").unlink()
    with pytest.raises(DownloadError, match="SFE_CACHE"):
        fetch(source, tmp_path)


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path / "models"))
    assert cache_dir() == tmp_path / "models"
    monkeypatch.delenv("SFE_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "stylefeatureeditor"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_dir() == tmp_path / ".cache" / "stylefeatureeditor"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_dir() == tmp_path / "Library" / "Caches" / "stylefeatureeditor"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_dir() == tmp_path / "local" / "stylefeatureeditor"


def test_no_home_folder_is_one_sentence(monkeypatch):
    for name in ("SFE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ConfigError, match="SFE_CACHE"):
        cache_dir()
