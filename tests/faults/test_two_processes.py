"""Two processes want the same model, or save to the same folder."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from faulty import CONTENT, WRITERS, source_of, versions
from file_server import serving
from stylefeatureeditor.weights import download
from stylefeatureeditor.weights.download import fetch

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(sys.platform == "win32", reason="processes are copied by fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(download, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(download, "LOCK_POLL_SECONDS", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def start(work):
    """Do `work` in a copy of this process; return its number."""
    child = os.fork()
    if child == 0:
        failed = True
        try:
            work()
            failed = False
        finally:
            os._exit(failed)
    return child


def ended(child):
    return os.waitpid(child, 0)[1]


def test_one_fetches_and_the_others_wait_for_it(tmp_path):
    with serving(CONTENT) as server:
        server.pause = 0.2
        source = source_of(server.url)

        def work():
            assert fetch(source, tmp_path).read_bytes() == CONTENT

        assert [ended(child) for child in [start(work) for _ in range(3)]] == [0, 0, 0]
        assert len(server.requests) == 1
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert not list(tmp_path.glob("*.part*"))


def test_one_that_is_killed_leaves_its_bytes_to_the_other(tmp_path, monkeypatch):
    with serving(CONTENT) as server:
        source = source_of(server.url)

        monkeypatch.setattr(download, "CHUNK_BYTES", 9000)

        def wait(done, _total):
            if done:
                (tmp_path / "begun").touch()
                time.sleep(20)

        child = start(lambda: fetch(source, tmp_path, wait))
        try:
            deadline = time.monotonic() + 15
            while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            other = start(lambda: fetch(source, tmp_path))  # waits for the lock
        finally:
            os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(ended(child))
        assert ended(other) == 0
        first, second = server.requests
        assert first is None
        assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 9000
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("what", ["a photo", "a model", "directions", "a table"])
def test_two_that_save_at_once_leave_one_whole_version(what, tmp_path):
    writer = WRITERS[what]
    both = versions(writer, tmp_path)
    folder = tmp_path / "shared"
    folder.mkdir()

    def work(version):
        for _ in range(4):
            writer.save(folder, version)

    children = [start(lambda version=version: work(version)) for version in (0, 1)]
    assert [ended(child) for child in children] == [0, 0]
    assert writer.load(folder) in both
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
