"""Published face parsers, from the files as they are published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from stylefeatureeditor.errors import MaskError, WeightsError
from stylefeatureeditor.masks.bisenet import BiSeNet, BiSeNetConfig, load_released_bisenet
from stylefeatureeditor.masks.bisenet_parser import BiSeNetParser
from stylefeatureeditor.masks.farl import FarlNetwork, farl_lapa, load_released_farl
from stylefeatureeditor.masks.farl_parser import FarlParser
from stylefeatureeditor.masks.labels import NO_PARSER
from stylefeatureeditor.weights.local_models import files_folder
from stylefeatureeditor.weights.sources import find_sources
from stylefeatureeditor.weights.unpickle import read_torch

if TYPE_CHECKING:
    from pathlib import Path

    from stylefeatureeditor.masks.edit_region import FaceParser

PARSERS = ("farl-lapa", "bisenet")  # the first that is on disk serves; the release uses FaRL


def find_face_parser() -> FaceParser:
    """Return the first published parser whose file has been pulled.

    Raises:
        MaskError: none is on disk.
        WeightsError: the file is damaged.
    """
    for name in PARSERS:
        (source,) = find_sources(name)
        path = files_folder() / source.file_name
        if path.is_file():
            return load_face_parser(path)
    raise MaskError(NO_PARSER)


def load_face_parser(path: Path) -> FaceParser:
    """Return the parser in a published file: BiSeNet's .pth or FaRL's TorchScript archive.

    Raises:
        WeightsError: the file is damaged or holds neither.
    """
    state = read_torch(path)
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise WeightsError(f"{path} holds no table of tensors, so no face parser")
    if any(key.startswith("cp.resnet") for key in state):
        bisenet = BiSeNet(BiSeNetConfig())
        load_released_bisenet(bisenet, state)
        return BiSeNetParser(bisenet)
    farl = FarlNetwork(farl_lapa())
    load_released_farl(farl, state)
    return FarlParser(farl)
