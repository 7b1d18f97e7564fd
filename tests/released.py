"""Checkpoints in the published layouts, with seeded weights: what a user would download.

`golden()` reads the numbers that the released implementation computed with these very weights.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from seeded import draw, latent_avg, seeded_state
from stylefeatureeditor.generator.layers import blur_kernel

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-4  # of the tensor's std, float32 on CPU


@cache
def golden(name: str) -> dict[str, np.ndarray]:
    """Return the arrays of one golden set."""
    with np.load(GOLDEN / f"{name}.npz") as content:
        return dict(content)


@cache
def layouts() -> dict[str, list]:
    """Return name -> [(key, shape), ...] of published files."""
    return json.loads((GOLDEN / "layouts.json").read_text())


def seeded_layout(name: str, prefix: str, keep: str = "") -> dict[str, Tensor]:
    """Return the state of a layout, valued by the seeded rule; `keep` selects a key prefix.

    Buffers that the rule leaves alone get what their constructors give them.
    """
    entries = [(key, shape) for key, shape in layouts()[name] if key.startswith(keep)]
    state = seeded_state(entries, prefix)
    for key, shape in entries:
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros(shape, dtype=torch.int64)
        elif key.endswith(".kernel"):
            state[key] = blur_kernel(gain=1.0 if "discriminator" in prefix + key else 4.0)
        elif key.endswith("resample_filter"):
            state[key] = blur_kernel()
    return state


def released_files(folder: Path) -> dict[str, Path]:
    """Write the three files of the released face model; return their paths by option name."""
    whole = seeded_layout("sfe", "")
    take = {"inverter": {}, "encoder": {}, "decoder": {}, "e4e_encoder": {}, "discriminator": {}}
    for key, value in whole.items():
        prefix, _, rest = key.partition(".")
        take[prefix][rest] = value
    light = {
        f"{prefix}.{key}": value
        for prefix in ("inverter", "encoder")
        for key, value in take[prefix].items()
    }
    paths = {name: folder / f"{name}.pt" for name in ("sfe", "generator", "e4e")}
    torch.save({"state_dict": light}, paths["sfe"])
    torch.save({"g_ema": take["decoder"], "latent_avg": latent_avg()}, paths["generator"])
    wrapped = {f"encoder.{key}": value for key, value in take["e4e_encoder"].items()}
    torch.save({"state_dict": wrapped}, paths["e4e"])
    return paths


def nvidia_value(key: str, shape: list[int], prefix: str) -> Tensor:
    """Return a seeded tensor of an NVIDIA generator: the rule has other scales there."""
    normal = draw(prefix + key, shape)
    leaf = key.rpartition(".")[2]
    if key.endswith("affine.bias"):
        return 1 + 0.1 * normal
    if leaf == "w_avg":
        return 0.5 * normal
    if key.startswith("mapping."):
        return normal * (100 if leaf == "weight" else 10)
    if leaf in ("bias", "noise_strength"):
        return 0.1 * normal
    return 0.2 * normal if key.endswith("torgb.weight") else normal


def assert_close(
    actual: Tensor,
    expected: np.ndarray | Tensor,
    std: float | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Fail unless the largest difference is below the tolerance, in units of the std."""
    expected = torch.as_tensor(expected)
    assert actual.shape == expected.shape
    std = float(expected.std()) if std is None else float(std)
    worst = float((actual.double() - expected.double()).abs().max()) / std
    assert worst < tolerance, f"differs by {worst:.1e} of the std"


def assert_image(pixels: Tensor, numbers: dict[str, np.ndarray], case: str) -> None:
    """Compare an image with its golden reductions."""
    std = numbers[f"{case}/stats"][1]
    assert_close(adaptive_avg_pool2d(pixels, 64), numbers[f"{case}/pool64"], std)
    if f"{case}/crop" in numbers:
        assert_close(pixels[..., 480:544, 480:544], numbers[f"{case}/crop"], std)


def assert_features(features: Tensor, numbers: dict[str, np.ndarray], case: str) -> None:
    """Compare a feature tensor with its golden subsample."""
    channels, side = numbers[f"{case}/stride"].tolist()
    std = numbers[f"{case}/stats"][1]
    assert_close(features[:, ::channels, ::side, ::side], numbers[f"{case}/strided"], std)
