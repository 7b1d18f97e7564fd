"""A file is whole or not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stylefeatureeditor import files
from stylefeatureeditor.files import atomic_path


def test_a_finished_write_replaces_the_old_file(tmp_path):
    target = tmp_path / "out.png"
    target.write_text("old")
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(error, tmp_path):
    target = tmp_path / "out.png"
    target.write_text("old")

    def write():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_a_killed_process_keeps_the_old_file(tmp_path):
    target = tmp_path / "out.png"
    target.write_text("old")
    script = (
        "import runpy, os, pathlib, sys\n"
        "atomic_path = runpy.run_path(sys.argv[1])['atomic_path']\n"
        "with atomic_path(pathlib.Path(sys.argv[2])) as temporary:\n"
        "    temporary.write_text('half')\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    done = subprocess.run([sys.executable, "-c", script, files.__file__, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "real" / "out.txt")
    with atomic_path(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "real" / "out.txt").read_text() == "new"


@pytest.mark.parametrize("refusals", [2, 99])
def test_on_windows_a_file_held_open_is_waited_for(refusals, tmp_path, monkeypatch):
    held = [PermissionError("in use")] * refusals
    real = Path.replace

    def replace(source, target):
        if held:
            raise held.pop()
        return real(source, target)

    monkeypatch.setattr(files.os, "name", "nt")
    monkeypatch.setattr(files, "REPLACE_PAUSE_SECONDS", 0)
    monkeypatch.setattr(type(tmp_path), "replace", replace)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    if refusals > files.REPLACE_ATTEMPTS:
        with pytest.raises(PermissionError):
            files.replace(source, target)
        assert not target.exists()
    else:
        files.replace(source, target)
        assert target.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_others_may_read_what_the_umask_lets_them(tmp_path):
    old = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "new") as temporary:
            temporary.touch(mode=0o600)
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o644
        (tmp_path / "new").chmod(0o640)
        with atomic_path(tmp_path / "new") as temporary:
            temporary.touch(mode=0o600)
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(old)
