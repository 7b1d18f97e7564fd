"""`sfe edit --ray` and `sfe invert --ray`: the same files as without, in actors."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from stylefeatureeditor.cli.cluster import open_work
from stylefeatureeditor.cli.edit import open_edits
from stylefeatureeditor.cli.invert import open_inversions
from stylefeatureeditor.cli.main import build_parser

SMILE = ("-e", "smile=2")


@pytest.fixture
def album(aligned):
    """Five photos, of which c is damaged."""
    folder = aligned.with_name("album")
    folder.mkdir()
    with Image.open(aligned) as photo:
        for number, name in enumerate("abcde"):
            photo.rotate(3 * number).save(folder / f"{name}.png")
    (folder / "c.png").write_bytes((folder / "c.png").read_bytes()[:300])
    return folder


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*_*")}


@pytest.mark.parametrize(
    ("words", "open_maker", "ending"),
    [(("edit", *SMILE), open_edits, "_edited"), (("invert",), open_inversions, "_inverted")],
)
def test_an_actor_makes_the_bytes_of_the_folder_run_once(
    words, open_maker, ending, album, model, sfe
):
    words = (words[0], album, "--aligned", *words[1:], "--model", model, "--batch-size", "3")
    here, there = album.with_name("here"), album.with_name("there")
    assert sfe(*words, "-o", here).code == 2
    args = build_parser().parse_args([*map(str, words), "-o", str(there)])
    work = open_work(args, open_maker)
    rows = [(str(album / f"{a}.png"), str(there / f"{a}{ending}.png")) for a in "abcde"]
    fates = [*work.make(rows[:3]), *work.make(rows[3:])]
    assert [status for status, _ in fates] == ["made", "made", "failed", "made", "made"]
    assert "c.png is damaged" in fates[2][1]
    assert files(there) == files(here)
    times = {path: path.stat().st_mtime_ns for path in there.iterdir()}
    assert work.make(rows[3:]) == [("kept", "")] * 2
    (there / f"b{ending}.png").unlink()  # as if an actor had died: its batch is done as before
    assert [status for status, _ in work.make(rows[:3])] == ["made", "made", "failed"]
    assert files(there) == files(here)
    after = {path: path.stat().st_mtime_ns for path in there.iterdir()}
    assert {path.name[0] for path in times if times[path] != after[path]} == {"a", "b"}


def test_an_output_of_other_settings_is_a_row_and_stays(album, model, sfe):
    words = ("edit", album, "--aligned", *SMILE, "--model", model, "-o", album.with_name("out"))
    sfe(*words)
    before = files(album.with_name("out"))
    args = build_parser().parse_args([*map(str, words), "--mask", "face"])
    row = str(album / "a.png"), str(album.with_name("out") / "a_edited.png")
    ((status, said),) = open_work(args, open_edits).make([row])
    assert status == "failed"
    assert "was made with other settings (mask none, now face)" in said
    assert files(album.with_name("out")) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a.png", *SMILE, "-o", "out"), "--ray takes a folder, several photos or a manifest"),
        ((".", *SMILE), "--ray writes to a folder: name it with -o"),
        (("none.csv", *SMILE, "-o", "out"), "the manifest none.csv cannot be read"),
        ((".", "-e", "smlie=2", "-o", "out"), "smlie"),
        (("itself.csv", *SMILE, "-o", "."), "a.png is the photo itself"),
        (("jpg.csv", *SMILE, "-o", "out"), "b.jpg must end in .png"),
    ],
)
def test_what_can_be_refused_is_refused_before_a_cluster_starts(
    words, said, album, model, sfe, monkeypatch
):
    monkeypatch.chdir(album)
    monkeypatch.setitem(sys.modules, "ray", None)
    Path("itself.csv").write_text("photo,output\na.png,a.png\n")
    Path("jpg.csv").write_text("photo,output\na.png,b.jpg\n")
    ran = sfe("edit", *words, "--model", model, "--ray")
    assert ran.code == 2
    assert said in ran.err
    assert not (album / "out").exists()


@pytest.mark.parametrize("command", [("edit", *SMILE), ("invert",)])
@pytest.mark.parametrize("words", [("--actors", "2"), ("--gpus", "1")])
def test_what_means_nothing_without_ray_is_refused(command, words, album, sfe):
    ran = sfe(command[0], album, *command[1:], "-o", album.with_name("out"), *words)
    assert (ran.code, ran.err) == (2, "sfe: --actors and --gpus go with --ray\n")


@pytest.mark.slow
def test_two_actors_make_what_the_folder_run_makes(album, model, sfe):
    pytest.importorskip("ray.data")
    parquet = pytest.importorskip("pyarrow.parquet")
    words = ("edit", album, "--aligned", *SMILE, "--model", model, "--batch-size", "2")
    here, there = album.with_name("here"), album.with_name("there")
    assert sfe(*words, "-o", here).code == 2
    on_ray = partial(sfe, *words, "-o", there, "--ray", "--actors", "2")
    ran = on_ray()
    assert ran.code == 2
    assert ran.out == f"4 made, 0 done before: {there / 'report.parquet'}\n"
    assert ran.err.splitlines()[-2].startswith(f"sfe: {album / 'c.png'}: c.png is damaged")
    assert files(there) == files(here)
    rows = parquet.read_table(there / "report.parquet").to_pylist()
    assert sorted((row["photo"][-5:], row["status"]) for row in rows) == [
        (f"{name}.png", "failed" if name == "c" else "made") for name in "abcde"
    ]
    (album / "c.png").unlink()
    ran = on_ray()
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("0 made, 4 done before")
    assert files(there) == files(here)
