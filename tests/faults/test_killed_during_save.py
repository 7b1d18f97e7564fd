"""The process is killed at any step of a save: the older version is there, or the newer one."""

from __future__ import annotations

import sys

import pytest

from faulty import WRITERS, calls_of, killed_at, versions
from stylefeatureeditor.errors import SfeError

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(sys.platform == "win32", reason="processes are copied by fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
CALLS = ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir", "chmod")  # of module os


def steps(work):
    """The first and the last steps of a save, and one in its middle: most others repeat it."""
    count = calls_of(work, CALLS)
    assert count > 1
    return sorted({0, 1, count // 2, *range(max(0, count - 5), count + 1)})


def outcome(writer, folder):
    """What is read; None where the reader says that there is nothing."""
    try:
        return writer.load(folder)
    except (SfeError, OSError):
        return None


@pytest.mark.parametrize("what", WRITERS)
def test_one_whole_version_is_there_whenever_it_happens(what, tmp_path):
    writer = WRITERS[what]
    older, newer = versions(writer, tmp_path)
    for step in steps(lambda: writer.save(tmp_path / "0", 1)):
        folder = tmp_path / f"killed-{step}"
        folder.mkdir()
        writer.save(folder, 0)
        killed = killed_at(step, lambda place=folder: writer.save(place, 1), CALLS)
        found = writer.load(folder)
        assert found in ((older, newer) if killed else (newer,)), f"after step {step}"
        if step == 0:
            assert found == older


@pytest.mark.parametrize("what", WRITERS)
def test_a_first_save_leaves_nothing_or_all(what, tmp_path):
    writer = WRITERS[what]
    _, newer = versions(writer, tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = outcome(writer, empty)
    for step in steps(lambda: writer.save(tmp_path / "0", 1)):
        folder = tmp_path / f"killed-{step}"
        folder.mkdir()
        killed = killed_at(step, lambda place=folder: writer.save(place, 1), CALLS)
        found = outcome(writer, folder)
        assert found in ((nothing, newer) if killed else (newer,)), f"after step {step}"


@pytest.mark.parametrize("what", WRITERS)
def test_what_a_killed_process_leaves_is_in_nobodys_way(what, tmp_path):
    writer = WRITERS[what]
    _, newer = versions(writer, tmp_path)
    folder = tmp_path / "0"
    middle = calls_of(lambda: writer.save(tmp_path / "1", 1), CALLS) // 2
    assert killed_at(middle, lambda: writer.save(folder, 1), CALLS)
    writer.save(folder, 1)
    assert writer.load(folder) == newer
