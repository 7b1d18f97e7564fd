"""Where the networks can run on this machine."""

from __future__ import annotations

import torch

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
