"""Where the networks can run on this machine, and what a kind of device needs or lacks."""

from __future__ import annotations

import os
import time
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from stylefeatureeditor.errors import ConfigError

if hasattr(os, "register_at_fork"):
    # threads do not survive a fork: a forked process would wait for those of its parent for ever
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def best_device() -> str:
    """Return "cuda", "mps" or "cpu", the first that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def quick_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype for convolutions whose result need not be exact.

    bfloat16 on CPUs with AMX, about half the time; else float32, whose Winograd convolutions are
    quicker than bfloat16 without AMX (docs/LOG.md).
    """
    if device.type != "cpu":
        return torch.float32
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # new in torch 2.10
    return torch.bfloat16 if able.get("amx_bf16") else torch.float32


def quick_training_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype that networks train faster in, bfloat16 or float32.

    A GPU takes bfloat16 if it has it. A CPU is measured, within a second, on a 3x3 convolution and
    its gradients: bfloat16 has 0.6 to 7 times float32's rate, and what it has says little of it.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    if device.type != "cpu":
        return torch.float32
    dtypes = (torch.float32, torch.bfloat16)
    best = dict.fromkeys(dtypes, float("inf"))
    for _ in range(5):  # the first is a warm-up
        for dtype in dtypes:
            best[dtype] = min(best[dtype], _seconds_of_convolution(dtype))
    return min(dtypes, key=best.__getitem__)


def _seconds_of_convolution(dtype: torch.dtype) -> float:
    """Processor time of a 3x3 convolution with gradients, 64 -> 64 channels on 16 x 32 x 32."""
    x, weight = torch.ones(16, 64, 32, 32, dtype=dtype), torch.ones(64, 64, 3, 3, dtype=dtype)
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    with torch.enable_grad():
        start = time.process_time()
        y = functional.conv2d(x.requires_grad_(), weight.requires_grad_(), padding=1)
        torch.autograd.backward(y, torch.ones_like(y))
        return time.process_time() - start


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on a device, without a wait: CUDA reads page-locked memory by itself."""
    if device.type == "cuda" and not tensor.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type == "cuda")


def set_arithmetic(device: torch.device, *, quick: bool) -> None:
    """Set how CUDA computes in this process; other devices have nothing to set.

    `quick` rounds the factors of float32 products to TF32 (10 bits), and tries which convolution is
    the fastest, which pays where shapes repeat: training.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = quick
        torch.backends.cudnn.benchmark = quick


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def average_pool(x: Tensor, side: int) -> Tensor:
    """Return means over side x side cells, (B, C, side, side), as `adaptive_avg_pool2d` takes them.

    MPS had it for sides that divide alone until December 2025.
    """
    if x.device.type != "mps":
        return functional.adaptive_avg_pool2d(x, side)
    down, across = (_cells(length, side, x.device) for length in x.shape[-2:])
    return (down @ x.float() @ across.t()).to(x.dtype)


def _cells(length: int, count: int, device: torch.device) -> Tensor:
    """Return the matrix (count, length) of means over `count` cells of a line."""
    cell, place = torch.arange(count, device=device)[:, None], torch.arange(length, device=device)
    first, end = cell * length // count, ((cell + 1) * length + count - 1) // count
    inside = ((place >= first) & (place < end)).float()
    return inside / inside.sum(dim=1, keepdim=True)


def grid_sample(x: Tensor, grid: Tensor, padding_mode: Literal["border", "reflection"]) -> Tensor:
    """Return images (B, C, H, W) read at places (B, h, w, 2), as `functional.grid_sample` reads.

    Bilinear, corners not aligned. On MPS that has no backward pass: four reads take its place.
    """
    if x.device.type != "mps":
        return functional.grid_sample(
            x, grid, mode="bilinear", padding_mode=padding_mode, align_corners=False
        )
    height, width = x.shape[-2:]
    column, row = (grid[..., 0] + 1) * width / 2, (grid[..., 1] + 1) * height / 2
    if padding_mode == "reflection":
        column = width - (column.remainder(2 * width) - width).abs()
        row = height - (row.remainder(2 * height) - height).abs()
    column, row = (column - 0.5).clamp(0, width - 1), (row - 0.5).clamp(0, height - 1)
    read = torch.zeros_like(x[:, :, :1, :1])
    for at_row in (row.floor(), row.floor() + 1):
        for at_column in (column.floor(), column.floor() + 1):
            weight = (1 - (row - at_row).abs()) * (1 - (column - at_column).abs())
            place = at_row.clamp(max=height - 1) * width + at_column.clamp(max=width - 1)
            places = place.long().flatten(1)[:, None].expand(-1, x.shape[1], -1)
            read = (
                read
                + x.flatten(2).gather(2, places).view(*x.shape[:2], *place.shape[1:])
                * (weight[:, None])
            )
    return read


def find_device(name: str | torch.device) -> torch.device:
    """Return a device by name; "auto" is the best there is.

    If it is CUDA, this process convolves and multiplies in exact float32 from here on.

    Raises:
        ConfigError: no device is called so, or this machine has none.
    """
    try:
        device = torch.device(best_device() if name == "auto" else name)
    except RuntimeError as error:
        raise ConfigError(
            f"a device is auto, cpu, mps, cuda or cuda:1 and so on, got {name!r}"
        ) from error
    missing = {
        "cuda": torch.cuda.device_count() <= (device.index or 0),
        "mps": not torch.backends.mps.is_available(),
    }
    if missing.get(device.type):
        raise ConfigError(f"there is no device {device} on this machine; use the device cpu")
    set_arithmetic(device, quick=False)
    return device
