"""Edits in words from published files: StyleCLIP's global directions, and DeltaEdit.

    delta_mapper.pt    DeltaEdit's network
    fs3.npy            DeltaEdit's table of what each channel does in CLIP space
    delta_i_c.npy      what each channel does in CLIP space
    S_mean_std         mean and spread of each channel, a pickle of two lists of arrays
    templates.txt      sentences with {} for the prompt, one per line
    clip-vit-base-patch32/   CLIP as `transformers` stores it, with safetensors

Each is taken from the model's folder of direction files, else from where pulled files lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from stylefeatureeditor.editing.catalog import to_tensor
from stylefeatureeditor.editing.deltaedit import DeltaEdit, DeltaMapper, clip_image_encoder
from stylefeatureeditor.editing.styleclip import StyleClipGlobal, clip_text_encoder
from stylefeatureeditor.errors import DirectionError, WeightsError
from stylefeatureeditor.files import member
from stylefeatureeditor.weights.direction_files import PUBLISHED
from stylefeatureeditor.weights.local_models import files_folder
from stylefeatureeditor.weights.released import delta_mapper_state
from stylefeatureeditor.weights.unpickle import read_array, read_numpy_pickle, read_torch

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from stylefeatureeditor.generator.stylegan2 import Generator
    from stylefeatureeditor.records import StyleLayout

CHANNELS, STATISTICS, TEMPLATES = "delta_i_c.npy", "S_mean_std", "templates.txt"
MAPPER, RELEVANCE = "delta_mapper.pt", "fs3.npy"
TEXT_ENCODER = "clip-vit-base-patch32"


def load_text_edits(model: Path | None, layout: StyleLayout) -> StyleClipGlobal:
    """Return the maker of directions from prompts, by the files of a model's folder or pulled ones.

    WeightsError or DirectionError if a file is missing, damaged, or of another generator;
    DependencyError if `transformers` is not installed.
    """
    channels, statistics = (_find(name, model) for name in (CHANNELS, STATISTICS))
    sentences = _templates(model)
    relevance, spreads = to_tensor(CHANNELS, read_array(channels)), _spreads(statistics)
    try:
        encode = clip_text_encoder(_text_encoder(model))
        return StyleClipGlobal.from_released(relevance, spreads, layout, sentences, encode)
    except DirectionError as error:
        raise DirectionError(f"editing by text does not fit this model: {error}") from error


def load_delta_edits(
    model: Path | None, generator: Generator, *, normalised: bool = False
) -> DeltaEdit:
    """Return what makes DeltaEdit's directions from prompts; errors as above."""
    mapper, relevance = (_find(name, model) for name in (MAPPER, RELEVANCE))
    content, clip = read_torch(mapper), _text_encoder(model)
    return DeltaEdit(
        mapper=DeltaMapper.from_state(delta_mapper_state(content)),
        relevance=to_tensor(RELEVANCE, read_array(relevance)),
        layout=generator.config.style_layout(),
        modulation=generator.modulation,
        templates=_templates(model),
        encode=clip_text_encoder(clip),
        look=clip_image_encoder(clip, normalised=normalised),
    )


def _templates(model: Path | None) -> tuple[str, ...]:
    path = _find(TEMPLATES, model)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as lines of text") from error
    return tuple(line.strip() for line in lines if line.strip())


def _find(name: str, model: Path | None) -> Path:
    for folder in _places(model):
        if (file := member(folder.parent, f"{folder.name}/{name}")).is_file():
            return file
    fetch = "put the published file into the model's folder `directions`"
    if name not in (MAPPER, RELEVANCE):
        fetch = "`sfe models pull styleclip` fetches it"
    raise WeightsError(f"editing by text needs {name}, which is not here: {fetch}")


def _text_encoder(model: Path | None) -> Path:
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
