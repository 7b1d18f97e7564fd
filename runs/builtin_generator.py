"""One stage of the built-in model's generator: G and D of SIZE pixels, grown from half of it.

    python runs/builtin_generator.py SIZE STEPS OUT ZIP...

The run lies in OUT/generator-SIZE; it begins with the compact file of this size, if there is one,
else with what OUT/generator-(SIZE / 2) has reached. The same command goes on from the last
checkpoint. Settings are those of a small model on a CPU; docs/LOG.md tells how they were found.
"""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stylefeatureeditor.data.images import DataConfig
from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.training.checkpoints import load_checkpoint
from stylefeatureeditor.training.generator import (
    GeneratorPhase,
    GeneratorTrainingConfig,
    begin_from,
    read_networks,
)
from stylefeatureeditor.training.loop import LoopConfig, Run, fit
from stylefeatureeditor.training.run_folder import finish_model

CHANNEL_BASE, CHANNEL_MAX = 2048, 128
R1_GAMMA = {32: 0.1, 64: 0.3, 128: 1.0}
GROWN_START = 200  # steps that D's new block is given before G hears it
NOT_ROTATED = {"black_frac": "<=0.05"}  # a rotated crop leaves black corners


def main() -> None:
    """Train one stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", type=int, choices=sorted(R1_GAMMA))
    parser.add_argument("steps", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("zips", nargs="+")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    torch.manual_seed(0)

    settings = stage(given.size, given.steps, given.zips)
    data = settings.data
    test = data.open(given.size, data.test_where)
    held_out = test.photos(range(0, len(test), 2))
    folder = given.out / f"generator-{given.size}"
    own, smaller = compact_networks(given.size), smaller_networks(given.out, given.size // 2)
    start = smaller if own is None else own
    if start is None:
        phase = GeneratorPhase(settings.phase, held_out)
    else:
        phase = begin_from(start, settings.phase, held_out)
    images = data.open(given.size, data.where)
    result = fit(phase, images, settings, folder, resume=True)
    if result.finished:  # the phases that follow go on with D
        finish_model(folder / "model", None, "generator", result.step, phase.discriminator)


def smaller_networks(out: Path, size: int) -> dict[str, Any] | None:
    """Return the networks of the stage before: from its run, or from its compact file."""
    loaded = load_checkpoint(out / f"generator-{size}" / "checkpoints")
    return compact_networks(size) if loaded is None else loaded[1]["phase"]


def compact_networks(size: int) -> dict[str, Any] | None:
    """Return the networks that `compact_generator.py` has kept of a stage, or None."""
    compact = Path(__file__).parent / "checkpoints" / f"generator-{size}.safetensors"
    return read_networks(compact) if compact.is_file() else None


@dataclass(frozen=True, kw_only=True)
class Stage(Run):
    """All settings of a stage; saved beside the run."""

    phase: GeneratorTrainingConfig


def stage(size: int, steps: int, zips: list[str]) -> Stage:
    """Return the settings for a size."""
    data = DataConfig(
        source=tuple(zips),
        where={"split": "train", **NOT_ROTATED},
        test_where={"split": "test", **NOT_ROTATED},
    )
    phase = GeneratorTrainingConfig(
        network=GeneratorConfig(
            size=size,
            style_dim=256,
            mapping_layers=4,
            channel_base=CHANNEL_BASE,
            channel_max=CHANNEL_MAX,
        ),
        discriminator=DiscriminatorConfig(
            size=size, channel_base=CHANNEL_BASE, channel_max=CHANNEL_MAX
        ),
        lr_generator=2.5e-3,
        lr_discriminator=2.5e-3,
        r1_gamma=R1_GAMMA[size],
        path_weight=0.0,
        noise=False,
        generator_start=0 if size == min(R1_GAMMA) else GROWN_START,
    )
    loop = LoopConfig(
        steps=steps,
        batch_size=16,
        precision="bf16",
        channels_last=True,
        log_every=50,
        validate_every=500,
        sample_every=500,
        save_every=500,
        keep=2,
        tensorboard=False,
    )
    return Stage(data=data, phase=phase, loop=loop)


if __name__ == "__main__":
    main()
