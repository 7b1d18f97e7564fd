"""What an evaluation shares: its settings, the row that comes of it, and distances between sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stylefeatureeditor.evaluation.bootstrap import Mean
from stylefeatureeditor.evaluation.measures import kid_name
from stylefeatureeditor.evaluation.pictures import PictureKeeper
from stylefeatureeditor.evaluation.rows import StoredFeatures
from stylefeatureeditor.evaluation.runner import Pass, PhotosThemselves, Team, run_pass
from stylefeatureeditor.metrics.frechet import (
    frechet_inception_distance,
    kernel_inception_distance,
    statistics,
)
from stylefeatureeditor.photo.image import read_photo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from stylefeatureeditor.evaluation.measures import Describer, Suite
    from stylefeatureeditor.evaluation.photo_sets import PhotoSet
    from stylefeatureeditor.evaluation.rows import Table
    from stylefeatureeditor.evaluation.runner import Drawer

RANKING = ("lpips", "lpips_vgg", "l2")  # the first there is chooses best and worst images


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of one evaluation.

    Attributes:
        folder: everything it leaves on disk; a second run with the same one goes on.
        photos: the test set.
        suite: what is measured.
        batch_size: photos at a time.
        device: where networks run.
        team: the processes that share the work.
        seed: of intervals, KID subsets, random halves and random pictures.
        pictures: images kept of each kind (worst, best, random).
        progress: called with (what, photos done, photos in all).
    """

    folder: Path
    photos: PhotoSet
    suite: Suite
    batch_size: int = 8
    device: torch.device | str = "cpu"
    team: Team = field(default_factory=Team)
    seed: int = 0
    pictures: int = 4
    progress: Callable[[str, int, int], None] | None = None

    def run(self, task: Pass, what: str) -> Table:
        """Run a pass of this plan."""
        say = self.progress
        return run_pass(
            task, self.team, None if say is None else lambda done, total: say(what, done, total)
        )

    def task(
        self,
        name: str,
        drawer: Drawer,
        *,
        indices: np.ndarray | None = None,
        given: PhotoSet | None = None,
    ) -> Pass:
        """Return the pass of a drawer, with everything of the suite, in its own folder."""
        numbers = np.arange(len(self.photos)) if indices is None else indices
        folder = self.folder / safe_name(name)
        measured = {measure.name: measure.better for measure in self.suite.measures}
        ranking = next((column for column in RANKING if column in measured), None)
        pictures = None
        if ranking is not None and self.pictures:
            pictures = PictureKeeper(
                folder / "pictures", ranking, numbers, count=self.pictures, seed=self.seed
            )
        return Pass(
            folder=folder,
            photos=self.photos,
            drawer=drawer,
            measures=self.suite.measures,
            describers=self.suite.describers,
            networks=self.suite.fingerprint,
            indices=indices,
            given=given,
            batch_size=self.batch_size,
            device=self.device,
            pictures=pictures,
        )

    def describe_photos(self) -> tuple[Pass, Table]:
        """Describe the photos themselves, once for all methods."""
        task = Pass(
            folder=self.folder / "photos",
            photos=self.photos,
            drawer=PhotosThemselves(),
            describers=self.suite.describers,
            networks=self.suite.fingerprint,
            batch_size=self.batch_size,
            device=self.device,
        )
        return task, self.run(task, "photos")


@dataclass(frozen=True)
class Shown:
    """An image of the page.

    Attributes:
        kind: heading it stands under: "worst", "best", "random".
        name: of the photo.
        photo: (S, S, 3) uint8.
        drawn: (S, S, 3) uint8.
        values: its numbers.
    """

    kind: str
    name: str
    photo: np.ndarray
    drawn: np.ndarray
    values: dict[str, float]


@dataclass(frozen=True)
class MethodResult:
    """One row of a table.

    Attributes:
        method: name of the row.
        values: number by column.
        count: images measured.
        errors: "name: reason" of the images that were not.
        shown: images for the page.
        peak_mib: most memory in use, see `peak.py`; None if not known.
    """

    method: str
    values: dict[str, Mean]
    count: int = 0
    errors: tuple[str, ...] = ()
    shown: tuple[Shown, ...] = ()
    peak_mib: float | None = None

    @property
    def cells(self) -> dict[str, Mean]:
        """`values` and the peak, by column."""
        peak = {} if self.peak_mib is None else {"peak_mib": Mean(self.peak_mib)}
        return self.values | peak


def set_distances(
    first: StoredFeatures, second: StoredFeatures, describer: Describer, seed: int
) -> dict[str, Mean]:
    """Return FID and KID of two sets under one describer; nothing if a set is too small."""
    if min(len(first), len(second)) < 2:
        return {}
    count = min(len(first), len(second))
    fid = frechet_inception_distance(statistics(first.chunks()), statistics(second.chunks()))
    kid = kernel_inception_distance(first, second, seed=seed)
    return {
        describer.name: Mean(fid, count=count),
        kid_name(describer.name): Mean(kid.mean, count=count),
    }


def distances_to_photos(plan: Plan, task: Pass, table: Table) -> dict[str, Mean]:
    """Return the set distances between a pass's images and the photos they were made from."""
    if not task.describers:
        return {}
    reference, photos = plan.describe_photos()
    values: dict[str, Mean] = {}
    for describer in task.describers:
        real = StoredFeatures(reference.features(describer), photos.indices)
        drawn = StoredFeatures(task.features(describer), table.indices)
        values |= set_distances(real, drawn, describer, plan.seed)
    return values


def pictures_of(
    task: Pass, table: Table, kinds: tuple[str, str, str] = ("worst", "best", "random")
) -> tuple[Shown, ...]:
    """Return the images of a pass that are worth looking at.

    Args:
        task: the pass.
        table: its values.
        kinds: headings for the images farthest from their photos, the nearest, and the lot.
    """
    keeper = task.pictures
    if keeper is None:
        return ()
    place = {int(index): at for at, index in enumerate(table.indices)}
    choice = keeper.choose(table)
    chosen = zip(kinds, (choice.worst, choice.best, choice.random), strict=True)
    return tuple(
        Shown(
            kind,
            task.photos.names[index],
            task.photos.image(index).permute(1, 2, 0).numpy(),
            read_photo(keeper.path(index)).pixels,
            {name: float(column[place[index]]) for name, column in table.columns.items()},
        )
        for kind, indices in chosen
        for index in indices
        if index in place
    )


def safe_name(name: str) -> str:
    """Return a name that every file system takes."""
    kept = "".join(c if c.isalnum() or c in "+-." else "_" for c in name).strip(".")
    return kept or "_"
