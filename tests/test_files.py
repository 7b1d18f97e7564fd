"""A file is whole or not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stylefeatureeditor import files
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import atomic_path, file_word, member, together, whole


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


def test_a_folder_that_could_not_be_filled_is_not_there(tmp_path):
    def write():
        with together(tmp_path / "a" / "b") as stage:
            (stage / "config.json").write_text("{}")
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_files_below_a_folder_move_with_it(tmp_path):
    for text in ("old", "new"):
        with together(tmp_path / "a") as stage:
            (stage / "directions").mkdir()
            (stage / "directions" / "x.pt").write_text(text)
        found = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
        assert found == [tmp_path / "a" / "directions" / "x.pt"]
        assert found[0].read_text() == text


def test_reading_finds_what_a_killed_save_had_not_moved_and_moves_nothing(tmp_path):
    (tmp_path / ".saved").mkdir()
    (tmp_path / ".saved" / "config.json").write_text("new")
    (tmp_path / "config.json").write_text("old")
    assert member(tmp_path, "config.json").read_text() == "new"
    assert (tmp_path / "config.json").read_text() == "old"
    with together(tmp_path) as stage:
        (stage / "e4e.safetensors").touch()
    assert (tmp_path / "config.json").read_text() == "new"
    assert not (tmp_path / ".saved").exists()


@pytest.mark.parametrize("link", [".saved", ".saved/model", ".saved/notes.json", "directions"])
def test_a_link_out_of_a_folder_is_followed_by_no_save(link, tmp_path):
    outside, folder = tmp_path / "Documents", tmp_path / "model"
    outside.mkdir()
    (outside / "x.json").write_text("mine")
    (folder / link).parent.mkdir(parents=True)
    (folder / link).symlink_to(outside)
    if link == "directions":
        (folder / ".saved" / "directions").mkdir(parents=True)
        (folder / ".saved" / "directions" / "x.json").write_text("theirs")

    def write():
        with together(folder) as stage:
            (stage / "config.json").touch()

    with pytest.raises(OSError, match="remove it"):
        write()
    assert [path.name for path in outside.iterdir()] == ["x.json"]
    assert (outside / "x.json").read_text() == "mine"


def test_a_save_moves_no_file_that_no_save_has_written(tmp_path):
    (tmp_path / ".saved").mkdir()
    (tmp_path / ".saved" / "letter.txt").write_text("mine")

    def write():
        with together(tmp_path) as stage:
            (stage / "config.json").touch()

    with pytest.raises(OSError, match=r"letter\.txt: remove it"):
        write()
    assert (tmp_path / ".saved" / "letter.txt").read_text() == "mine"


def test_the_same_name_may_hold_another_mask(tmp_path):
    path = tmp_path / "mask.png"
    path.write_bytes(b"one")
    before = file_word(str(path))
    path.write_bytes(b"two")
    assert file_word(str(path)) != before
    assert file_word("face") == "face"


def test_a_folder_of_a_name_that_no_file_can_have_is_refused_in_a_sentence():
    with (
        pytest.raises(WeightsError, match=r"cannot be made or written: .*null"),
        whole(Path("a\0b")),
    ):
        pass
