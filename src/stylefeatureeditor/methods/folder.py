"""A compared method on disk: a model folder whose config.json says which method it holds.

    config.json           format number, method, name, catalogue, framing, blend, sizes of networks
    network.safetensors   all its networks, latent_avg and noise buffers included
    directions/           as in every model folder

A load is strict: a missing or additional tensor is an error, so no weight is ever random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.files import member, whole
from stylefeatureeditor.methods.load import KINDS, find_kind
from stylefeatureeditor.methods.method import MethodConfig
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.runtimes.quick import quicken
from stylefeatureeditor.weights.checkpoint import (
    CONFIG_FILE,
    FORMAT,
    assign_state,
    load_config,
    save_model,
)
from stylefeatureeditor.weights.configs import from_plain, to_plain
from stylefeatureeditor.weights.local_models import find_model, local_models
from stylefeatureeditor.weights.storage import load_tensors, read_json, save_tensors, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stylefeatureeditor.methods.method import Method
    from stylefeatureeditor.model import ModelConfig

NETWORK_FILE = "network.safetensors"
COMMON = ("method", "name", "catalog", "framing", "blend")  # beside the sizes of the networks


def save_method(
    method: Method,
    folder: Path,
    *,
    header: Mapping[str, str] | None = None,
    float_dtype: torch.dtype | None = None,
) -> None:
    """Write a method's folder as a whole: if it fails or is killed, an older one stays as it was.

    `header` is provenance kept beside the weights, `float_dtype` that on disk, None as they are.
    ConfigError if the method works on another's networks; WeightsError if the folder cannot be
    written.
    """
    if isinstance(method, Sfe):
        return save_model(method.model, folder, header=header, float_dtype=float_dtype)
    if not isinstance(method.config, MethodConfig) or not method.config.method:
        raise ConfigError(f"{method.name} has no weights of its own: save its model")
    network = to_plain(method.config)
    content = {"format": FORMAT, **{key: network.pop(key) for key in COMMON}, "network": network}
    with whole(folder) as stage:
        save_tensors(stage / NETWORK_FILE, method.state_dict(), header or {}, float_dtype)
        write_json(stage / CONFIG_FILE, content)
    return None


def method_of(folder: Path) -> str | None:
    """Return the method of a model folder, None for our own; WeightsError if its config is bad."""
    file = member(folder, CONFIG_FILE)
    word = read_json(file).get("method")
    if not isinstance(word, str | None):
        raise WeightsError(f"{file}: method must be a word, got {type(word).__name__}")
    return word


def load_any_config(folder: Path) -> ModelConfig | MethodConfig:
    """Read the config of a model folder, ours or a method's; WeightsError if there is none."""
    file = member(folder, CONFIG_FILE)
    if not file.is_file() or method_of(folder) is None:
        return load_config(folder)
    where, content = str(file), read_json(file)
    if content.pop("format", None) != FORMAT:
        raise WeightsError(f"{where}: expected format {FORMAT}")
    word, network = content["method"], content.pop("network", None)
    if word not in KINDS:
        raise WeightsError(f"{where}: there is no method {word!r}; there are {', '.join(KINDS)}")
    if not isinstance(network, dict):
        raise WeightsError(f"{where}: network must be an object, got {type(network).__name__}")
    return from_plain(KINDS[word].config, {**content, **network}, where)


def network_of(folder: Path) -> Method:
    """Return a folder's method without weights; WeightsError as `load_any_config`, or for ours."""
    config = load_any_config(folder)
    if not isinstance(config, MethodConfig):
        raise WeightsError(f"{folder} holds StyleFeatureEditor itself, not a compared method")
    kind = KINDS[config.method]
    with torch.device("meta"):
        method = kind.network(config).eval()
    method.name = kind.title
    return method


def load_method(folder: Path) -> Method:
    """Read a compared method, in float32 on the CPU; WeightsError if a file does not fit."""
    method, file = network_of(folder), member(folder, NETWORK_FILE)
    tensors, _ = load_tensors(file)
    assign_state(method, tensors, str(file))
    return quicken(method)


def local_methods() -> dict[str, str]:
    """Return name -> method of the compared methods' models on this machine."""
    found = {}
    for name, folder in local_models().items():
        try:
            word = method_of(folder)
        except WeightsError:
            continue  # opening it reports the damage
        if word in KINDS:
            found[name] = word
    return found


def find_method(word: str) -> Path:
    """Return the folder on this machine that holds a method, first the one named like it.

    ConfigError if there is no such method; WeightsError if it is not on this machine.
    """
    kind = find_kind(word)
    names = [name for name, known in local_methods().items() if known == word]
    if names:
        return find_model(word if word in names else names[0])
    fetch = f"`sfe models pull {word}` fetches it, " if kind.sources else ""
    raise WeightsError(
        f"no model of the method {word} is on this machine: {fetch}`sfe models convert --method "
        f"{word}` converts files you have, and --model takes their folder"
    )
