r"""Paths as Windows writes them: C:\photos\a.png, backslashes in tables and archives, CRLF."""

from __future__ import annotations

import zipfile
from pathlib import PurePosixPath, PureWindowsPath

import pytest
import torch

from fuzz.seeds import pictures
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.cli.train import options
from stylefeatureeditor.data.attribute_table import read_attribute_table
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.photo.image import read_photo, save_photo
from stylefeatureeditor.training import presets
from stylefeatureeditor.weights.configs import changed, read_mapping, write_config
from synthetic_face import soft_photo

pytestmark = pytest.mark.usefixtures("one_thread")
WINDOWS = r"C:\Users\Jürgen\new photos\tom.png"


def test_a_photo_that_is_not_there_is_one_sentence_that_names_it():
    with pytest.raises(PhotoError) as caught:
        read_photo(WINDOWS)
    assert WINDOWS in str(caught.value)


def test_the_command_line_names_it_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["edit", WINDOWS, "-e", "smile=1"]) == 2
    assert r"new photos\tom.png" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_settings_keep_backslashes(suffix, tmp_path):
    from dataclasses import replace

    run = presets.inverter_run("paper")
    run = replace(run, data=replace(run.data, source=(WINDOWS, r"\\server\share\new\table")))
    write_config(run, tmp_path / f"config{suffix}")
    assert changed(run, read_mapping(tmp_path / f"config{suffix}")) == run


def test_flags_keep_backslashes():
    _, run = options("attributes", ["--data", WINDOWS])
    assert run.data.source == (WINDOWS,)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_table_made_on_windows_fits_images_named_anywhere(end, mark, tmp_path):
    rows = ["file,smile", r"faces\one.png,1", r"C:\data\faces\two.png,0"]
    (tmp_path / "t.csv").write_bytes(mark + end.join(rows).encode())
    table = read_attribute_table(tmp_path / "t.csv").align(["faces/one.png", "other/two.png"])
    assert torch.equal(table.column("smile"), torch.tensor([1.0, -1.0]))


def test_a_celeba_table_with_crlf_is_read(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"1\r\nSmiling\r\n000001.jpg -1\r\n")
    assert read_attribute_table(tmp_path / "list.txt").values.tolist() == [[-1.0]]


@pytest.mark.parametrize("folder", ["", "faces\\"])
def test_an_archive_made_on_windows_is_read_with_its_table(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, content in (
            (f"{folder}manifest.csv", b"file,smile\r\nin\\a.png,1\r\nin\\b.png,0\r\n"),
            (f"{folder}in\\a.png", pictures()["a.png"]),
            (f"{folder}in\\b.png", pictures()["palette.png"]),
        ):
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, content)
    images = open_images(tmp_path / "set.zip", 8)
    assert [row["smile"] for row in images.rows] == ["1", "0"]
    assert not images.skipped


def test_no_member_of_an_archive_is_ever_written_to_disk(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    with zipfile.ZipFile("set.zip", "w") as archive:
        for name in ("../out.png", "/abs.png", r"..\out.png", r"C:\out.png"):
            archive.writestr(name, pictures()["a.png"])
    assert len(open_images("set.zip", 8)) == 4
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "set.zip"]


def test_a_direction_file_with_a_path_is_refused():
    from stylefeatureeditor.editing.catalog import CatalogEntry
    from stylefeatureeditor.errors import DirectionError

    with pytest.raises(DirectionError, match="bare file name"):
        CatalogEntry(name="a", kind="linear", useful_range=(-1.0, 1.0), file="../a.pt")


def test_outputs_keep_the_separator_of_their_system(tmp_path):
    path = save_photo(soft_photo(8, 8), tmp_path / "sub.folder.png")
    assert PurePosixPath(path.as_posix()).name == "sub.folder.png"
    assert PureWindowsPath(WINDOWS).name == "tom.png"


def test_a_missing_source_is_one_sentence():
    with pytest.raises(ConfigError, match="is not there"):
        open_images(WINDOWS, 8)
