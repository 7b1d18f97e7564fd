"""Devices by name."""

from __future__ import annotations

import pytest
import torch

from stylefeatureeditor import device
from stylefeatureeditor.device import best_device, find_device, quick_dtype, quick_training_dtype
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
