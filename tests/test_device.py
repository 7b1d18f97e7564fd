"""Devices by name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from fake_gpu import FakeGpu
from stylefeatureeditor import device
from stylefeatureeditor.device import (
    average_pool,
    best_device,
    find_device,
    grid_sample,
    quick_dtype,
    quick_training_dtype,
    set_arithmetic,
)
from stylefeatureeditor.errors import ConfigError


def test_auto_is_the_best_there_is():
    assert find_device("auto") == torch.device(best_device())


def test_a_device_that_is_there_is_returned():
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize(("count", "name"), [(0, "cuda"), (0, "cuda:0"), (2, "cuda:2")])
def test_a_gpu_that_is_not_there_is_one_sentence(monkeypatch, count, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ConfigError, match=f"there is no device {name} on this machine"):
        find_device(name)


def test_a_gpu_that_is_there_passes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda:1") == torch.device("cuda", 1)


def test_mps_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="there is no device mps"):
        find_device(torch.device("mps"))


@pytest.mark.parametrize("name", ["tpu9", "", "cuda:x"])
def test_a_name_that_is_no_device_is_one_sentence(name):
    with pytest.raises(ConfigError, match="a device is auto, cpu"):
        find_device(name)


@pytest.mark.parametrize(
    ("device", "able", "dtype"),
    [
        ("cpu", {"amx_bf16": True}, torch.bfloat16),
        ("cpu", {"amx_bf16": False, "avx512_bf16": True}, torch.float32),
        ("cpu", {"avx512_f": True}, torch.float32),
        ("cuda", {"amx_bf16": True}, torch.float32),
    ],
)
def test_convolutions_are_quickest_in_what_the_processor_multiplies(
    monkeypatch, device, able, dtype
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert quick_dtype(torch.device(device)) == dtype


def test_an_older_torch_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert quick_dtype(torch.device("cpu")) == torch.float32


def test_training_on_a_cpu_takes_what_was_measured_to_be_faster(monkeypatch):
    cpu, times = torch.device("cpu"), {torch.float32: 2.0, torch.bfloat16: 1.0}
    measured = device._seconds_of_convolution
    assert all(measured(dtype) > 0 for dtype in times)
    monkeypatch.setattr(device, "_seconds_of_convolution", times.__getitem__)
    assert quick_training_dtype(cpu) == torch.bfloat16
    times[torch.bfloat16] = 3.0
    assert quick_training_dtype(cpu) == torch.float32
    assert quick_training_dtype(torch.device("mps")) == torch.float32


FORKED = """
import os, signal, torch
import stylefeatureeditor.device
torch.set_num_threads(2)
work = lambda: torch.nn.functional.conv2d(torch.rand(1, 64, 128, 128), torch.rand(64, 64, 3, 3))
work()
if (child := os.fork()) == 0:
    signal.alarm(30)  # ends a process that waits for threads that it does not have
    work()
    os._exit(torch.get_num_threads() - 1)
os._exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX forks")
def test_a_forked_process_does_not_wait_for_threads_of_its_parent():
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    assert subprocess.run([sys.executable, "-c", FORKED], env=environment).returncode == 0


def test_cuda_computes_exactly_but_in_training():
    places = (
        (torch.backends.cuda.matmul, "allow_tf32"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cudnn, "benchmark"),
    )
    before = [getattr(*place) for place in places]
    try:
        for quick in (True, False):
            set_arithmetic(torch.device("cuda"), quick=quick)
            set_arithmetic(torch.device("cpu"), quick=not quick)  # says nothing of CUDA
            assert [getattr(*place) for place in places] == [quick] * 3
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(*place, value)


def test_what_mps_lacks_is_computed_alike_by_other_means():
    x, grid = torch.rand(2, 3, 9, 14), 3 * torch.rand(2, 5, 4, 2) - 1.5
    pooled = average_pool(x, 4)
    read = {mode: grid_sample(x, grid, mode) for mode in ("border", "reflection")}
    with FakeGpu("mps"):
        assert torch.allclose(average_pool(x.to("mps"), 4).cpu(), pooled, atol=1e-6)
        for mode, expected in read.items():
            found = grid_sample(x.to("mps").requires_grad_(), grid.to("mps"), mode)
            assert torch.allclose(found.cpu(), expected, atol=1e-5), mode
