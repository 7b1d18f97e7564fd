"""Phases 1 and 2 and e4e on tiny models, for runs of one process and of several.

Run as a program it is one process of all three runs: phase_processes.py IMAGES FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from phase_training import PIXELS, tiny_discriminator
from seeded import draw
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.training.adversary import AdversarialConfig
from stylefeatureeditor.training.e4e import E4ePhase, E4eTrainingConfig, LatentDiscriminatorConfig
from stylefeatureeditor.training.edit_pairs import TrainingDirection
from stylefeatureeditor.training.feature_editor import EditorPhase, EditorTrainingConfig
from stylefeatureeditor.training.generator import GeneratorPhase, GeneratorTrainingConfig
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.training.inverter import InverterPhase, InverterTrainingConfig
from stylefeatureeditor.training.loop import LoopConfig
from stylefeatureeditor.training.losses import R1Config
from tiny import SIZE, WIDTH, tiny_model, tiny_photos
from toy_training import run

STEPS, BATCH = 5, 4
ADVERSARIAL = AdversarialConfig(start=2, r1=R1Config(every=2))
DIRECTIONS = [
    TrainingDirection(EditDirection.linear(draw("test.smile", (WIDTH,)), "smile"), (-1.0, 2.0))
]


def make_phase(name: str) -> Any:
    """Return a phase by the name of the network that it trains.

    BatchNorm is frozen: on CPUs each process would normalise by its own photos. D_w is left out,
    since every process draws its own codes for it.
    """
    model, networks = tiny_model(), LossNetworks()
    if name == "e4e":
        encoder = E4eTrainingConfig(
            image=PIXELS,
            latent=LatentDiscriminatorConfig(weight=0.0),
            progressive_every=0,
            batch_norm="frozen",
        )
        return E4ePhase(encoder, model, networks)
    if name == "inverter":
        inverter = InverterTrainingConfig(
            image=PIXELS, adversarial=ADVERSARIAL, batch_norm="frozen"
        )
        return InverterPhase(inverter, model, tiny_discriminator(), networks, tiny_photos(3))
    if name == "generator":
        config = GeneratorTrainingConfig(
            network=model.config.generator, discriminator=tiny_discriminator().config, path_every=2
        )
        return GeneratorPhase(config, tiny_photos(3))
    editor = EditorTrainingConfig(
        edit=PIXELS, inversion=PIXELS, adversarial=ADVERSARIAL, batch_norm="frozen"
    )
    return EditorPhase(editor, model, DIRECTIONS, tiny_discriminator(), networks)


def write_photos(folder: Path) -> None:
    """Write as many photos as the runs see."""
    folder.mkdir()
    for number in range(STEPS * BATCH):
        noise = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number:02d}.png")


def train(name: str, images: Path, folder: Path) -> None:
    """Train one phase for a few steps, as one process of however many there are."""
    config = LoopConfig(
        steps=STEPS,
        batch_size=BATCH,
        device="cpu" if name == "e4e" else "auto",  # where there is no GPU both are the same
        channels_last=name == "inverter",
        find_unused_parameters=name == "generator",
        sample_every=0,
        log_every=1,
        tensorboard=False,
    )
    run(make_phase(name), config, open_images(images, SIZE), folder / name)


if __name__ == "__main__":
    for each in ("e4e", "inverter", "feature_editor", "generator"):
        train(each, Path(sys.argv[1]), Path(sys.argv[2]))
