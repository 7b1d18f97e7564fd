"""Published face parsers, from their published files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from stylefeatureeditor.errors import MaskError, WeightsError
from stylefeatureeditor.masks.bisenet import BiSeNet, BiSeNetConfig, BiSeNetParser, bisenet_state
from stylefeatureeditor.masks.farl import FarlConfig, FarlNetwork, FarlParser, farl_state
from stylefeatureeditor.masks.labels import NO_PARSER
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.local_models import files_folder
from stylefeatureeditor.weights.sources import find_sources
from stylefeatureeditor.weights.unpickle import read_torch

if TYPE_CHECKING:
    from pathlib import Path

    from stylefeatureeditor.masks.face_parser import FaceParser

PARSERS = ("farl-lapa", "bisenet")  # the first that is on disk serves; the release uses FaRL

Network = TypeVar("Network", bound=nn.Module)


def find_face_parser() -> FaceParser:
    """Return the first published parser whose file has been pulled.

    MaskError if none is on disk; WeightsError if the file is damaged.
    """
    for name in PARSERS:
        (source,) = find_sources(name)
        path = files_folder() / source.file_name
        if path.is_file():
            return load_face_parser(path)
    raise MaskError(NO_PARSER)


def load_face_parser(path: Path) -> FaceParser:
    """Return the parser in BiSeNet's .pth or FaRL's TorchScript; WeightsError if it is neither."""
    state = read_torch(path)
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise WeightsError(f"{path} holds no table of tensors, so no face parser")
    is_bisenet = any(key.startswith("cp.resnet") for key in state)
    with torch.device("meta"):
        network = BiSeNet(BiSeNetConfig()) if is_bisenet else FarlNetwork(FarlConfig())
    if isinstance(network, BiSeNet):
        return BiSeNetParser(_assigned(network, bisenet_state(state), path))
    return FarlParser(_assigned(network, farl_state(state), path))


def _assigned(network: Network, state: Mapping[str, Tensor], path: Path) -> Network:
    """Give a network its weights; the unused counters of batch norms may be missing."""
    counter = torch.zeros((), dtype=torch.long)
    names = (name for name in network.state_dict() if name.endswith("num_batches_tracked"))
    try:
        assign_state(network, {**state, **dict.fromkeys(names, counter)}, str(path))
    except WeightsError as error:
        raise WeightsError(f"{error}; this is not a published face parser") from error
    return network
