"""Runs a method over a set of photos, batch by batch, and keeps what was measured on disk.

    photos -> drawer -> images, rounded to 8 bits -> numbers per image -> rows-<rank>.jsonl
                                                  -> feature vectors   -> features-<name>.f32

Batches are the same whatever the number of processes: batch b is done by process b mod W, whole. So
one process or several, at once or after an interruption, give the same numbers to the last bit, on
one kind of device. An image that cannot be read becomes a row with the reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.data.images import ImageSet, to_photos
from stylefeatureeditor.device import sent, synchronize
from stylefeatureeditor.errors import ConfigError, DependencyError, PhotoError, check_shape
from stylefeatureeditor.evaluation.measures import as_saved
from stylefeatureeditor.evaluation.peak_memory import record_peak_memory
from stylefeatureeditor.evaluation.photo_sets import READERS, content_of
from stylefeatureeditor.evaluation.pictures import PictureKeeper
from stylefeatureeditor.evaluation.rows import (
    Features,
    Row,
    append_rows,
    as_table,
    read_rows,
    save_table,
)
from stylefeatureeditor.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from stylefeatureeditor.evaluation.measures import FeatureExtractor, Measure, Suite
    from stylefeatureeditor.evaluation.rows import Table

RUN_FILE = "run.json"
RANKING = ("lpips", "lpips_vgg", "l2")  # the first there is chooses best and worst images


@dataclass(frozen=True)
class Drawer:
    """Turns photos into the images that are measured."""

    identity: str  # changes with whatever could change the images
    # (B, 3, S, S) in [-1, 1] to an image for each, the same shape, and further numbers per image,
    # (B,) by column
    draw: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]
    columns: tuple[str, ...] = ()  # names of these numbers


NOTHING_DRAWN = Drawer("photos", lambda photos: (photos, {}))  # sets are compared with the photos


@dataclass(frozen=True)
class Processes:
    """The processes that share the work."""

    rank: int = 0
    count: int = 1  # W
    wait: Callable[[], None] = lambda: None  # returns when every process has called it
    device: str | None = None  # of this process; None leaves the choice

    @staticmethod
    def of_accelerate(*, cpu: bool = False) -> Processes:
        """Return what `accelerate launch` or `torchrun` started; one process without them."""
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return Processes()
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise DependencyError(
                "several processes need accelerate: pip install 'stylefeatureeditor[train]'"
            ) from error
        state = PartialState(cpu=cpu or not torch.cuda.is_available())
        assert state.num_processes == int(
            os.environ["WORLD_SIZE"]
        )  # else all would do the same work
        return Processes(
            state.process_index, state.num_processes, state.wait_for_everyone, str(state.device)
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Settings of one evaluation."""

    folder: Path  # everything it leaves on disk; a second run with the same one goes on
    photos: ImageSet  # the test set
    suite: Suite
    batch_size: int = 8  # photos at a time
    device: torch.device | str = "cpu"
    processes: Processes = field(default_factory=Processes)  # that share the work
    seed: int = 0  # of intervals, KID subsets, random halves and random pictures
    pictures: int = 4  # images kept of each kind (worst, best, random)
    # called with (what, photos done, photos in all)
    progress: Callable[[str, int, int], None] = lambda *_: None

    def check_size(self, name: str, size: int) -> None:
        """Raise ConfigError if a method takes photos of another side than these have."""
        if size != self.photos.size:
            raise ConfigError(
                f"{name} takes photos of {size} px, but these are opened at {self.photos.size} px"
            )


@dataclass(frozen=True)
class Pass:
    """A finished pass over some photos."""

    folder: Path
    photos: ImageSet
    table: Table
    pictures: PictureKeeper | None

    def features(self, extractor: FeatureExtractor, indices: np.ndarray | None = None) -> Features:
        """Return an extractor's vectors of the images that were measured, or of some of these."""
        measured = self.table.indices
        some = measured if indices is None else np.intersect1d(indices, measured)
        return _features(self.folder, self.photos, extractor, some)


def run_pass(
    evaluation: Evaluation,
    name: str,
    drawer: Drawer,
    *,
    indices: np.ndarray | None = None,
    given: ImageSet | None = None,
    compared: bool = True,
) -> Pass:
    """Run what is left of a pass over the photos.

    `name` is also the folder's; `indices` are the photos that take part, ascending, None all.
    `given` images, made elsewhere, are measured instead of the photos given to `drawer`. Without
    `compared` only features are taken.
    """
    if evaluation.batch_size < 1:
        raise ConfigError(f"the batch size must be at least 1, got {evaluation.batch_size}")
    photos, suite, processes = evaluation.photos, evaluation.suite, evaluation.processes
    measures = suite.measures if compared else ()
    columns = [*(measure.name for measure in measures), *drawer.columns]
    numbers = np.arange(len(photos)) if indices is None else indices
    folder = evaluation.folder / safe_name(name)
    content = {
        "drawer": drawer.identity,
        "photos": f"{len(photos)} of side {photos.size}",
        "content of the photos": content_of(photos),
        "images beside them": "none" if given is None else content_of(given),
        "taking part": hashlib.sha256(numbers.astype("<i8").tobytes()).hexdigest()[:16],
        "networks that measure": suite.fingerprint,
        "columns": [*columns, *(extractor.name for extractor in suite.extractors)],
        "batch size": evaluation.batch_size,
    }
    _claim(folder, content)
    files = [(each, _features(folder, photos, each)) for each in suite.extractors]
    keeper: PictureKeeper | None = None
    ranking = next((column for column in RANKING if column in columns), None)
    if ranking is not None and evaluation.pictures:
        place = folder / "pictures"
        keeper = PictureKeeper(
            place, ranking, numbers, count=evaluation.pictures, seed=evaluation.seed
        )
    done = read_rows(folder)
    batches = np.split(numbers, range(evaluation.batch_size, len(numbers), evaluation.batch_size))
    own = batches[processes.rank :: processes.count]
    left = [batch for batch in own if not all(int(index) in done for index in batch)]
    if keeper is not None:
        keeper.remember(done.values())
    finished = len(numbers) - sum(map(len, left)) if processes.count == 1 else 0
    watched = left and processes.rank == 0
    with record_peak_memory(folder, evaluation.device) if watched else contextlib.nullcontext():
        is_warm = torch.device(evaluation.device).type == "cpu"
        for read, errors, sets in _read_ahead(evaluation, given, left):
            if not is_warm and sets:
                with torch.no_grad():  # a GPU's first pass is slow: its second is timed
                    drawer.draw(sets[-1])
                is_warm = True
            rows = [Row(i, photos.names[i], {}, reason) for i, reason in errors.items()]
            if sets:
                images, values = _measure(drawer, measures, files, read, sets)
                good = [Row(i, photos.names[i], v) for i, v in zip(read, values, strict=True)]
                if keeper is not None:
                    keeper.offer(images, good)
                rows += good
            append_rows(folder / f"rows-{processes.rank}.jsonl", rows)
            finished += len(rows)
            evaluation.progress(name, finished, len(numbers))
    processes.wait()
    done = read_rows(folder)
    rows = [done[index] for index in numbers.tolist()]
    if processes.rank == 0:
        save_table(folder, rows, columns)
    processes.wait()
    table = as_table(rows, columns)
    if not len(table):
        raise PhotoError(
            f"none of the {len(numbers)} images could be measured; first: {table.errors[0]}"
        )
    return Pass(folder, photos, table, keeper)


def timed(device: torch.device | str) -> float:
    """Return the time in seconds, once the device has finished its work."""
    synchronize(torch.device(device))
    return time.perf_counter()


def safe_name(name: str) -> str:
    """Return a name that every file system takes."""
    kept = "".join(c if c.isalnum() or c in "+-." else "_" for c in name).strip(".")
    return kept or "_"


def _features(
    folder: Path, photos: ImageSet, extractor: FeatureExtractor, some: np.ndarray | None = None
) -> Features:
    path = folder / f"features-{extractor.name}.f32"
    return Features(path, len(photos), extractor.width, some)


@torch.no_grad()
def _measure(
    drawer: Drawer,
    measures: Sequence[Measure],
    files: Sequence[tuple[FeatureExtractor, Features]],
    numbers: Sequence[int],
    sets: Sequence[Tensor],
) -> tuple[Tensor, list[dict[str, float]]]:
    """Draw and measure one batch; return the images, as saved, and the numbers of each."""
    photos = sets[0]
    drawn, found = drawer.draw(sets[-1])
    check_shape(f"images of {drawer.identity}", drawn, tuple(photos.shape))
    images = as_saved(drawn)
    found = {m.name: m.compare(photos, images) for m in measures} | found
    for extractor, file in files:
        file.write(numbers, extractor.extract(images))
    columns = [column.cpu().double().tolist() for column in found.values()]  # MPS has no float64
    if not columns:
        return images, [{} for _ in numbers]
    return images, [dict(zip(found, v, strict=True)) for v in zip(*columns, strict=True)]


def _read_ahead(
    evaluation: Evaluation, given: ImageSet | None, batches: list[np.ndarray]
) -> Iterator[tuple[list[int], dict[int, str], list[Tensor]]]:
    """Yield what could be read, the reason for what could not, and the pixels of each set.

    The next batch is decoded while one is worked on.
    """

    def load(index: int) -> list[Tensor] | str:
        try:
            return [s.image(index) for s in (evaluation.photos, given) if s is not None]
        except PhotoError as error:
            return str(error)

    with ThreadPoolExecutor(READERS) as pool:
        coming = [pool.map(load, batches[0].tolist())] if batches else []
        for place, batch in enumerate(batches):
            loaded = dict(zip(batch.tolist(), coming.pop(), strict=True))
            if place + 1 < len(batches):
                coming.append(pool.map(load, batches[place + 1].tolist()))
            errors = {index: what for index, what in loaded.items() if isinstance(what, str)}
            read = {index: what for index, what in loaded.items() if not isinstance(what, str)}
            stacked = [
                to_photos(sent(torch.stack(images), torch.device(evaluation.device)))
                for images in zip(*read.values(), strict=True)
            ]
            yield list(read), errors, stacked


def _claim(folder: Path, content: dict[str, object]) -> None:
    """Record in the folder what it is for; ConfigError if it is for something else."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RUN_FILE
    if path.exists():
        try:
            before = json.loads(path.read_text("utf-8"))
        except ValueError:
            before = {}
        for key, value in content.items():
            if before.get(key) != value:
                raise ConfigError(
                    f"{folder} holds another evaluation ({key}: {before.get(key)}, now "
                    f"{value}): choose another folder or delete this one"
                )
        return
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
