"""What a change costs or brings: a revision's package and the working tree's, in turns in one run.

    python -m benchmarks.before_after --before REV
    python -m benchmarks.before_after --before REV --only commands training --rounds 3 --write

A figure is the best of its rounds: on a machine whose speed drifts, the best of turns can be
compared, means of minutes cannot. Commands and training count the processor's seconds, which other
programs on the machine hardly change; a command that waits for itself in two threads takes fewer.
Training runs by each side's own `benchmarks.training`, the rest by the working tree's benchmarks.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import torch
from PIL import Image

from benchmarks.inference import method_items
from benchmarks.measure import ROOT, peak_memory, seconds_of
from benchmarks.models import config_of, random_model
from benchmarks.processes import save_model
from benchmarks.report import write_part
from benchmarks.run import this_machine
from benchmarks.training import BATCH, PHASES
from benchmarks.web_page import first_rows, missing
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.photo.image import save_photo
from stylefeatureeditor.photo.landmarks import Face
from stylefeatureeditor.runtimes.quick import quicken

if TYPE_CHECKING:
    from collections.abc import Callable

Figures = dict[str, float]
PER_SECOND = "images/s"  # of such figures more is better; the others are seconds and GiB
TRAIN = """
import sys
from benchmarks import training

name, size, batch, steps = sys.argv[1], *map(int, sys.argv[2:])
training.SMALL = 128  # earlier revisions measured the small presets up to 64 px
training.BATCH["cpu"][size] = batch
training.train(name, size, "cpu", steps)
"""
SFE = (sys.executable, "-m", "stylefeatureeditor")


def commands(env: dict[str, str], folder: Path) -> Figures:
    """Seconds of `sfe edit` of a photo, of refusals, and of `import torch` beside them."""
    from skimage import data

    photo = folder / "photo.png"
    save_photo(data.astronaut(), photo)
    edit = (*SFE, "edit", str(photo), "-o", str(folder / "out.png"))
    words = {
        "import torch": (sys.executable, "-c", "import torch"),
        "sfe edit": (*edit, "-e", "smile=2"),
        "refusal of an edit": (*edit, "-e", "smlie=2"),
        "refusal of a mask": (*edit, "-e", "smile=2", "--mask", "gone.png"),
        "refusal of a photo": (*SFE, "edit", __file__, "-e", "smile=2"),
    }
    return {name: _processor_seconds(command, env) for name, command in words.items()}


def group(env: dict[str, str], _folder: Path) -> Figures:
    """Of a photo of 24 megapixels one face is edited, or 20: seconds of CPU, and GiB."""
    found: Figures = {}
    for count in ("1", "20"):
        found |= _answer(["benchmarks.before_after", "--work", "group", count], env)
    return found


def training(env: dict[str, str], _folder: Path) -> Figures:
    """Images per processor second of the four phases at 64 and 128 px, without the first step."""
    tree = Path(env["PYTHONPATH"]).parent
    found = {}
    for size, phase in product((64, 128), PHASES):
        batch = BATCH["cpu"][size]
        words = (sys.executable, "-c", TRAIN, phase, str(size), str(batch))
        first, all_ = (_processor_seconds((*words, steps), env, tree) for steps in ("1", "5"))
        found[f"{phase}, {size} px, {PER_SECOND}"] = 4 * batch / (all_ - first)
    return found


def edits(env: dict[str, str], _folder: Path) -> Figures:
    """A fresh edit at 1024 px."""
    return _answer(["benchmarks.before_after", "--work", "edit"], env)


def opening(env: dict[str, str], folder: Path) -> Figures:
    """Two processes with one 1024 px model: seconds to open it, and their memory."""
    model = folder / "model"
    if not model.exists():
        save_model(1024, model)
    command = [sys.executable, "-m", "benchmarks.before_after", "--work", "open", str(model)]
    pipe = subprocess.PIPE
    both = [
        subprocess.Popen(command, env=env, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        for _ in range(2)
    ]
    seconds = [json.loads(process.stdout.readline()) for process in both if process.stdout]
    shares = [Path(f"/proc/{process.pid}/smaps_rollup").read_text() for process in both]
    for process in both:
        process.communicate()
    sizes = (
        line.split()[1] for text in shares for line in text.splitlines() if line.startswith("Pss:")
    )
    return {"opening a model": max(seconds), "two processes, GiB": sum(map(int, sizes)) / 2**20}


def page(env: dict[str, str], _folder: Path) -> Figures:
    """The page's first picture after a photo is there, and its first slider."""
    return {} if missing() else _answer(["benchmarks.before_after", "--work", "page"], env)


PARTS: dict[str, Callable[[dict[str, str], Path], Figures]] = {
    "commands": commands,
    "group": group,
    "training": training,
    "edits": edits,
    "opening": opening,
    "page": page,
}


def work(words: list[str]) -> None:
    """Do one piece of work in this process, with whichever package it imports; print figures."""
    if words[0] == "page":
        print(json.dumps(first_rows("cpu")))
    elif words[0] == "group":
        print(json.dumps(_group_photo(int(words[1]))))
    elif words[0] == "open":
        start = time.perf_counter()
        editor = Editor.from_pretrained(words[1], device="cpu")
        print(time.perf_counter() - start, flush=True)
        sys.stdin.read()  # until both have been looked at
        del editor
    else:
        with torch.no_grad():
            sfe = Sfe(quicken(random_model(config_of(1024))))
            photo = torch.rand(1, 3, 1024, 1024) * 2 - 1
            (item,) = (item for item in method_items(sfe, photo) if item.name == "fresh edit")
            item.work()
            found = {"fresh edit, 1024 px": min(seconds_of(item.work) for _ in range(3))}
        print(json.dumps(found))


def _group_photo(count: int) -> Figures:
    """Edit so many faces of a photo of 6000 x 4000 pixels, which are not searched."""
    from skimage import data

    tile = Image.fromarray(data.astronaut()[:300, 60:400]).resize((1200, 1000))
    photo = np.tile(np.asarray(tile), (4, 5, 1))
    points = np.zeros((68, 2))
    for part, place in (((36, 42), (505, 337)), ((42, 48), (656, 347)), ((48, 68), (575, 505))):
        points[slice(*part)] = place  # of its eyes and mouth
    places = [(1200 * column, 1000 * row) for row in range(4) for column in range(5)][:count]
    faces = [Face((0, 0, 1, 1), 1.0, points + place) for place in places]
    editor = Editor.from_pretrained(device="cpu")
    with mock.patch("stylefeatureeditor.editor.find_faces", return_value=faces):
        start = time.process_time()
        result = editor.edit(photo, {"smile": 2.0}, face="all").photo
        seconds = time.process_time() - start
    assert result.size == (6000, 4000)
    named = f"{count} {'face' if count == 1 else 'faces'} in 24 megapixels"
    return {f"{named}, CPU s": seconds, f"{named}, GiB": peak_memory("cpu")}


def compare(before: str, parts: list[str], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the best figures of a revision and of the working tree, by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = subprocess.run(
            ["git", "archive", before, "src", "benchmarks"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        best: dict[str, list[float]] = {}
        for number in range(rounds):
            for part in parts:
                for side, tree in enumerate((folder, ROOT)):
                    env = {**os.environ, "PYTHONPATH": str(tree / "src")}
                    for row, value in PARTS[part](env, folder).items():
                        pick = max if row.endswith(PER_SECOND) else min
                        known = best.setdefault(row, [value, value])
                        known[side] = value if number == 0 else pick(known[side], value)
    return {row: (old, new) for row, (old, new) in best.items()}


def _processor_seconds(command: tuple[str, ...], env: dict[str, str], folder: Path = ROOT) -> float:
    start = _of_children()
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, check=False)
    if done.returncode not in (0, 2):
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()[-600:]}")
    return _of_children() - start


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _answer(words: list[str], env: dict[str, str]) -> Figures:
    """What a program of the benchmarks prints last, as JSON."""
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr[-600:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Print a table of both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", metavar="REV", default="HEAD")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into docs/PERFORMANCE.md")
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    found, machine = compare(options.before, options.only, options.rounds), this_machine()
    lines = [
        "## Before and after\n",
        f"{machine['cpu']}, {machine['threads']} threads, load {machine['load']:.0f}; commands and "
        f"training in processor seconds; in turns, the best of {options.rounds}.\n",
        f"| | {options.before} | {machine['commit']} | after / before |\n|---|---|---|---|",
        *(
            f"| {row} | {old:.3g} | {new:.3g} | {new / old:.2f} |"
            for row, (old, new) in found.items()
        ),
    ]
    print("\n".join(lines))
    if options.write:
        write_part(ROOT / "docs" / "PERFORMANCE.md", "before and after", "\n".join(lines))


if __name__ == "__main__":
    main()
