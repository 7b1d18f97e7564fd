"""A compared method on disk: a model folder whose config.json says which method it holds.

    config.json           format number, method, name, catalogue, framing, blend, sizes of networks
    network.safetensors   all its networks, latent_avg and noise buffers included
    directions/           as in every model folder

A load is strict: a missing or additional tensor is an error, so no weight is ever random.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import member, together
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.methods.methods import KINDS, find_kind
from stylefeatureeditor.model import Framing
from stylefeatureeditor.runtimes.quick import quicken
from stylefeatureeditor.weights.checkpoint import CONFIG_FILE, FORMAT, assign_state, load_config
from stylefeatureeditor.weights.configs import from_plain, to_plain
from stylefeatureeditor.weights.local_models import find_model, local_models
from stylefeatureeditor.weights.storage import load_tensors, read_json, save_tensors, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stylefeatureeditor.generator.stylegan2 import Generator
    from stylefeatureeditor.model import ModelConfig

NETWORK_FILE = "network.safetensors"


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """What an editor asks of a model, whatever its networks; as the fields of `ModelConfig`."""

    method: str
    name: str = "model"
    catalog: str | None = None
    framing: Framing = field(default_factory=Framing)
    blend: Literal["feather", "residual", "none"] = "feather"
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)


class MethodModel(nn.Module):
    """The networks of one method, and how its crops sit in photos.

    Args:
        network: has a `generator`; its config has one too.
        config: of the same generator.
    """

    source_fingerprint = None  # see `Model`

    def __init__(self, network: nn.Module, config: MethodConfig) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.eval()

    @property
    def generator(self) -> Generator:
        """G."""
        return self.network.generator  # type: ignore[return-value]


def save_method(
    model: MethodModel,
    folder: Path,
    *,
    header: Mapping[str, str] | None = None,
    float_dtype: torch.dtype | None = None,
) -> None:
    """Write a method's folder as a whole: if it fails or is killed, an older one stays as it was.

    Args:
        model: the networks.
        folder: made if it is not there.
        header: provenance kept beside the weights.
        float_dtype: dtype of the weights on disk; None keeps them.

    Raises:
        WeightsError: the folder cannot be written.
    """
    about = to_plain(model.config)
    del about["generator"]  # it stands among the networks
    content = {"format": FORMAT, **about, "network": to_plain(model.network.config)}
    try:
        with together(folder) as stage:
            state = model.network.state_dict()
            save_tensors(stage / NETWORK_FILE, state, header or {}, float_dtype)
            write_json(stage / CONFIG_FILE, content)
    except OSError as error:
        raise WeightsError(f"{folder} cannot be made or written: {error.strerror}") from error


def method_of(folder: Path) -> str | None:
    """Return the word of the method that a model folder holds; None for our own.

    Raises:
        WeightsError: its config cannot be read.
    """
    return read_json(member(folder, CONFIG_FILE)).get("method")


def load_any_config(folder: Path) -> ModelConfig | MethodConfig:
    """Read the config of a model folder, ours or a method's.

    Raises:
        WeightsError: the folder holds no model, or one of another format.
    """
    if not member(folder, CONFIG_FILE).is_file() or method_of(folder) is None:
        return load_config(folder)
    return _read(folder)[0]


def network_of(folder: Path) -> nn.Module:
    """Return the network of a method's folder without its weights."""
    config, networks = _read(folder)
    return find_kind(config.method).network(networks)


def load_method(folder: Path) -> MethodModel:
    """Read a method's folder, in float32 on the CPU.

    Raises:
        WeightsError: a file is missing or damaged, or its tensors do not fit the config.
    """
    config, _ = _read(folder)
    with torch.device("meta"):
        network = network_of(folder)
    file = member(folder, NETWORK_FILE)
    tensors, _ = load_tensors(file)
    assign_state(network, tensors, str(file))
    return MethodModel(quicken(network), config)


def local_methods() -> dict[str, str]:
    """Return name -> method of the models on this machine that are a method's."""
    found = {}
    for name, folder in local_models().items():
        try:
            word = method_of(folder)
        except WeightsError:
            continue  # whoever opens it is told
        if word in KINDS:
            found[name] = word
    return found


def find_method(word: str) -> Path:
    """Return the folder on this machine that holds a method; one of its name comes first.

    Raises:
        ConfigError: there is no such method.
        WeightsError: it is not on this machine.
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


def _read(folder: Path) -> tuple[MethodConfig, Any]:
    """The config of a method's folder, and that of its networks."""
    file = member(folder, CONFIG_FILE)
    where, content = str(file), read_json(file)
    if content.pop("format", None) != FORMAT:
        raise WeightsError(f"{where}: expected format {FORMAT}")
    word, networks = content.get("method"), content.pop("network", None)
    if word not in KINDS:
        raise WeightsError(f"{where}: there is no method {word!r}; there are {', '.join(KINDS)}")
    network = from_plain(KINDS[word].config, networks, where)
    plain = {**content, "generator": to_plain(network.generator)}
    return from_plain(MethodConfig, plain, where), network
