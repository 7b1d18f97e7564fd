"""Files that a phase reads and leaves for the next: networks, and a record of their training.

    OUT/model/generator.safetensors      G; its config in the header, or in config.json
              discriminator.safetensors  D, its config in the header
              config.json, ...           a model folder, from e4e on
              training.json              which of its networks have been trained, and how long

A run's folder stands for the model in it. A model folder without training.json came from
elsewhere: all of its networks count as trained.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 (fields' types are read)
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor.data.images import Excerpt
from stylefeatureeditor.errors import ConfigError, DirectionError, WeightsError
from stylefeatureeditor.files import member
from stylefeatureeditor.generator.discriminator import Discriminator, DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.model import Model, ModelConfig
from stylefeatureeditor.training.loop import Run, RunResult
from stylefeatureeditor.training.loss_networks import load_loss_networks
from stylefeatureeditor.weights.checkpoint import assign_state, load_config, load_model
from stylefeatureeditor.weights.configs import from_plain, to_plain
from stylefeatureeditor.weights.convert import read_discriminator, read_encoder, read_generator
from stylefeatureeditor.weights.direction_files import (
    copy_published_files,
    load_own_directions,
    save_own_directions,
)
from stylefeatureeditor.weights.local_models import find_model, model_at
from stylefeatureeditor.weights.storage import load_tensors, save_tensors, write_json
from stylefeatureeditor.weights.trained import RECORD, need_trained, read_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stylefeatureeditor.data.images import DataConfig, ImageSet
    from stylefeatureeditor.training.image_losses import ImageLossConfig, LossNetworks

GENERATOR, DISCRIMINATOR = "generator.safetensors", "discriminator.safetensors"
PUBLISHED_SUFFIXES = (".pt", ".pth", ".pkl")  # stylegan2-pytorch's, NVIDIA's
MOST_HELD_OUT = 256  # photos that validation looks at


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Networks that a run reads: files, model folders or other runs' folders.

    Attributes:
        model: model or run to start from; its trained networks are kept.
        generator: the generator to start from, in place of the model: a run, our file, .pt or .pkl.
        discriminator: its discriminator; None takes the one that lies beside, else a fresh one.
        attributes: classifier for losses that have a weight for its features or ask it about edits.
        tune_from: model or run whose network of this phase is trained on, or a published file of
            E, the Inverter or their trunks; None starts a fresh one.
    """

    model: Path | None = None
    generator: Path | None = None
    discriminator: Path | None = None
    attributes: Path | None = None
    tune_from: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ModelRun(Run):
    """A run of E, I or H: the networks it reads, and the sizes of the model."""

    inputs: Inputs = field(default_factory=Inputs)
    model: ModelConfig = field(default_factory=ModelConfig)


@dataclass(frozen=True)
class SetUp:
    """What a run of E, I or H trains with; see `set_up`."""

    start: Start  # networks it starts from
    model: Model  # with fresh parts where none are kept
    networks: LossNetworks  # of its image losses
    discriminator: Discriminator | None  # D, if there is one that has learnt
    images: ImageSet  # of the training
    held_out: Excerpt  # photos for validation
    tuned: bool  # the whole network that trains goes on from a trained one


@dataclass(frozen=True)
class Start:
    """The networks that a phase starts from.

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
        need_trained(self.folder, self.trained, parts)

    def build(self, config: ModelConfig, keep: Sequence[str]) -> Model:
        """Return a model of `config` with G and the trained parts among `keep`, the rest fresh.

        Raises:
            ConfigError: the config changes the sizes of a kept part.
        """
        kept: dict[str, Any] = {"generator": self.generator}
        if self.model is not None:
            kept |= {part: getattr(self.model, part) for part in keep if part in self.trained}
        for name, network in kept.items():
            if network.config != getattr(config, name):
                raise ConfigError(f"the sizes of the {name} cannot change: it is trained already")
        fresh = Model(config)
        for name, network in kept.items():
            getattr(fresh, name).load_state_dict(network.state_dict())
        return fresh


def set_up(
    config: ModelRun,
    part: str,
    losses: tuple[ImageLossConfig, ...],
    *,
    keep: Sequence[str],
    needs: Sequence[str] = (),
    asks_classifier: bool = False,
    asks_discriminator: bool = False,
) -> SetUp:
    """Read all that a run needs to train `part`: E, I or H.

    Args:
        config: of the run.
        part: the network it trains.
        losses: whose networks are read.
        keep: parts that stay as the start has them, where it has them trained.
        needs: parts that must be trained.
        asks_classifier: the phase itself asks the attribute classifier.
        asks_discriminator: the phase itself needs a D that has learnt.

    Raises:
        SfeError: a loss needs a trained D, and there is none; and see `open_start`,
            `load_loss_networks`, `open_data` and `take_weights`.
    """
    inputs = config.inputs
    torch.manual_seed(config.loop.seed)
    start = open_start(inputs.model, inputs.generator)
    start.need(*needs)
    model = start.build(config.model, keep)
    networks = load_loss_networks(losses, inputs.attributes, asks_classifier=asks_classifier)
    size = model.config.generator.size
    discriminator = find_discriminator(inputs.discriminator, start.folder, size)
    needed = asks_discriminator or any(loss.discriminator_features for loss in losses)
    if discriminator is None and needed:
        raise WeightsError(
            "the loss looks through a trained D, but there is no discriminator.safetensors in "
            f"{start.folder}: pass --discriminator, or set discriminator_features and realism to 0"
        )
    images = open_data(config.data, size)
    tuned = inputs.tune_from is not None and take_weights(model, part, inputs.tune_from)
    held_out = held_out_photos(config.data, images)
    return SetUp(start, model, networks, discriminator, images, held_out, tuned)


def open_start(model: Path | None, generator: Path | None) -> Start:
    """Read what --model or --generator names; ConfigError unless it is one of them."""
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
    """Return the model folder of a path: itself, a run's `model`, or by name; else WeightsError."""
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
    """Read G, in eval mode, from our file, a .pt or an NVIDIA .pkl; WeightsError if it is none."""
    if file.suffix.lower() in PUBLISHED_SUFFIXES:
        config, state = read_generator(file)
    else:
        tensors, header = load_tensors(file)
        state = dict(tensors)
        if "config" in header:
            config = _from_header(GeneratorConfig, header, file)
        else:
            config = load_config(file.parent).generator
    with torch.device("meta"):
        generator = Generator(config)
    assign_state(generator, state, str(file))
    return generator.eval()


def save_discriminator(discriminator: Discriminator, folder: Path) -> None:
    """Write D beside the other networks; WeightsError if it cannot be written."""
    header = {"config": json.dumps(to_plain(discriminator.config))}
    save_tensors(folder / DISCRIMINATOR, discriminator.state_dict(), header)


def take_weights(model: Model, part: str, path: Path) -> bool:
    """Give `part` of a model trained weights to start from; return whether all of it got some.

    A path is a model's or a run's folder; for E and the Inverter also a published .pt or .pth, of
    them or of ArcFace, which fills the trunk alone. ConfigError if it is not trained there, or has
    other sizes; WeightsError if there is no model, or a file is damaged.
    """
    if path.suffix.lower() in (".pt", ".pth") and part != "feature_editor":
        place, state = read_encoder(part, path)
        own = {key: value.clone() for key, value in state.items()}  # not the file's pages
        assign_state(getattr(model, part).get_submodule(place), own, str(path))
        return not place
    folder = model_folder(path)
    if part not in read_record(folder):
        raise ConfigError(f"{folder} has no trained {part} to start from")
    other = load_model(folder)
    if getattr(other.config, part) != getattr(model.config, part):
        raise ConfigError(f"the {part} in {folder} has other sizes than the one to train")
    getattr(model, part).load_state_dict(getattr(other, part).state_dict())
    return True


def find_discriminator(path: Path | None, start: Path, size: int) -> Discriminator | None:
    """Return the D in `path`, or the one beside what a phase starts from; None if there is none.

    A file may be ours, stylegan2-pytorch's .pt or NVIDIA's .pkl. WeightsError if `path` holds none,
    or a file is damaged; ConfigError if it looks at another size.
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
        config = _from_header(DiscriminatorConfig, header, file)
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


def finish_model(
    folder: Path, start: Start | None, part: str, steps: int, discriminator: Discriminator | None
) -> None:
    """Complete the model folder of a finished run: D, the directions, and last the record.

    `start` is what it started from, None if from nothing; `part` has trained for so many steps.
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


def finish_run(
    result: RunResult, start: Start | None, part: str, discriminator: Discriminator | None
) -> RunResult:
    """Complete the model of a run if it has come to its end; return `result`."""
    from accelerate import PartialState

    if result.finished and PartialState().is_main_process:
        finish_model(result.folder / "model", start, part, result.step, discriminator)
    return result


def open_data(data: DataConfig, size: int) -> ImageSet:
    """Open the training images; ConfigError if no source is named, or nothing is in it."""
    if not data.source:
        raise ConfigError("say which images to train on: --data FOLDER|ZIP|TAR")
    return data.open(size, data.where)


def held_out_photos(data: DataConfig, images: ImageSet) -> Excerpt:
    """Return photos to validate on, evenly taken; without `test_where` from the training images."""
    chosen = data.open(images.size, data.test_where) if data.test_where else images
    step = max(1, -(-len(chosen) // MOST_HELD_OUT))
    return Excerpt(chosen, range(0, len(chosen), step))


def own_strengths(folder: Path) -> dict[str, tuple[float, ...]]:
    """Return own directions with ends and middles of their ranges; DirectionError without any."""
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


def _file(path: Path, name: str) -> Path:
    for file in (path, path / name, path / "model" / name):
        if file.is_file():
            return file
    part = name.partition(".")[0]
    raise WeightsError(f"{path} holds no {name}: `sfe train generator` makes a {part}")


def _from_header(kind: type[Any], header: Mapping[str, str], file: Path) -> Any:
    try:
        content = json.loads(header["config"])
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{file}: its header holds no config: {error}") from error
    return from_plain(kind, content, f"{file}: config")
