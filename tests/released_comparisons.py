"""Comparison of a method's pictures and features with the numbers of its release."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

from torch.nn.functional import adaptive_avg_pool2d

from released import TOLERANCE, assert_close, golden
from seeded import seeded_input
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.weights import convert

if TYPE_CHECKING:
    from torch import Tensor

STRENGTH = 0.5  # of the edit, in every method


def direction() -> EditDirection:
    """The edit that every release made, w + 0.5 d."""
    return EditDirection.linear(seeded_input("cmp.direction", (1, 18, 512))[0])


def load_from(loader, *contents):
    """Return what a loader makes of checkpoints that exist in memory only."""
    paths = [Path(f"{index}.pt") for index, _ in enumerate(contents)]
    known = dict(zip(paths, contents, strict=True))
    original, convert.read_torch = convert.read_torch, known.__getitem__
    try:
        return loader(*paths)
    finally:
        convert.read_torch = original
        gc.collect()


def assert_picture(pixels: Tensor, method: str, case: str, tolerance: float = TOLERANCE) -> None:
    """Compare a 1024 px picture with its means over 16 x 16 blocks and its centre."""
    numbers = golden(f"cmp_{method}")
    std = numbers[f"{case}/stats"][1]
    assert_close(adaptive_avg_pool2d(pixels, 16), numbers[f"{case}/pool16"], std, tolerance)
    if f"{case}/crop" in numbers:
        assert_close(pixels[..., 496:528, 496:528], numbers[f"{case}/crop"], std, tolerance)
