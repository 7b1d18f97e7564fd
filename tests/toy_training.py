"""A phase of four numbers and a folder of tiny pictures, to train in milliseconds.

Run as a program it is one process of a run: toy_training.py IMAGES FOLDER JSON-settings.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stylefeatureeditor.data.images import DataConfig, ImageSet, open_images
from stylefeatureeditor.training.loop import LoopConfig, Run, RunResult, fit
from stylefeatureeditor.training.phase import Phase

if TYPE_CHECKING:
    from accelerate import Accelerator

SIDE = 4


@dataclass
class ToyPhase(Phase):
    """Fits the mean of each colour from noisy ones, and does something drastic at a step.

    Attributes:
        noise: deviation of what is added to the photos; drawn from torch's global generator.
        at: the step before which `act` happens; -1 for never.
        act: "nan", "term", "kill" or "kill in save".
    """

    noise: float = 0.1
    at: int = -1
    act: str = ""

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = nn.Linear(3, 3)
        self.optimizer: Any = torch.optim.Adam(self.model.parameters(), lr=0.05)
        self.seen = 0
        self.steps: list[int] = []

    def prepare(self, accelerator: Accelerator) -> list[nn.Module]:
        self.accelerator = accelerator
        self.model, self.optimizer = accelerator.prepare(self.model, self.optimizer)
        return [self.model]

    def train_step(self, photos: Tensor, step: int) -> dict[str, Any]:
        if step == self.at and self.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self.at and self.act == "term":
            signal.raise_signal(signal.SIGTERM)
        self.steps.append(step)
        self.seen += len(photos)
        means = photos.mean(dim=(2, 3))
        guess = self.model(means + self.noise * torch.randn_like(means))
        loss = (guess - means).square().mean()
        if step == self.at and self.act == "nan":
            loss = loss / 0
        self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"loss": loss.detach(), "brightness": means.mean()}

    def parts(self) -> dict[str, Any]:
        return {}  # states of its own

    def validate(self) -> dict[str, float]:
        return {"weight": self._plain().weight.norm().item()}

    def samples(self) -> Tensor | None:
        return torch.linspace(-1, 1, 48).reshape(3, 4, 4)

    def state_dict(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict()
        return {"model": self._plain().state_dict(), "optimizer": optimizer, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._plain().load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seen = state["seen"]

    def save_model(self, folder: Path) -> None:
        if self.act == "kill in save" and self.steps and self.steps[-1] >= self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        save_file(dict(self._plain().state_dict()), folder / "model.safetensors")

    def _plain(self) -> nn.Linear:
        plain = self.accelerator.unwrap_model(self.model)
        assert isinstance(plain, nn.Linear)
        return plain


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Fill a folder with random pictures: 0000.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(1)
    paths = [folder / f"{i:04d}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    return paths


def toy_config(**changes: Any) -> LoopConfig:
    """A short run on the CPU that logs every step."""
    settings: dict[str, Any] = {
        "steps": 12,
        "batch_size": 4,
        "device": "cpu",
        "log_every": 1,
        "save_every": 5,
        "tensorboard": False,
        **changes,
    }
    return LoopConfig(**settings)


def run(
    phase: Any,
    loop: LoopConfig,
    images: ImageSet,
    folder: Path,
    *,
    mirror: bool = False,
    resume: bool = False,
) -> RunResult:
    """Train a phase on images that are open."""
    config = Run(loop=loop, data=DataConfig(mirror=mirror))
    return fit(phase, images, config, folder, resume=resume)


def toy_images(folder: Path) -> ImageSet:
    """Open the pictures of a folder."""
    return open_images(folder, SIDE)


def final_model(folder: Path) -> dict[str, Tensor]:
    """Return the weights a finished run has left."""
    return load_file(folder / "model" / "model.safetensors")


def read_log(folder: Path, kind: str = "train") -> list[dict[str, Any]]:
    """Return the log's lines of a kind, without what differs from run to run."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("images_per_s", None)
        line.pop("data_wait", None)
    return [line for line in lines if line["kind"] == kind]


def main(images: str, folder: str, settings: str) -> RunResult:
    """Run one process."""
    given = json.loads(settings)
    phase = ToyPhase(**given["phase"])
    return run(phase, toy_config(**given["loop"]), toy_images(Path(images)), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
