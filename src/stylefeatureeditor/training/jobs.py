"""One whole phase: its parts read, trained, and left as a model folder for the next.

    G -> e4e -> (directions) -> inverter -> editor        attributes beside them

Nothing here chooses settings: a run (`presets.py`, `recipes.py`) holds them all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor.data.attribute_table import read_attribute_table, table_of
from stylefeatureeditor.errors import ConfigError, PhotoError, TrainingError, WeightsError
from stylefeatureeditor.training.attributes import AttributePhase
from stylefeatureeditor.training.checkpoints import load_checkpoint
from stylefeatureeditor.training.e4e import E4ePhase
from stylefeatureeditor.training.feature_editor import EditorPhase
from stylefeatureeditor.training.generator import GeneratorPhase
from stylefeatureeditor.training.growing import grow_from
from stylefeatureeditor.training.inverter import InverterPhase
from stylefeatureeditor.training.loop import RunResult, run
from stylefeatureeditor.training.loss_networks import load_loss_networks
from stylefeatureeditor.training.parts import (
    find_discriminator,
    finish_model,
    fresh_discriminator,
    take_weights,
    training_directions,
)
from stylefeatureeditor.weights.local_models import files_folder

if TYPE_CHECKING:
    from pathlib import Path

    from stylefeatureeditor.data.attribute_table import AttributeTable
    from stylefeatureeditor.data.images import DataConfig, ImageSet
    from stylefeatureeditor.generator.discriminator import Discriminator
    from stylefeatureeditor.training.image_losses import ImageLossConfig, LossNetworks
    from stylefeatureeditor.training.parts import Start
    from stylefeatureeditor.training.presets import (
        AttributesRun,
        E4eRun,
        EditorRun,
        Inputs,
        InverterRun,
    )
    from stylefeatureeditor.training.recipes import GeneratorRun

MOST_HELD_OUT = 256  # photos that validation looks at


def train_generator(settings: GeneratorRun, out: Path, *, resume: bool = False) -> RunResult:
    """Train G, from nothing or from a run of half the size.

    Args:
        settings: of the run.
        out: its folder.
        resume: go on from its last checkpoint.

    Raises:
        TrainingError: `grow_from` holds no checkpoint.
    """
    size = settings.training.network.size
    torch.manual_seed(settings.loop.seed)
    images = open_data(settings.data, size)
    held_out = held_out_photos(settings.data, images)
    if settings.grow_from is None:
        phase = GeneratorPhase(settings.training, held_out)
    else:
        smaller = load_checkpoint(settings.grow_from / "checkpoints")
        if smaller is None:
            raise TrainingError(
                f"{settings.grow_from} holds no checkpoint to grow from: it should be the folder "
                f"of a `sfe train generator --size {size // 2}` run"
            )
        phase = grow_from(smaller[1]["phase"], settings.training, held_out)
    result = _run(phase, settings, images, out, resume=resume)
    _finish(result, None, "generator", phase.discriminator)
    return result


def train_e4e(settings: E4eRun, start: Start, out: Path, *, resume: bool = False) -> RunResult:
    """Train E for a trained G, which `start` has read."""
    torch.manual_seed(settings.loop.seed)
    model = start.build(settings.model, ("inverter", "feature_editor"))
    networks = _networks(settings.inputs, settings.training.image)
    discriminator = _discriminator(start, settings.inputs)
    if discriminator is None and settings.training.image.discriminator_features:
        raise _no_discriminator(start)
    images = open_data(settings.data, model.config.generator.size)
    held_out = held_out_photos(settings.data, images)
    training = settings.training
    if settings.inputs.tune_from:
        take_weights(model, "e4e", settings.inputs.tune_from)
        training = replace(training, zero_heads=False)
    phase = E4ePhase(training, model, networks, discriminator, held_out)
    result = _run(phase, settings, images, out, resume=resume)
    _finish(result, start, "e4e", discriminator)
    return result


def train_inverter(
    settings: InverterRun, start: Start, out: Path, *, resume: bool = False
) -> RunResult:
    """Train I: phase 1."""
    torch.manual_seed(settings.loop.seed)
    model = start.build(settings.model, ("e4e",))
    networks = _networks(settings.inputs, settings.training.image)
    discriminator = _discriminator(start, settings.inputs)
    if discriminator is None:
        if settings.training.image.discriminator_features:
            raise _no_discriminator(start)
        discriminator = fresh_discriminator(model.config.generator)
    images = open_data(settings.data, model.config.generator.size)
    held_out = held_out_photos(settings.data, images)
    if settings.inputs.tune_from:
        take_weights(model, "inverter", settings.inputs.tune_from)
    phase = InverterPhase(settings.training, model, discriminator, networks, held_out)
    result = _run(phase, settings, images, out, resume=resume)
    _finish(result, start, "inverter", discriminator)
    return result


def train_editor(
    settings: EditorRun, start: Start, out: Path, *, resume: bool = False
) -> RunResult:
    """Train H: phase 2."""
    torch.manual_seed(settings.loop.seed)
    start.need("inverter", *(("e4e",) if settings.training.edit_codes == "e4e" else ()))
    model = start.build(settings.model, ("e4e", "inverter"))
    directions = training_directions(start.folder, model.config, settings.directions)
    losses = (settings.training.edit, settings.training.inversion)
    asks_classifier = settings.training.attributes.weight > 0
    networks = _networks(settings.inputs, *losses, asks_classifier=asks_classifier)
    discriminator = _discriminator(start, settings.inputs)
    if discriminator is None:
        realism = settings.training.attributes.realism
        if realism or any(loss.discriminator_features for loss in losses):
            raise _no_discriminator(start)
        discriminator = fresh_discriminator(model.config.generator)
    images = open_data(settings.data, model.config.generator.size)
    held_out = held_out_photos(settings.data, images)
    training = settings.training
    if settings.inputs.tune_from:
        take_weights(model, "feature_editor", settings.inputs.tune_from)
        training = replace(training, begin="random")
    phase = EditorPhase(training, model, directions, discriminator, networks, held_out)
    result = _run(phase, settings, images, out, resume=resume)
    _finish(result, start, "feature_editor", discriminator)
    return result


def train_attributes(settings: AttributesRun, out: Path, *, resume: bool = False) -> RunResult:
    """Train the attribute classifier."""
    torch.manual_seed(settings.loop.seed)
    size = settings.training.network.size
    images = open_data(settings.data, size)
    table = _table(images, settings.labels)
    held_out = held_out_table = None
    if settings.data.test_where:
        test = settings.data.open(size, settings.data.test_where)
        numbers, held_out = test.readable_photos(range(len(test)))
        names = [test.names[number] for number in numbers]
        held_out_table = _table(test, settings.labels).align(names)
    training = replace(settings.training, steps=settings.loop.steps)  # the rate's schedule
    phase = AttributePhase(training, table, held_out, held_out_table)
    result = _run(phase, replace(settings, training=phase.config), images, out, resume=resume)
    _finish(result, None, "attributes", None)
    return result


def open_data(data: DataConfig, size: int) -> ImageSet:
    """Open the training images.

    Raises:
        ConfigError: no source is named, or nothing is in it.
    """
    if not data.source:
        raise ConfigError("say which images to train on: --data FOLDER|ZIP|TAR")
    return data.open(size, data.where)


def held_out_photos(data: DataConfig, images: ImageSet) -> torch.Tensor:
    """Return photos to validate on, evenly taken; without `test_where` from the training images."""
    chosen = data.open(images.size, data.test_where) if data.test_where else images
    step = max(1, -(-len(chosen) // MOST_HELD_OUT))
    numbers, photos = chosen.readable_photos(range(0, len(chosen), step))
    if not numbers:
        raise PhotoError(
            f"none of the photos to validate on can be read; first: {chosen.skipped[0]}"
        )
    return photos


def _table(images: ImageSet, labels: Path | None) -> AttributeTable:
    if labels is None:
        return table_of(images.names, images.rows)
    return read_attribute_table(labels).align(images.names)


def _run(phase: Any, settings: Any, images: ImageSet, out: Path, *, resume: bool) -> RunResult:
    data = settings.data
    return run(
        phase,
        settings.loop,
        images,
        out,
        mirror=data.mirror,
        workers=data.workers,
        whole=settings,
        resume=resume,
    )


def _finish(
    result: RunResult, start: Start | None, part: str, discriminator: Discriminator | None
) -> None:
    from accelerate import PartialState

    if result.finished and PartialState().is_main_process:
        finish_model(result.folder / "model", start, part, result.step, discriminator)


def _networks(
    inputs: Inputs, *losses: ImageLossConfig, asks_classifier: bool = False
) -> LossNetworks:
    return load_loss_networks(
        losses, files_folder(), inputs.attributes, asks_classifier=asks_classifier
    )


def _discriminator(start: Start, inputs: Inputs) -> Discriminator | None:
    return find_discriminator(inputs.discriminator, start.folder, start.generator.config.size)


def _no_discriminator(start: Start) -> WeightsError:
    return WeightsError(
        "the loss looks through a trained D, but there is no discriminator.safetensors in "
        f"{start.folder}: pass --discriminator, or set discriminator_features and realism to 0"
    )
