"""Runs over photos: streamed, shared, interrupted, resumed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.errors import ConfigError, PhotoError, ShapeError
from stylefeatureeditor.evaluation.inversion import (
    evaluate_images,
    evaluate_inversion,
    reconstruction,
)
from stylefeatureeditor.evaluation.photo_sets import match_by_name
from stylefeatureeditor.evaluation.runner import Drawer, Processes, run_pass
from toy_methods import (
    SIDE,
    Darker,
    MemoryPhotos,
    toy_evaluation,
    toy_photos,
    toy_suite,
    write_photos,
)


def values_of(table) -> dict[str, list[float]]:
    return {
        name: column.tolist() for name, column in table.columns.items() if name != "seconds_invert"
    }


def features_of(done) -> torch.Tensor:
    (extractor,) = toy_suite().extractors
    return done.features(extractor)[np.arange(len(done.table))]


def run(evaluation, method=None):
    done = run_pass(evaluation, "toy", reconstruction(method or Darker()))
    return done, done.table


def test_every_photo_gets_its_own_numbers(tmp_path):
    evaluation = toy_evaluation(tmp_path)
    done, table = run(evaluation)
    photo = evaluation.photos.image(7).float() / 127.5 - 1
    assert table.names == evaluation.photos.names
    assert table.columns["l2"][7] == pytest.approx((photo * 0.1).square().mean().item(), rel=0.05)
    assert (table.columns["seconds_invert"] > 0).all()
    assert features_of(done).abs().sum(dim=1).min() > 0


def test_memory_and_files_give_the_same_numbers(tmp_path):
    _, memory = run(toy_evaluation(tmp_path / "a"))
    folder = write_photos(tmp_path / "png", toy_photos())
    _, files = run(toy_evaluation(tmp_path / "b", photos=open_images(folder, SIDE, memory_gib=0)))
    assert values_of(files) == values_of(memory)


def test_float_photos_count_as_their_8_bit_files(tmp_path):
    pixels = torch.rand(4, 3, SIDE, SIDE) * 2 - 1
    photos = MemoryPhotos(pixels, [f"{i}.png" for i in range(4)])
    folder = write_photos(tmp_path / "png", photos)
    _, memory = run(toy_evaluation(tmp_path / "a", photos=photos))
    _, files = run(toy_evaluation(tmp_path / "b", photos=open_images(folder, SIDE, memory_gib=0)))
    assert values_of(files) == values_of(memory)


def test_two_processes_give_what_one_gives(tmp_path):
    one_pass, one = run(toy_evaluation(tmp_path / "one"))
    methods = [Darker(), Darker()]
    first, second = (
        toy_evaluation(tmp_path / "two", processes=Processes(rank=rank, count=2)) for rank in (0, 1)
    )
    with pytest.raises(KeyError):  # nobody waits here, so it finds the other's rows missing
        run(second, methods[1])
    done, two = run(first, methods[0])
    assert values_of(two) == values_of(one)
    assert torch.equal(features_of(done), features_of(one_pass))
    assert [method.calls for method in methods] == [2, 2]  # four batches, shared
    assert two.names == one.names


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    whole_task, whole = run(toy_evaluation(tmp_path / "whole"))
    evaluation = toy_evaluation(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        run(evaluation, Darker(stop_after=2))
    again = Darker()
    done, resumed = run(evaluation, again)
    assert again.calls == 2
    assert values_of(resumed) == values_of(whole)
    assert torch.equal(features_of(done), features_of(whole_task))


def test_a_line_cut_in_the_middle_is_measured_again(tmp_path):
    evaluation = toy_evaluation(tmp_path)
    _, whole = run(evaluation)
    rows = tmp_path / "toy" / "rows-0.jsonl"
    rows.write_bytes(rows.read_bytes()[:-7])
    again = Darker()
    _, resumed = run(evaluation, again)
    assert again.calls == 1
    assert values_of(resumed) == values_of(whole)


def test_a_finished_run_is_not_done_again(tmp_path):
    _, first = run(toy_evaluation(tmp_path))
    idle = Darker()
    _, second = run(toy_evaluation(tmp_path), idle)
    assert idle.calls == 0
    assert second.columns["seconds_invert"].tolist() == first.columns["seconds_invert"].tolist()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"batch_size": 2}, "batch size"),
        ({"photos": toy_photos(9)}, "photos"),
        ({"photos": toy_photos(name="toy.other")}, "content of the photos"),
        ({"suite": replace(toy_suite(), fingerprint="b")}, "networks that measure"),
    ],
)
def test_a_folder_of_another_run_is_refused(tmp_path, changes, what):
    run(toy_evaluation(tmp_path))
    with pytest.raises(ConfigError, match=f"another evaluation .{what}"):
        run(toy_evaluation(tmp_path, **changes))


def test_other_images_of_the_same_names_are_not_the_ones_that_were_measured(tmp_path):
    evaluation = toy_evaluation(tmp_path / "run")
    for number, share in enumerate((0.9, 0.5)):
        folder = write_photos(tmp_path / f"images-{number}", toy_photos(), share)
        images = match_by_name(folder, evaluation.photos.names, SIDE)
        if number == 0:
            evaluate_images("other tool", images, evaluation)
        else:
            with pytest.raises(ConfigError, match="images beside them: "):
                evaluate_images("other tool", images, evaluation)


def test_another_method_does_not_continue_the_rows_of_the_first(tmp_path):
    run(toy_evaluation(tmp_path))
    with pytest.raises(ConfigError, match=r"drawer: reconstruction by darker 0\.9"):
        run(toy_evaluation(tmp_path), Darker(0.5))


def test_one_corrupt_image_costs_one_row(tmp_path):
    folder = write_photos(tmp_path / "png", toy_photos())
    (folder / "004.png").write_bytes(b"no picture")
    evaluation = toy_evaluation(tmp_path / "run", photos=open_images(folder, SIDE, memory_gib=0))
    _, table = run(evaluation)
    assert len(table) == 9
    assert "004.png" not in table.names
    (error,) = table.errors
    assert error.startswith("004.png: ")
    lines = (tmp_path / "run" / "toy" / "rows.csv").read_text().splitlines()
    assert len(lines) == 11


def test_nothing_but_corrupt_images_is_an_error(tmp_path):
    folder = write_photos(tmp_path / "png", toy_photos(2))
    evaluation = toy_evaluation(tmp_path / "run", photos=open_images(folder, SIDE, memory_gib=0))
    for file in folder.iterdir():
        file.write_bytes(b"no picture")
    with pytest.raises(PhotoError, match="none of the 2 images"):
        run(evaluation)


def test_a_drawer_of_another_size_is_refused(tmp_path):
    half = Drawer("half", lambda photos: (photos[:, :, ::2, ::2], {}))
    with pytest.raises(ShapeError, match="images of half"):
        run_pass(toy_evaluation(tmp_path), "half", half)


def test_the_batch_size_must_be_positive(tmp_path):
    with pytest.raises(ConfigError, match="batch size"):
        run(toy_evaluation(tmp_path, batch_size=0))


def test_progress_counts_the_photos(tmp_path):
    seen = []
    run(toy_evaluation(tmp_path, progress=lambda *what: seen.append(what)))
    assert seen == [("toy", 3, 10), ("toy", 6, 10), ("toy", 9, 10), ("toy", 10, 10)]


TWO_PROCESSES = """
import sys
from pathlib import Path
from stylefeatureeditor.evaluation.inversion import evaluate_inversion
from stylefeatureeditor.evaluation.runner import Processes
from toy_methods import Darker, toy_evaluation
processes = Processes.of_accelerate(cpu=True)
assert processes.count == 2
evaluation = toy_evaluation(Path(sys.argv[1]), processes=processes)
print(evaluate_inversion(Darker(), evaluation).values["fid"].value)
"""


def test_accelerates_processes_share_the_batches(tmp_path):
    pytest.importorskip("accelerate")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    shared["PYTHONPATH"] = str(Path(__file__).parents[1])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, str(tmp_path / "two")],
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    printed = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    one = evaluate_inversion(Darker(), toy_evaluation(tmp_path / "one"))
    values = [float(text.splitlines()[-1]) for text in printed]
    assert values == [one.values["fid"].value] * 2
    folder = tmp_path / "two" / "darker_0.9"
    counts = [(folder / f"rows-{rank}.jsonl").read_text().count("index") for rank in (0, 1)]
    assert counts == [6, 4]
