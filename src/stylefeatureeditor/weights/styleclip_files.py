"""StyleCLIP's global text edits from published files.

    delta_i_c.npy      what each channel does in CLIP space
    S_mean_std         mean and spread of each channel, a pickle of two lists of arrays
    templates.txt      sentences with {} for the prompt, one per line
    clip-vit-base-patch32/   CLIP's text encoder as `transformers` stores it, with safetensors

Each is taken from the model's folder of direction files, else from where pulled files lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from stylefeatureeditor.editing.styleclip import StyleClipGlobal, clip_text_encoder
from stylefeatureeditor.errors import DirectionError, WeightsError
from stylefeatureeditor.files import member
from stylefeatureeditor.weights.direction_files import PUBLISHED
from stylefeatureeditor.weights.local_models import files_folder
from stylefeatureeditor.weights.unpickle import read_array, read_numpy_pickle

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from stylefeatureeditor.records import StyleLayout

CHANNELS, STATISTICS, TEMPLATES = "delta_i_c.npy", "S_mean_std", "templates.txt"
TEXT_ENCODER = "clip-vit-base-patch32"


def load_text_edits(model: Path | None, layout: StyleLayout) -> StyleClipGlobal:
    """Return what makes directions from prompts.

    Args:
        model: the model's folder, if it has one.
        layout: widths of the generator's modulation vectors.

    Raises:
        WeightsError: a file is missing or damaged.
        DependencyError: `transformers` is not installed.
        DirectionError: the files belong to another generator.
    """
    channels, statistics, templates = (
        _find(name, model) for name in (CHANNELS, STATISTICS, TEMPLATES)
    )
    try:
        sentences = templates.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise WeightsError(f"{templates} cannot be read as lines of text") from error
    relevance, spreads = torch.from_numpy(read_array(channels)).float(), _spreads(statistics)
    try:
        return StyleClipGlobal.from_released(
            relevance,
            spreads,
            layout,
            tuple(line.strip() for line in sentences if line.strip()),
            clip_text_encoder(_text_encoder(model)),
        )
    except DirectionError as error:
        raise DirectionError(f"editing by text does not fit this model: {error}") from error


def _find(name: str, model: Path | None) -> Path:
    for folder in _places(model):
        if (file := member(folder.parent, f"{folder.name}/{name}")).is_file():
            return file
    raise WeightsError(
        f"editing by text needs {name}, which is not here: `sfe models pull styleclip` fetches it"
    )


def _text_encoder(model: Path | None) -> Path:
    """Where CLIP lies, or should."""
    folders = [folder / TEXT_ENCODER for folder in _places(model)]
    return next((folder for folder in folders if folder.is_dir()), folders[-1])


def _places(model: Path | None) -> list[Path]:
    return [*([model / PUBLISHED] if model is not None else []), files_folder()]


def _spreads(path: Path) -> list[Tensor]:
    """The second list of `S_mean_std`, one (width,) tensor per modulated layer."""
    content = read_numpy_pickle(path)
    if (
        not isinstance(content, (list, tuple))
        or len(content) != 2
        or not isinstance(content[1], (list, tuple))
        or not all(isinstance(row, np.ndarray) and row.dtype.kind == "f" for row in content[1])
    ):
        raise WeightsError(f"{path} should hold two lists of arrays, means and spreads")
    return [torch.from_numpy(np.array(row, dtype=np.float32)).flatten() for row in content[1]]
