"""Peak memory of a pass: of the GPU if that is the device, else of the process with all it holds.

The peak counts from the start of the pass where the system can reset it (CUDA, Linux), else from
the start of the process. It is kept beside the rows; an interrupted pass has the largest of its
parts.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterator

PEAK_FILE = "peak.json"
MIB = 2**20
STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@contextlib.contextmanager
def record_peak_memory(folder: Path, device: torch.device | str) -> Iterator[None]:
    """Measure what runs inside, and note it in the folder of the pass."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif FORGET.exists():
        with contextlib.suppress(OSError):
            FORGET.write_text("5")
    try:
        yield
    finally:
        peaks = [peak for peak in (_peak(device), read_peak_memory(folder)) if peak is not None]
        if peaks:
            with atomic_path(folder / PEAK_FILE) as path:
                path.write_text(json.dumps({"mib": max(peaks)}) + "\n", encoding="utf-8")


def read_peak_memory(folder: Path) -> float | None:
    """Return the peak of a pass in MiB; None if none was noted."""
    try:
        return float(json.loads((folder / PEAK_FILE).read_text("utf-8"))["mib"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _peak(device: torch.device | str) -> float | None:
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    if STATUS.exists():  # getrusage would count memory inherited from the parent
        lines = STATUS.read_text().splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if "VmHWM" in line), None)
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB  # macOS, in bytes
