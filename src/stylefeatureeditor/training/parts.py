"""What one phase leaves for the next: networks in files, and a record of which are trained.

    OUT/model/generator.safetensors      G; its config in the header, or in config.json
              discriminator.safetensors  D, its config in the header
              config.json, ...           a model folder, from e4e on
              training.json              which of its networks have been trained, and how long

A run's folder stands for the model in it. A model folder without training.json came from
elsewhere: all of its networks count as trained.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor.errors import ConfigError, DirectionError, WeightsError
from stylefeatureeditor.files import member
from stylefeatureeditor.generator.discriminator import Discriminator, DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.model import Model, ModelConfig
from stylefeatureeditor.training.config import from_mapping, to_mapping
from stylefeatureeditor.training.edit_pairs import TrainingDirection
from stylefeatureeditor.training.networks import with_config
from stylefeatureeditor.weights.checkpoint import assign_state, load_config, load_model
from stylefeatureeditor.weights.convert import read_discriminator, read_generator
from stylefeatureeditor.weights.direction_files import (
    PUBLISHED,
    copy_published_files,
    load_directions,
    load_own_directions,
    read_direction_file,
    save_own_directions,
)
from stylefeatureeditor.weights.local_models import find_model, model_at
from stylefeatureeditor.weights.storage import load_tensors, read_json, save_tensors, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


GENERATOR, DISCRIMINATOR = "generator.safetensors", "discriminator.safetensors"
RECORD = "training.json"
PUBLISHED_SUFFIXES = (".pt", ".pth", ".pkl")  # stylegan2-pytorch's, NVIDIA's
COMMANDS = {  # part: what trains it
    "generator": "sfe train generator",
    "e4e": "sfe train e4e",
    "inverter": "sfe train inverter",
    "feature_editor": "sfe train editor",
}


@dataclass(frozen=True)
class Start:
    """What a phase starts from.

    Attributes:
        folder: where it came from; D and the directions may lie there.
        generator: G.
        model: the whole model, None if only G was given.
        trained: steps of each trained network by name; 0 where they are not known.
    """

    folder: Path
    generator: Generator
    model: Model | None
    trained: Mapping[str, int]

    def need(self, *parts: str) -> None:
        """Raise ConfigError unless all these parts are trained."""
        for part in parts:
            if part not in self.trained:
                raise ConfigError(
                    f"{self.folder} has no trained {part}: `{COMMANDS[part]}` makes it"
                )

    def build(self, config: ModelConfig, keep: Sequence[str]) -> Model:
        """Return a model of `config` with G and the trained parts among `keep`, the rest fresh.

        Raises:
            ConfigError: the config changes the sizes of a kept part.
        """
        kept = ("generator", *(part for part in keep if part in self.trained))
        if self.model is not None:
            return with_config(self.model, config, kept)
        if config.generator != self.generator.config:
            raise ConfigError("the sizes of the generator cannot change: it is trained already")
        model = Model(config)
        model.generator.load_state_dict(self.generator.state_dict())
        return model


def open_start(model: Path | None, generator: Path | None) -> Start:
    """Read what --model or --generator names; one of them, not both.

    Raises:
        ConfigError: neither or both are given.
        WeightsError: a file is missing or damaged.
    """
    if (model is None) == (generator is None):
        raise ConfigError("give either --model DIR or --generator DIR_OR_FILE to start from")
    if model is not None:
        folder = model_folder(model)
        whole = load_model(folder)
        return Start(folder, whole.generator, whole, read_record(folder))
    assert generator is not None
    file = _file(generator, GENERATOR)
    steps = read_record(file.parent).get("generator", 0)
    return Start(file.parent, load_generator(file), None, {"generator": steps})


def model_folder(path: Path) -> Path:
    """Return the model folder that a path means: itself, `model` in a run's folder, or by name.

    Raises:
        WeightsError: there is none.
    """
    if folder := model_at(path):
        return folder
    if not path.exists() and path.name == str(path):
        return find_model(str(path))
    if (path / "config.toml").is_file():
        raise WeightsError(
            f"the run in {path} has left no model yet: go on with it (--resume), or, if it trained "
            "a generator, pass it with --generator"
        )
    raise WeightsError(f"{path} is no model folder: `sfe train e4e` makes the first one")


def load_generator(file: Path) -> Generator:
    """Read a generator in eval mode: our own file, stylegan2-pytorch's .pt or NVIDIA's .pkl.

    Raises:
        WeightsError: it is missing, damaged or of another kind.
    """
    if file.suffix.lower() in PUBLISHED_SUFFIXES:
        config, state = read_generator(file)
    else:
        tensors, header = load_tensors(file)
        state = dict(tensors)
        if "config" in header:
            config = _from_header(GeneratorConfig(), header, file)
        else:
            config = load_config(file.parent).generator
    with torch.device("meta"):
        generator = Generator(config)
    assign_state(generator, state, str(file))
    return generator.eval()


def save_discriminator(discriminator: Discriminator, folder: Path) -> None:
    """Write D beside the other networks.

    Raises:
        WeightsError: the file cannot be written.
    """
    header = {"config": json.dumps(to_mapping(discriminator.config))}
    save_tensors(folder / DISCRIMINATOR, discriminator.state_dict(), header)


def take_weights(model: Model, part: str, path: Path) -> None:
    """Let a network of `model` start from the trained one of another model or run.

    Args:
        model: where it is.
        part: "e4e", "inverter" or "feature_editor".
        path: folder of the model or the run.

    Raises:
        ConfigError: it is not trained there, or has other sizes.
        WeightsError: there is no model, or a file is damaged.
    """
    folder = model_folder(path)
    if part not in read_record(folder):
        raise ConfigError(f"{folder} has no trained {part} to start from")
    other = load_model(folder)
    if getattr(other.config, part) != getattr(model.config, part):
        raise ConfigError(f"the {part} in {folder} has other sizes than the one to train")
    getattr(model, part).load_state_dict(getattr(other, part).state_dict())


def find_discriminator(path: Path | None, start: Path, size: int) -> Discriminator | None:
    """Return the D in `path`, or the one beside what a phase starts from; None if there is none.

    A file may be ours, stylegan2-pytorch's .pt or NVIDIA's .pkl.

    Raises:
        WeightsError: `path` holds none, or a file is damaged.
        ConfigError: it looks at another size.
    """
    file = member(start, DISCRIMINATOR) if path is None else _file(path, DISCRIMINATOR)
    if path is None and not file.is_file():
        return None
    if file.suffix.lower() in PUBLISHED_SUFFIXES:
        config, tensors = read_discriminator(file)
    else:
        tensors, header = load_tensors(file)
        if "config" not in header:
            raise WeightsError(f"{file} does not say its sizes; `sfe train generator` writes one")
        config = _from_header(DiscriminatorConfig(), header, file)
    if config.size != size:
        raise ConfigError(f"the discriminator in {file} looks at {config.size} px, G draws {size}")
    with torch.device("meta"):  # a header may claim any size: the tensors must have it first
        assign_state(Discriminator(config), tensors, str(file))
    discriminator = Discriminator(config)
    assign_state(discriminator, tensors, str(file))
    return discriminator


def fresh_discriminator(generator: GeneratorConfig) -> Discriminator:
    """Return an untrained D as wide as G."""
    return Discriminator(
        DiscriminatorConfig(
            size=generator.size,
            channel_base=generator.channel_base,
            channel_max=generator.channel_max,
        )
    )


def read_record(folder: Path) -> dict[str, int]:
    """Return the steps of each trained network of a model folder."""
    file = member(folder, RECORD)
    if not file.is_file():
        return dict.fromkeys(COMMANDS, 0)
    steps = read_json(file).get("steps")
    if not isinstance(steps, dict) or any(type(count) is not int for count in steps.values()):
        raise WeightsError(f"{file} should hold 'steps' by network, whole numbers")
    return steps


def finish_model(
    folder: Path, start: Start | None, part: str, steps: int, discriminator: Discriminator | None
) -> None:
    """Complete the model folder of a finished run: D, the directions, and last the record.

    Args:
        folder: what the phase has written.
        start: what it started from; None if from nothing.
        part: the network it has trained.
        steps: how long.
        discriminator: D as it is now.
    """
    if discriminator is not None:
        save_discriminator(discriminator, folder)
    if start is not None:
        own = load_own_directions(start.folder)
        if own.entries:
            save_own_directions(own, folder)
        copy_published_files(start.folder, folder)
    trained = {**({} if start is None else start.trained), part: steps}
    write_json(folder / RECORD, {"steps": trained})


def training_directions(
    folder: Path, config: ModelConfig, strengths: Mapping[str, tuple[float, ...]]
) -> list[TrainingDirection]:
    """Return directions with the strengths they train with, read from a model folder.

    Raises:
        DirectionError: one is unknown, or its file is missing.
    """
    known, layout = load_directions(folder, config.catalog), config.generator.style_layout()
    found = []
    for name, values in strengths.items():
        entry = known.find(name)
        direction = entry.load(folder / PUBLISHED, layout, read_direction_file)
        found.append(TrainingDirection(direction, values, entry.attribute))
    return found


def own_strengths(folder: Path) -> dict[str, tuple[float, ...]]:
    """Return the model's own directions, each with both ends and the middles of its range.

    Raises:
        DirectionError: it has none.
    """
    entries = load_own_directions(folder).entries
    if not entries:
        raise DirectionError(
            f"{folder} has no direction to train with: `sfe directions fit --model {folder} ...` "
            "finds some"
        )
    return {
        entry.name: tuple(share * end for end in entry.useful_range for share in (1.0, 0.5) if end)
        for entry in entries
    }


def sized(config: ModelConfig, generator: GeneratorConfig) -> ModelConfig:
    """Return a config for another generator, encoders and heads fitted to it.

    Raises:
        ConfigError: the generator has no layer k of the side that the Inverter predicts.
    """
    styles, width = generator.num_styles, generator.style_dim
    if config.feature_layer > generator.num_layers:
        raise ConfigError(
            f"this preset takes features at layer {config.feature_layer}, a {generator.size} px "
            f"generator ends at {generator.num_layers}: use --preset small"
        )
    channels, _ = generator.layer_shape(config.feature_layer)
    inverter = config.inverter
    encoder = replace(
        inverter.encoder, num_styles=styles, style_dim=width, feature_channels=channels
    )
    fuser = inverter.fuser and replace(inverter.fuser, channels=channels)
    return replace(
        config,
        generator=generator,
        e4e=replace(config.e4e, num_styles=styles, style_dim=width),
        inverter=replace(inverter, encoder=encoder, fuser=fuser),
        feature_editor=replace(config.feature_editor, channels=channels),
    )


def _file(path: Path, name: str) -> Path:
    """Return the file that a path means: itself, `name` in it, or in the model of a run in it."""
    for file in (path, path / name, path / "model" / name):
        if file.is_file():
            return file
    part = name.partition(".")[0]
    raise WeightsError(f"{path} holds no {name}: `sfe train generator` makes a {part}")


def _from_header(default: Any, header: Mapping[str, str], file: Path) -> Any:
    try:
        content = json.loads(header["config"])
        if not isinstance(content, dict):
            raise TypeError(f"expected an object, got {type(content).__name__}")
        return from_mapping(default, content)
    except (ValueError, TypeError, RecursionError) as error:  # ConfigError is a ValueError
        raise WeightsError(f"{file}: its header holds no config of this kind: {error}") from error
