"""Whole processes, as a user starts them: importing, `sfe --help`, `sfe edit` of one photo."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.measure import run_process, summary
from benchmarks.models import config_of, random_model
from benchmarks.training import smooth_picture
from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.photo.image import save_photo, to_uint8

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REPEATS = 5


def short_processes() -> dict[str, list[str]]:
    """Return the commands that only start, by their names in the report."""
    imports = {
        "import torch": "import torch",
        "import stylefeatureeditor": "import stylefeatureeditor",
        "import torch and Editor": "import torch, stylefeatureeditor as sfe; sfe.Editor",
    }
    commands = {name: [sys.executable, "-c", code] for name, code in imports.items()}
    return commands | {"sfe --help": [sys.executable, "-m", "stylefeatureeditor", "--help"]}


def save_model(size: int, folder: Path) -> Path:
    """Write a model of random weights that knows one direction, "smile"; return its folder."""
    config = config_of(size)
    vector = torch.randn(config.generator.style_dim) / config.generator.style_dim**0.5
    smile = CatalogEntry(
        name="smile",
        kind="linear",
        useful_range=(-3.0, 3.0),
        label="Smile",
        tensors={"vector": vector},
    )
    Editor(random_model(config), Catalog((smile,))).save_pretrained(folder)
    return folder


@contextmanager
def edit_process(size: int, device: str) -> Iterator[list[str]]:
    """Make a model folder and a photo, and give the command that edits it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(size, folder / "model")
        save_photo(to_uint8(smooth_picture(size, 0))[0], folder / "photo.png")
        command = [sys.executable, "-m", "stylefeatureeditor", "edit", str(folder / "photo.png")]
        command += ["--aligned", "-e", "smile=1", "--model", str(folder / "model")]
        yield [*command, "--device", device, "-o", str(folder / "edited.png")]


def process_row(name: str, command: Sequence[str]) -> dict[str, object]:
    """Return a row of the report: seconds and GiB at the peak, files already in memory."""
    runs = [run_process(command) for _ in range(REPEATS + 1)][1:]
    timing = summary([run.seconds for run in runs])
    return {"name": name, **asdict(timing), "peak": max(run.peak for run in runs)}
