"""Several processes train the networks of the method as one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

import phase_processes
from stylefeatureeditor.weights.checkpoint import load_model
from toy_training import read_log

pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes") / "images"
    phase_processes.write_photos(folder)
    return folder


@pytest.fixture(scope="module")
def two(images):
    """The runs of two processes, half of the batch each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    folder = images.parent / "two"
    both = [
        subprocess.Popen(
            [sys.executable, phase_processes.__file__, images, folder],
            env={**os.environ, **address, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert "bucket" not in errors  # channels last is set before the gradients have a layout
    return folder


@pytest.mark.parametrize("name", ["e4e", "inverter", "feature_editor"])
def test_after_five_steps_two_processes_have_the_weights_of_one(name, two, images, tmp_path):
    phase_processes.train(name, images, tmp_path)
    one, other = (
        getattr(load_model(folder / name / "model"), name).state_dict()
        for folder in (tmp_path, two)
    )
    start = getattr(phase_processes.make_phase(name).model, name).state_dict()
    assert any((one[key] - start[key]).abs().max() > 1e-4 for key in one)
    for key, tensor in one.items():
        torch.testing.assert_close(other[key], tensor, rtol=0, atol=1e-5)
    validated = [read_log(folder / name, "validate") for folder in (two, tmp_path)]
    assert len(validated[0]) == (name == "inverter")
    for ours, theirs in zip(*validated, strict=True):  # each has judged a share
        assert ours == pytest.approx(theirs, abs=1e-5)
    for ours, theirs in zip(read_log(two / name), read_log(tmp_path / name), strict=True):
        distances = [key for key in ours if key.endswith("l2")]
        assert distances
        for key in distances:
            assert ours[key] == pytest.approx(theirs[key], abs=1e-5)


def test_path_lengths_pass_with_unused_parameters(two):
    lines = read_log(two / "generator")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[-1]["path_length"] > 0
