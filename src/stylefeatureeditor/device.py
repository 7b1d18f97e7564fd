"""Where the networks can run on this machine."""

from __future__ import annotations

import time

import torch
from torch.nn import functional

from stylefeatureeditor.errors import ConfigError


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


def find_device(name: str | torch.device) -> torch.device:
    """Return a device by name; "auto" is the best there is.

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
    return device
