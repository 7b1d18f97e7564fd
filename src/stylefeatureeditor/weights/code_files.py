"""W and W+ codes as other tools write them: .pt, .npy and .npz, one or many in a file.

(D,)  (B, D)           W: e4e's and StyleGAN's projectors
(N, D)  (B, N, D)      W+
a table of one tensor, or with one called latent, latents, w, wplus, w_plus or codes
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stylefeatureeditor.editing.catalog import to_tensor
from stylefeatureeditor.errors import DirectionError, WeightsError
from stylefeatureeditor.files import atomic_path
from stylefeatureeditor.weights.unpickle import read_array, read_arrays, read_torch

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

MAX_NUMBERS = 1 << 26  # 7,000 codes of 1024 px
NAMES = ("latent", "latents", "w", "wplus", "w_plus", "codes")


def read_codes(path: Path, num_styles: int, style_dim: int) -> Tensor:
    """Return the W+ codes of a .pt, .pth, .npy or .npz, (B, N, D), running none of its code.

    WeightsError if the file is damaged, holds something else than codes of N styles of D, or more
    than MAX_NUMBERS numbers.
    """
    content = _content(path)
    if isinstance(content, Mapping):
        named = [content[name] for name in NAMES if name in content]
        content = next(iter(named or (content.values() if len(content) == 1 else ())), None)
    shape = tuple(getattr(content, "shape", ()))
    repeats = 1 if shape[-2:] == (num_styles, style_dim) else num_styles
    if math.prod(shape) * repeats > MAX_NUMBERS:
        raise WeightsError(f"{path} holds numbers of shape {shape}, too many for codes: split it")
    try:
        codes = to_tensor(path.name, content)
    except DirectionError as error:
        raise WeightsError(f"{path} holds no codes: {error}") from error
    match shape:
        case (n, d) if (n, d) == (num_styles, style_dim):
            return codes[None]
        case (_, n, d) if (n, d) == (num_styles, style_dim):
            return codes
        case (d,) | (_, d) | (_, 1, d) if d == style_dim:
            return codes.reshape(-1, 1, d).repeat(1, num_styles, 1)
    raise WeightsError(
        f"{path} holds numbers of shape {shape}; codes of this generator are ({style_dim},) or "
        f"({num_styles}, {style_dim}), one or many"
    )


def _content(path: Path) -> Any:
    if path.suffix.lower() == ".npy":
        return read_array(path)
    return read_arrays(path) if path.suffix.lower() == ".npz" else read_torch(path)


def save_codes(codes: Tensor, path: Path) -> Path:
    """Write W+ codes, (B, N, D), as .npy or .pt, whole, else WeightsError; return the path."""
    codes = codes.detach().float().cpu()
    if path.suffix.lower() not in (".npy", ".pt"):
        raise WeightsError(f"{path.name}: codes are written as .npy or .pt")
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            if path.suffix.lower() == ".npy":
                np.save(file, codes.numpy())
            else:
                torch.save(codes, file)
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {error.strerror}") from error
    return path
