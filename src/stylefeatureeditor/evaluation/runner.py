"""Runs a method over a set of photos, batch by batch, and keeps what was measured on disk.

    photos -> drawer -> images, rounded to 8 bits -> numbers per image -> rows-<rank>.csv
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
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.data.images import to_photos
from stylefeatureeditor.errors import ConfigError, DependencyError, PhotoError, check_shape
from stylefeatureeditor.evaluation.measures import as_saved
from stylefeatureeditor.evaluation.peak import peak_kept
from stylefeatureeditor.evaluation.photo_sets import READERS, content_of
from stylefeatureeditor.evaluation.rows import FeatureFile, Row, RowFile
from stylefeatureeditor.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stylefeatureeditor.evaluation.measures import Describer, Measure
    from stylefeatureeditor.evaluation.photo_sets import PhotoSet
    from stylefeatureeditor.evaluation.pictures import PictureKeeper
    from stylefeatureeditor.evaluation.rows import Table

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Drawn:
    """What a drawer makes of a batch.

    Attributes:
        pixels: (B, 3, S, S), nominally in [-1, 1].
        values: further numbers per image, (B,) by column.
    """

    pixels: Tensor
    values: dict[str, Tensor] = field(default_factory=dict)


class Drawer(Protocol):
    """Turns photos into the images that are measured."""

    identity: str  # changes with whatever could change the images
    columns: tuple[str, ...]  # of `Drawn.values`

    def draw(self, photos: Tensor, given: Tensor | None) -> Drawn:
        """Return an image for each photo.

        Args:
            photos: (B, 3, S, S) in [-1, 1].
            given: images made elsewhere, same shape; None if there are none.
        """


class PhotosThemselves:
    """Draws nothing: the photos are described, so that sets can be compared with them."""

    identity = "photos"
    columns: tuple[str, ...] = ()

    def draw(self, photos: Tensor, given: Tensor | None) -> Drawn:
        """Return the photos, or the images given instead of them."""
        return Drawn(photos if given is None else given)


@dataclass(frozen=True)
class Team:
    """The processes that share the work.

    Attributes:
        rank: of this one.
        size: W.
        wait: returns when every process has called it.
        device: of this process; None leaves the choice.
    """

    rank: int = 0
    size: int = 1
    wait: Callable[[], None] = lambda: None
    device: str | None = None

    @staticmethod
    def of_accelerate(*, cpu: bool = False) -> Team:
        """Return the team that `accelerate launch` or `torchrun` made; one process without them.

        Args:
            cpu: leave GPUs alone; so it is where there is none.

        Raises:
            DependencyError: several processes were started, but accelerate is not installed.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return Team()
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise DependencyError(
                "several processes need accelerate: pip install 'stylefeatureeditor[train]'"
            ) from error
        state = PartialState(cpu=cpu or not torch.cuda.is_available())
        assert state.num_processes == int(os.environ["WORLD_SIZE"])  # else all do the same work
        return Team(
            state.process_index, state.num_processes, state.wait_for_everyone, str(state.device)
        )


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One way over some photos.

    Attributes:
        folder: where rows, features and pictures go; made if missing.
        photos: the set.
        drawer: makes the images.
        measures: compare each with its photo.
        describers: describe each image.
        networks: fingerprint of those that measure and describe.
        indices: the photos that take part, ascending; None takes all.
        given: images made elsewhere, in the order of the photos.
        batch_size: photos per call of the drawer.
        device: where photos are sent.
        pictures: which images are kept to be looked at; None keeps none.
    """

    folder: Path
    photos: PhotoSet
    drawer: Drawer
    measures: tuple[Measure, ...] = ()
    describers: tuple[Describer, ...] = ()
    networks: str = ""
    indices: np.ndarray | None = None
    given: PhotoSet | None = None
    batch_size: int = 8
    device: torch.device | str = "cpu"
    pictures: PictureKeeper | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers per image."""
        return (*(measure.name for measure in self.measures), *self.drawer.columns)

    @property
    def numbers(self) -> np.ndarray:
        """The photos that take part."""
        return np.arange(len(self.photos)) if self.indices is None else self.indices

    def features(self, describer: Describer) -> FeatureFile:
        """Return the file of a describer's vectors, one place for every photo of the set."""
        path = self.folder / f"features-{describer.name}.f32"
        return FeatureFile(path, len(self.photos), describer.width)


def run_pass(
    task: Pass, team: Team | None = None, progress: Callable[[int, int], None] | None = None
) -> Table:
    """Do what is left of a pass and return its values.

    Args:
        task: what to do.
        team: the processes that share it; None is this one alone.
        progress: called with (photos done, photos in all).

    Raises:
        ConfigError: the folder holds another evaluation, or the batch size is not positive.
        PhotoError: not one image could be measured.
        ShapeError: the drawer drew images of another size.
    """
    team = team or Team()
    if task.batch_size < 1:
        raise ConfigError(f"the batch size must be at least 1, got {task.batch_size}")
    _claim(task)
    rows = RowFile(task.folder, task.columns, team.rank)
    files = [(describer, task.features(describer)) for describer in task.describers]
    done = rows.read()
    numbers = task.numbers
    batches = np.split(numbers, range(task.batch_size, len(numbers), task.batch_size))
    left = [
        batch
        for place, batch in enumerate(batches)
        if place % team.size == team.rank and not all(int(i) in done for i in batch)
    ]
    if task.pictures is not None:
        task.pictures.remember(done.values())
    finished = len(numbers) - sum(map(len, left)) if team.size == 1 else 0
    del done
    measured = left and team.rank == 0
    with peak_kept(task.folder, task.device) if measured else contextlib.nullcontext():
        for batch, photos, given, errors in _read_ahead(task, left):
            good = [int(index) for index in batch if int(index) not in errors]
            values: list[dict[str, float]] = []
            if photos is not None:
                values = _measure(task, good, photos, given, files)
            found = [Row(i, task.photos.names[i], v) for i, v in zip(good, values, strict=True)]
            bad = [Row(i, task.photos.names[i], {}, reason) for i, reason in errors.items()]
            rows.append([*found, *bad])
            finished += len(batch)
            if progress is not None:
                progress(finished, len(numbers))
    team.wait()
    table = rows.table(numbers.tolist())
    if team.rank == 0:
        rows.finish(numbers.tolist())
    team.wait()
    if not len(table):
        raise PhotoError(
            f"none of the {len(numbers)} images could be measured; first: {table.errors[0]}"
        )
    return table


def timed(device: torch.device | str) -> float:
    """Return the time in seconds, after the device has done what it was asked to."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@torch.no_grad()
def _measure(
    task: Pass,
    indices: list[int],
    photos: Tensor,
    given: Tensor | None,
    files: list[tuple[Describer, FeatureFile]],
) -> list[dict[str, float]]:
    """Draw and measure one batch; return the numbers of each image."""
    drawn = task.drawer.draw(photos, given)
    check_shape(f"images of {task.drawer.identity}", drawn.pixels, tuple(photos.shape))
    images = as_saved(drawn.pixels)
    columns = {measure.name: measure.compare(photos, images) for measure in task.measures}
    columns |= drawn.values
    for describer, file in files:
        file.write(indices, describer.describe(images))
    numbers = {name: column.double().tolist() for name, column in columns.items()}
    rows = [
        {name: column[place] for name, column in numbers.items()} for place in range(len(indices))
    ]
    if task.pictures is not None:
        task.pictures.offer(indices, images, rows)
    return rows


def _read_ahead(
    task: Pass, batches: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, Tensor | None, Tensor | None, dict[int, str]]]:
    """Yield batches with their pixels; the next one is decoded while one is worked on.

    Photos are None if no image of the batch can be read; errors give the reason by image.
    """

    def load(index: int) -> tuple[Tensor, Tensor | None] | str:
        try:
            photo = task.photos.image(index)
            return photo, None if task.given is None else task.given.image(index)
        except PhotoError as error:
            return str(error)

    with ThreadPoolExecutor(READERS) as pool:
        coming = [pool.map(load, batches[0].tolist())] if batches else []
        for place, batch in enumerate(batches):
            loaded = list(coming.pop())
            if place + 1 < len(batches):
                coming.append(pool.map(load, batches[place + 1].tolist()))
            numbered = list(zip(batch.tolist(), loaded, strict=True))
            errors = {index: what for index, what in numbered if isinstance(what, str)}
            pairs = [what for what in loaded if not isinstance(what, str)]
            photos = given = None
            if pairs:
                photos = to_photos(torch.stack([photo for photo, _ in pairs])).to(task.device)
            others = [other for _, other in pairs if other is not None]
            if others:
                given = to_photos(torch.stack(others)).to(task.device)
            yield batch, photos, given, errors


def _claim(task: Pass) -> None:
    """Note in the folder what it is for, or see that it is for the same."""
    given = "none" if task.given is None else content_of(task.given)
    content = {
        "drawer": task.drawer.identity,
        "photos": f"{len(task.photos)} of side {task.photos.size}",
        "content of the photos": content_of(task.photos),
        "images beside them": given,
        "taking part": hashlib.sha256(task.numbers.astype("<i8").tobytes()).hexdigest()[:16],
        "networks that measure": task.networks,
        "columns": [*task.columns, *(describer.name for describer in task.describers)],
        "batch size": task.batch_size,
    }
    task.folder.mkdir(parents=True, exist_ok=True)
    path = task.folder / RUN_FILE
    if path.exists():
        try:
            before = json.loads(path.read_text("utf-8"))
        except ValueError:
            before = {}
        for key, value in content.items():
            if before.get(key) != value:
                raise ConfigError(
                    f"{task.folder} holds another evaluation ({key}: {before.get(key)}, now "
                    f"{value}): choose another folder or delete this one"
                )
        return
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
