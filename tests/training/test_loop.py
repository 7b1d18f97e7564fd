"""The training loop: resuming, stopping, several processes."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

import phase_processes
import toy_training
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.errors import ConfigError, TrainingError
from stylefeatureeditor.metrics.efficientnet_lite import EfficientNetLite
from stylefeatureeditor.training import loop
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.training.loop import LoopConfig, make_accelerator
from stylefeatureeditor.training.run_log import Meter
from tiny import SIZE
from toy_training import (
    ToyPhase,
    final_model,
    read_log,
    run,
    toy_config,
    toy_images,
    write_pictures,
)

if TYPE_CHECKING:
    from pathlib import Path

    from stylefeatureeditor.data.images import ImageSet

pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, 11)
    return folder


@pytest.fixture(scope="module")
def images(pictures: Path) -> ImageSet:
    return toy_images(pictures)


@pytest.fixture(scope="module")
def whole_run(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 steps that nothing has stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert run(ToyPhase(), toy_config(), images, folder, mirror=True).finished
    return folder


def assert_same_run(folder: Path, other: Path) -> None:
    assert read_log(folder) == read_log(other)
    ours, theirs = final_model(folder), final_model(other)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0)


def launch(pictures: Path, folder: Path, env: dict[str, str], **settings: Any) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, toy_training.__file__, pictures, folder, json.dumps(settings)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_loss_falls_and_every_step_is_logged_once(whole_run: Path):
    lines = read_log(whole_run)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]


def test_resumed_run_repeats_the_uninterrupted_one(
    whole_run: Path, images: ImageSet, tmp_path: Path
):
    run(ToyPhase(), toy_config(steps=7), images, tmp_path, mirror=True)
    phase = ToyPhase()
    run(phase, toy_config(), images, tmp_path, mirror=True, resume=True)
    assert phase.steps == list(range(7, 12))
    assert phase.seen == 48
    assert_same_run(tmp_path, whole_run)


def test_a_resumed_run_keeps_the_precision_that_it_began_with(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = {"quick": torch.bfloat16}
    monkeypatch.setattr(loop, "quick_training_dtype", lambda _device: found["quick"])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(ToyPhase(), toy_config(precision="bf16"), images, whole)
    run(ToyPhase(), toy_config(precision="auto", steps=7), images, parts)
    found["quick"] = torch.float32  # as on another machine
    run(ToyPhase(), toy_config(precision="auto"), images, parts, resume=True)
    assert_same_run(parts, whole)
    run(ToyPhase(), toy_config(precision="auto"), images, tmp_path / "new")
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "new", whole)


def test_sigterm_saves_and_a_resumed_run_goes_on(whole_run: Path, images: ImageSet, tmp_path: Path):
    ended = run(ToyPhase(at=6, act="term"), toy_config(), images, tmp_path, mirror=True)
    assert (ended.step, ended.finished) == (7, False)
    assert (tmp_path / "checkpoints" / "step-00000007" / "model" / "model.safetensors").is_file()
    assert not (tmp_path / "model").exists()
    assert run(ToyPhase(), toy_config(), images, tmp_path, mirror=True, resume=True).finished
    assert_same_run(tmp_path, whole_run)


def test_kill_9_in_a_step_or_in_a_save_loses_nothing_but_time(
    pictures: Path, images: ImageSet, tmp_path: Path
):
    whole = tmp_path / "whole"
    run(ToyPhase(), toy_config(), images, whole)
    acts = {"kill": 8, "kill in save": 9}
    started = {
        act: launch(pictures, tmp_path / act, {}, phase={"act": act, "at": at}, loop={})
        for act, at in acts.items()
    }
    for act, process in started.items():
        _, errors = process.communicate(timeout=60)
        assert process.returncode == -9, errors
        folder = tmp_path / act
        left = [path.name for path in (folder / "checkpoints").iterdir()]
        assert sum(name.startswith(".") for name in left) == (act == "kill in save")
        phase = ToyPhase()
        run(phase, toy_config(), images, folder, resume=True)
        assert phase.steps[0] == 5
        assert_same_run(folder, whole)
        left = sorted(path.name for path in (folder / "checkpoints").iterdir())
        assert left == ["step-00000005", "step-00000010", "step-00000012"]


def test_accumulated_parts_equal_the_whole_batch(images: ImageSet, tmp_path: Path):
    for parts in (1, 2, 4):
        config = toy_config(accumulate=parts)
        run(ToyPhase(noise=0), config, images, tmp_path / str(parts))
    for parts in ("2", "4"):
        for name, tensor in final_model(tmp_path / "1").items():
            torch.testing.assert_close(final_model(tmp_path / parts)[name], tensor)


def test_draws_of_a_step_depend_on_the_seed_and_not_on_the_caller(
    whole_run: Path, images: ImageSet, tmp_path: Path
):
    torch.manual_seed(99)
    run(ToyPhase(), toy_config(), images, tmp_path / "same", mirror=True)
    assert read_log(tmp_path / "same") == read_log(whole_run)
    run(ToyPhase(), toy_config(seed=1), images, tmp_path / "other", mirror=True)
    assert read_log(tmp_path / "other") != read_log(whole_run)


def test_nan_stops_the_run_and_names_the_last_good_checkpoint(images: ImageSet, tmp_path: Path):
    with pytest.raises(TrainingError, match=r"loss is inf at step 9; .*step-00000005"):
        run(ToyPhase(at=8, act="nan"), toy_config(), images, tmp_path)
    assert [line["step"] for line in read_log(tmp_path)] == list(range(1, 9))
    with pytest.raises(TrainingError, match="no checkpoint yet"):
        run(ToyPhase(at=0, act="nan"), toy_config(), images, tmp_path / "other")


def test_weights_that_are_not_finite_are_never_saved(images: ImageSet, tmp_path: Path):
    class Spoiled(ToyPhase):
        def train_step(self, photos: torch.Tensor, step: int) -> dict[str, float]:
            metrics = super().train_step(photos, step)
            if step == 9:
                self._plain().bias.data[0] = float("nan")
            return metrics

    with pytest.raises(TrainingError, match=r"model.bias is not finite .*step-00000005"):
        run(Spoiled(), toy_config(), images, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]


def test_a_folder_with_a_run_is_not_overwritten(images: ImageSet, tmp_path: Path):
    run(ToyPhase(), toy_config(steps=2), images, tmp_path)
    before = (tmp_path / "log.jsonl").read_text()
    with pytest.raises(ConfigError, match="already holds a run"):
        run(ToyPhase(), toy_config(steps=2), images, tmp_path)
    assert (tmp_path / "log.jsonl").read_text() == before


def test_resuming_an_empty_folder_begins_and_a_finished_run_stays(images: ImageSet, tmp_path: Path):
    run(ToyPhase(), toy_config(steps=2), images, tmp_path, resume=True)
    before = read_log(tmp_path)
    again = ToyPhase()
    assert run(again, toy_config(steps=2), images, tmp_path, resume=True).step == 2
    assert again.steps == []
    assert read_log(tmp_path) == before


def test_checkpoints_of_other_sizes_are_refused_in_a_sentence(images: ImageSet, tmp_path: Path):
    run(ToyPhase(), toy_config(steps=2), images, tmp_path)
    wider = ToyPhase()
    wider.model = torch.nn.Linear(4, 3)
    with pytest.raises(
        ConfigError, match=r"trained with other settings \(loop.steps\).*config.toml"
    ):
        run(wider, toy_config(steps=3), images, tmp_path, resume=True)


def test_a_full_disk_and_a_full_gpu_say_what_to_do(images: ImageSet, tmp_path: Path):
    class Full(ToyPhase):
        def save_model(self, folder: Path) -> None:
            raise OSError(28, "No space left on device", str(folder))

    class Large(ToyPhase):
        def train_step(self, *_: Any) -> dict[str, Any]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(TrainingError, match=r"No space left.*--resume") as told:
        run(Full(), toy_config(steps=2), images, tmp_path / "disk")
    assert "learning rate" not in str(told.value)
    with pytest.raises(TrainingError, match=r"--loop.batch-size.*--loop.accumulate 2"):
        run(Large(), toy_config(steps=2), images, tmp_path / "gpu")


def test_a_folder_in_which_another_process_trains_is_refused(images: ImageSet, tmp_path: Path):
    with FileLock(tmp_path / ".lock"), pytest.raises(ConfigError, match="another process trains"):
        run(ToyPhase(), toy_config(steps=2), images, tmp_path)


def test_processes_that_would_not_train_as_one_are_refused(monkeypatch, caplog):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "False")
    monkeypatch.setenv("MASTER_PORT", "29500")  # as `accelerate launch --num_processes 2` leaves it
    with caplog.at_level(logging.WARNING):
        make_accelerator(LoopConfig())
    assert "accelerate has started one process" in caplog.text
    monkeypatch.setattr(loop, "best_device", lambda: "mps")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were started, and cpu trains in one"):
        make_accelerator(LoopConfig())


def test_speed_leaves_out_what_is_no_training():
    meter = Meter()
    with meter.pausing():
        time.sleep(0.2)
    meter.lap(100)
    assert meter.speed > 1000


def test_a_batch_that_cannot_be_divided_is_refused(images: ImageSet, tmp_path: Path):
    with pytest.raises(ConfigError, match="batch of 4 cannot be divided among 1 processes"):
        run(ToyPhase(), toy_config(accumulate=3), images, tmp_path)
    with pytest.raises(ConfigError, match="steps should be at least 1"):
        LoopConfig(steps=0)


def test_changed_settings_are_named_on_resuming(
    images: ImageSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run(ToyPhase(), toy_config(steps=2), images, tmp_path)
    with caplog.at_level(logging.WARNING):
        run(ToyPhase(), toy_config(steps=3), images, tmp_path, resume=True)
    assert "settings changed since the run was last started: loop.steps" in caplog.text


def test_validation_samples_and_curves_are_written(images: ImageSet, tmp_path: Path):
    pytest.importorskip("tensorboard")
    config = toy_config(steps=3, validate_every=2, sample_every=2, tensorboard=True)
    run(ToyPhase(), config, images, tmp_path)
    assert [line["step"] for line in read_log(tmp_path, "validate")] == [2, 3]
    shown = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert shown == ["00000000.png", "00000002.png", "00000003.png"]
    picture = np.asarray(Image.open(tmp_path / "samples" / "00000000.png"))
    assert (picture[0, 0, 0], picture[-1, -1, -1]) == (0, 255)
    assert any((tmp_path / "tensorboard").iterdir())


def test_a_labelled_phase_gets_the_labels_of_its_photos(images: ImageSet, tmp_path: Path):
    class Labelled(ToyPhase):
        labels = torch.arange(len(images))

        def train_step(
            self, photos: torch.Tensor, step: int, labels: torch.Tensor
        ) -> dict[str, float]:
            torch.testing.assert_close(photos, images.photos(labels.tolist()))
            return ToyPhase.train_step(self, photos, step)

    assert run(Labelled(), toy_config(accumulate=2), images, tmp_path).finished


def test_channels_last_changes_the_layout_and_not_the_numbers(tmp_path: Path):
    finals, lite = {}, EfficientNetLite()
    for last in (False, True):
        folder = tmp_path / str(last)
        phase = phase_processes.make_phase("inverter")
        phase.image_loss.networks = LossNetworks(lite=lite)
        photos = folder / "images"
        folder.mkdir()
        phase_processes.write_photos(photos)
        config = toy_config(steps=1, channels_last=last, sample_every=0)
        run(phase, config, open_images(photos, SIZE), folder / "run")
        finals[last] = phase.model.state_dict() | lite.state_dict()
    wide = [name for name, w in finals[True].items() if w.dim() == 4 and min(w.shape) > 1]
    assert wide
    for name in wide:
        assert finals[True][name].is_contiguous(memory_format=torch.channels_last)
    for name, tensor in finals[False].items():
        torch.testing.assert_close(finals[True][name], tensor, rtol=1e-3, atol=1e-4)
