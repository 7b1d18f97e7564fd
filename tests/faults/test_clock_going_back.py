"""The clock is set back while something runs, or files come from the future."""

from __future__ import annotations

import itertools
import os
import time

import pytest

from faulty import CONTENT, WRITERS, source_of, versions
from file_server import serving
from stylefeatureeditor.cli.output import Progress
from stylefeatureeditor.files import STALE_SECONDS
from stylefeatureeditor.training.checkpoints import load_checkpoint, save_checkpoint
from stylefeatureeditor.weights import download

pytestmark = pytest.mark.usefixtures("one_thread")
YEAR = 31_536_000.0


@pytest.fixture
def _backwards(monkeypatch):
    """Every look at the clock shows a day earlier than the last one."""
    start, days = time.time(), itertools.count()
    monkeypatch.setattr(time, "time", lambda: start - YEAR - 86_400.0 * next(days))


@pytest.mark.usefixtures("_backwards")
@pytest.mark.parametrize("what", ["a photo", "directions", "a checkpoint of training"])
def test_what_is_saved_last_is_what_is_read(what, tmp_path):
    writer = WRITERS[what]
    _, newer = versions(writer, tmp_path)
    writer.save(tmp_path / "0", 1)
    assert writer.load(tmp_path / "0") == newer


def test_the_newest_checkpoint_is_the_one_of_the_last_step(tmp_path):
    for step in (10, 20, 30):
        path = save_checkpoint(tmp_path, step, {"step": step}, lambda _: None, keep=2)
        for file in (path, *path.rglob("*")):
            os.utime(file, (YEAR - step, YEAR - step))  # later steps look older
    found = load_checkpoint(tmp_path)
    assert found == (30, {"step": 30})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000020", "step-00000030"]


@pytest.mark.usefixtures("_backwards")
def test_a_download_is_resumed_and_verified(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_SECONDS", (0.0, 0.0, 0.0))
    with serving(CONTENT) as server:
        server.cuts = [3000]
        assert download.fetch(source_of(server.url), tmp_path).read_bytes() == CONTENT
        assert server.requests[1] == "bytes=3000-"


def test_unfinished_files_from_the_future_are_in_nobodys_way(tmp_path):
    writer = WRITERS["a model"]
    stage = tmp_path / ".saving-0123456789abcdef"
    stage.mkdir()
    (stage / "e4e.safetensors").write_bytes(b"half")
    os.utime(stage, (time.time() + YEAR, time.time() + YEAR))
    writer.save(tmp_path, 0)
    writer.load(tmp_path)
    assert stage.is_dir()  # it may be another process's
    os.utime(stage, (time.time() - 2 * STALE_SECONDS,) * 2)
    writer.save(tmp_path, 1)
    assert not stage.exists()


@pytest.mark.usefixtures("_backwards")
def test_progress_counts_on():
    with Progress("work", 3) as bar:
        for number in range(4):
            bar.update(number)
