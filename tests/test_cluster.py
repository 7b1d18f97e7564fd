"""Rows through actors: what a worker makes of them, manifests, and Ray itself where it is."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from stylefeatureeditor.cluster import (
    FAILED,
    KEPT,
    LOCK,
    MADE,
    REPORT,
    Work,
    Worker,
    _join,
    read_manifest,
    spread,
)
from stylefeatureeditor.errors import ConfigError, DependencyError, FaceError, PhotoError


def copies(kind: str = "plain") -> Work:
    """Work that copies each photo, and keeps what is there."""

    def make(rows):
        for photo, output in rows:
            if Path(output).exists():
                yield KEPT, ""
                continue
            Path(output).write_bytes(Path(photo).read_bytes())
            yield MADE, photo

    return Work({"kind": kind}, make)


def worker(work: Work) -> Worker:
    return Worker(lambda: work, '{"kind": "plain"}')


@pytest.fixture
def photos(tmp_path):
    """Rows of files that are copied."""
    rows = []
    for number in range(40):
        photo = tmp_path / f"{number}.bin"
        photo.write_bytes(bytes([number]))
        rows.append((str(photo), str(tmp_path / f"{number}.out")))
    return rows


def batch_of(rows):
    return {"photo": [a for a, _ in rows], "output": [b for _, b in rows]}


def test_a_worker_returns_a_row_for_each_photo_in_order(photos):
    work = worker(copies())
    made = work(batch_of(photos[:3]))
    assert list(made) == ["photo", "output", "status", "message", "seconds"]
    assert made["photo"] == [photo for photo, _ in photos[:3]]
    assert made["status"] == [MADE] * 3
    assert len(set(made["seconds"])) == 1
    assert made["seconds"][0] > 0
    assert work(batch_of(photos[:3]))["status"] == [KEPT] * 3


@pytest.mark.parametrize(
    ("error", "said"),
    [(FaceError("no face was found"), "no face was found"), (KeyError("x"), "KeyError('x')")],
)
def test_what_work_raises_is_told_in_the_rows(error, said, photos):
    def make(_):
        raise error

    made = worker(Work({"kind": "plain"}, make))(batch_of(photos[:2]))
    assert (made["status"], made["message"]) == ([FAILED] * 2, [said] * 2)


def test_a_photo_may_be_an_address(photos, tmp_path):
    import fsspec

    with fsspec.open("memory://bucket/a.bin", "wb") as file:
        file.write(b"far")
    rows = [
        (f"memory://bucket/{name}", str(tmp_path / f"{name}.out")) for name in ("a.bin", "none")
    ]
    made = worker(copies())(batch_of([photos[0], *rows]))
    assert made["status"] == [MADE, MADE, FAILED]
    assert made["photo"][1:] == [photo for photo, _ in rows]
    assert made["message"][1].endswith("/a.bin")  # what made it saw a file of the photo's name
    assert made["message"][2].startswith("memory://bucket/none cannot be read")
    assert (tmp_path / "a.bin.out").read_bytes() == b"far"
    assert not Path(made["message"][1]).exists()


def test_a_machine_with_another_model_does_not_begin():
    with pytest.raises(ConfigError, match="another model or other files than the machine that"):
        worker(copies("other"))


def test_a_manifest_is_read_from_where_it_lies(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("output,photo,note\nx/a.png,a.jpg,1\nb.png,s3://bucket/b.jpg,2\n")
    assert read_manifest(path, tmp_path / "out") == [
        (str(tmp_path / "a.jpg"), str(tmp_path / "out/x/a.png")),
        ("s3://bucket/b.jpg", str(tmp_path / "out/b.png")),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("photo,out\na.jpg,a.png\n", "has no column 'output'"),
        ("photo,output\n", "must name a photo and an output"),
        ("photo,output\na.jpg\n", "must name a photo and an output"),
        ("photo,output\na.jpg,a.png\nb.jpg,a.png\n", "names the output a.png twice"),
        ("photo,output\na.jpg,a.png\nb.jpg,./a.png\n", "names the output a.png twice"),
        ("photo,output\na.jpg,../a.png\n", "../a.png is outside"),
        ("photo,output\na.jpg,/a.png\n", "/a.png is outside"),
        (b"photo,output\n\xff,a.png\n", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_manifest_is_refused_in_a_sentence(text, said, tmp_path):
    path = tmp_path / "rows.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PhotoError, match=said):
        read_manifest(path, tmp_path)


def test_without_ray_the_extra_is_named(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError, match=r"stylefeatureeditor\[ray\]"):
        spread(photos, copies, tmp_path)


def test_a_cluster_that_is_not_there_is_told_in_a_sentence():
    def init(*_, **__):
        raise Exception("timed out")

    with pytest.raises(ConfigError, match=r"or is not there, at 10\.0\.0\.1:6379: timed out"):
        _join(SimpleNamespace(init=init), "10.0.0.1:6379")


@pytest.fixture(scope="module")
def ray():
    """Ray on this machine, started once."""
    found = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    found.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield found
    found.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_an_actor_that_is_killed_ends_no_job(photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    died = tmp_path / "died"

    def dying():
        def make(rows):
            for photo, output in rows:
                if photo.endswith("/17.bin") and not died.exists():
                    died.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                Path(output).write_text(photo)
                yield MADE, ""

        return Work({}, make)

    out, seen = tmp_path / "out", []
    count = spread(photos, dying, out, batch_size=2, actors=2, see=seen.extend)
    assert died.exists()
    assert count == {MADE: 40}
    report = parquet.read_table(out / REPORT)
    assert report.column_names == ["photo", "output", "status", "message", "seconds"]
    assert sorted(report["photo"].to_pylist()) == sorted(photo for photo, _ in photos)
    assert report.to_pylist() == seen
    for photo, output in photos:
        assert Path(output).read_text() == photo


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_a_folder_belongs_to_one_job_at_a_time_and_to_one_kind_of_settings(photos, tmp_path):
    out = tmp_path / "out"

    def work(kind):
        return lambda: Work({"kind": kind}, lambda rows: [(MADE, "")] * len(rows))

    assert spread(photos, work("one"), out, actors=1) == {MADE: 40}
    with FileLock(out / LOCK), pytest.raises(ConfigError, match="another job writes to"):
        spread(photos, work("one"), out, actors=1)
    with pytest.raises(ConfigError, match="was made with other settings"):
        spread(photos, work("two"), out, actors=1)
    assert spread(photos, work("two"), out, actors=1, overwrite=True) == {MADE: 40}


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_what_opening_raises_on_another_machine_is_raised_here(photos, tmp_path):
    def refused():
        raise PhotoError("there is no model of that name")

    with pytest.raises(PhotoError) as error:
        spread(photos, refused, tmp_path / "out")
    assert str(error.value) == "there is no model of that name"
    assert type(error.value) is PhotoError
