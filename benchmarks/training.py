"""Training steps of every phase: images per second, share of time waiting for images, peak memory.

Each phase runs in a process of its own, through the training loop itself, on generated pictures
that are decoded from files. Every loss takes part from the first step on: D, all styles, LPIPS and
identity networks of the published sizes with random weights. What a preset does only every so many
steps (R1, path length) comes at step 0, which is not counted.

Run as a program it trains one: python -m benchmarks.training PHASE SIZE DEVICE STEPS
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.measure import peak_memory, run_process, summary
from benchmarks.models import config_of, random_model
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.metrics.perceptual import ArcFaceConfig, ArcFaceFeatures, Lpips
from stylefeatureeditor.photo.image import save_photo, to_uint8
from stylefeatureeditor.training import presets
from stylefeatureeditor.training.e4e import E4ePhase
from stylefeatureeditor.training.edit_pairs import TrainingDirection
from stylefeatureeditor.training.feature_editor import EditorPhase
from stylefeatureeditor.training.generator import GeneratorPhase
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.training.inverter import InverterPhase
from stylefeatureeditor.training.loop import LoopConfig, Run, fit
from stylefeatureeditor.training.phase import Phase
from stylefeatureeditor.training.run_folder import fresh_discriminator

if TYPE_CHECKING:
    from accelerate import Accelerator

PHASES = ("generator", "e4e", "inverter", "editor")
BATCH = {"cpu": {64: 16, 128: 16, 256: 4, 1024: 1}, "cuda": {64: 64, 128: 64, 256: 16, 1024: 8}}
STEPS = {"cpu": 4, "cuda": 24}  # the first is not counted


@dataclass
class Measured(Phase):
    """A phase that trains and nothing else, and keeps when its steps began and ended."""

    phase: Any
    times: list[tuple[float, float]] = field(default_factory=list)

    def prepare(self, accelerator: Accelerator) -> list[nn.Module]:
        """See `Phase`."""
        modules: list[nn.Module] = self.phase.prepare(accelerator)
        return modules

    def train_step(self, photos: Tensor, step: int) -> dict[str, Any]:
        """See `Phase`."""
        begin = time.perf_counter()
        metrics: dict[str, Any] = self.phase.train_step(photos, step)
        if photos.is_cuda:
            torch.cuda.synchronize()
        self.times.append((begin, time.perf_counter()))
        return metrics

    def validate(self) -> dict[str, float]:
        """See `Phase`."""
        return {}

    def samples(self) -> None:
        """See `Phase`."""

    def state_dict(self) -> dict[str, Any]:
        """See `Phase`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Phase`."""

    def save_model(self, folder: Path) -> None:
        """See `Phase`."""


def training_row(phase: str, size: int, device: str) -> dict[str, object]:
    """Return a phase's row of the report, measured in a process of its own.

    Raises:
        RuntimeError: the process failed, for want of memory for instance.
    """
    steps = STEPS[device]
    command = [sys.executable, "-m", "benchmarks.training", phase, str(size), device, str(steps)]
    found: dict[str, object] = json.loads(run_process(command).output.splitlines()[-1])
    return found


def make_phase(name: str, size: int) -> tuple[Any, LoopConfig]:
    """Return a phase by name, and the loop that its preset has."""
    is_small = size <= presets.SMALL_UP_TO
    if name == "generator":
        run_of_g = presets.generator_run("small" if is_small else "standard", size)
        return GeneratorPhase(run_of_g.training), run_of_g.loop
    if is_small:
        generator = presets.generator_run("small", size).training.network
        config, networks = presets.model_config("small", generator), LossNetworks()
    else:
        config = config_of(size)
        networks = LossNetworks(Lpips("vgg"), ArcFaceFeatures(ArcFaceConfig()))
    model = random_model(config)
    discriminator = fresh_discriminator(config.generator)
    if name == "e4e":
        e4e = presets.e4e_run("small" if is_small else "paper", config)
        training = replace(e4e.training, progressive_start=0, progressive_every=0, zero_heads=False)
        return E4ePhase(training, model, networks, discriminator), e4e.loop
    preset = "small" if is_small else "released"
    if name == "inverter":
        inverter = presets.inverter_run(preset, config)
        adversarial = replace(inverter.training.adversarial, start=0)
        phase_1 = replace(inverter.training, adversarial=adversarial, blend_steps=0)
        return InverterPhase(phase_1, model, discriminator, networks), inverter.loop
    direction = EditDirection.linear(torch.randn(config.generator.style_dim) / 10, "direction")
    editor = presets.editor_run(preset, config, {"direction": (1.0,)})
    # at random weights real steps would overflow, so these hardly move: the work is the same
    phase_2 = replace(
        editor.training,
        adversarial=replace(editor.training.adversarial, start=0, lr=1e-30),
        ranger=replace(editor.training.ranger, lr=1e-30),
    )
    directions = [TrainingDirection(direction, (1.0,))]
    return EditorPhase(phase_2, model, directions, discriminator, networks), editor.loop


def train(name: str, size: int, device: str, steps: int) -> dict[str, object]:
    """Train for some steps and return the row of the report."""
    phase, loop = make_phase(name, size)
    batch = BATCH[device].get(size, 1)
    loop = replace(
        loop,
        steps=steps,
        batch_size=batch,
        device="cpu" if device == "cpu" else "auto",
        validate_every=0,
        sample_every=0,
        save_every=steps,
        tensorboard=False,
    )
    measured = Measured(phase)
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        for number in range(2 * batch):
            save_photo(to_uint8(smooth_picture(size, number))[0], photos / f"{number}.png")
        images = open_images([photos], size, memory_gib=0)
        fit(measured, images, Run(loop=loop), Path(folder, "run"))
    ends = [end for _, end in measured.times]
    timing = summary([end - before for before, end in pairwise(ends)])
    whole = ends[-1] - ends[0]
    busy = sum(end - begin for begin, end in measured.times[1:])
    return {
        "name": name,
        "batch": batch,
        "precision": phase.accelerator.mixed_precision.replace("no", "fp32"),
        **asdict(timing),
        "images_per_s": batch / timing.median,
        "wait": (whole - busy) / whole,
        "peak": peak_memory(device),
    }


def smooth_picture(size: int, seed: int) -> Tensor:
    """Return a picture (1, 3, size, size) in [-1, 1] that compresses as a photo does."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 16, 16, generator=generator) * 2 - 1
    fine = torch.randn(1, 3, size, size, generator=generator) * 0.02
    smooth = nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    return (smooth + fine).clamp(-1, 1)


if __name__ == "__main__":
    logging.disable()
    print(json.dumps(train(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))))
