"""Results of an evaluation: rows of the table, pictures, and distances between sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stylefeatureeditor.evaluation.bootstrap import Mean
from stylefeatureeditor.evaluation.measures import kid_name
from stylefeatureeditor.evaluation.peak_memory import read_peak_memory
from stylefeatureeditor.evaluation.runner import NOTHING_DRAWN, run_pass
from stylefeatureeditor.metrics.frechet import (
    frechet_inception_distance,
    kernel_inception_distance,
    statistics,
)
from stylefeatureeditor.photo.image import read_photo

if TYPE_CHECKING:
    import numpy as np

    from stylefeatureeditor.evaluation.runner import Evaluation, Pass


@dataclass(frozen=True)
class Shown:
    """An image of the page."""

    kind: str  # heading it stands under: "worst", "best", "random"
    name: str  # of the photo
    photo: np.ndarray  # (S, S, 3) uint8
    drawn: np.ndarray  # (S, S, 3) uint8
    values: dict[str, float]


@dataclass(frozen=True)
class MethodResult:
    """One row of a table."""

    method: str  # name of the row
    values: dict[str, Mean]  # number by column
    count: int = 0  # images measured
    errors: tuple[str, ...] = ()  # "name: reason" of the images that were not
    shown: tuple[Shown, ...] = ()  # images for the page
    peak_mib: float | None = None  # most memory in use, see `peak_memory.py`; None if not known

    @property
    def cells(self) -> dict[str, Mean]:
        """`values` and the peak, by column."""
        peak = {} if self.peak_mib is None else {"peak_mib": Mean(self.peak_mib)}
        return self.values | peak

    @staticmethod
    def of(
        method: str,
        done: Pass,
        values: dict[str, Mean],
        kinds: tuple[str, ...] = ("worst", "best", "random"),
    ) -> MethodResult:
        """Return the row of a pass."""
        table, shown = done.table, []
        if done.pictures is not None:
            place = {int(index): at for at, index in enumerate(table.indices)}
            chosen = zip(kinds, done.pictures.choose(table), strict=True)
            shown = [
                Shown(
                    kind,
                    done.photos.names[index],
                    done.photos.image(index).permute(1, 2, 0).numpy(),
                    read_photo(done.pictures.path(index)).pixels,
                    {name: float(column[place[index]]) for name, column in table.columns.items()},
                )
                for kind, indices in chosen
                for index in indices
            ]
        peak = read_peak_memory(done.folder)
        return MethodResult(method, values, len(table), table.errors, tuple(shown), peak)


def distances_to_photos(
    evaluation: Evaluation, done: Pass, indices: np.ndarray | None = None
) -> dict[str, Mean]:
    """Return FID and KID between a pass's images and photos; nothing where a set is too small."""
    if not evaluation.suite.extractors:
        return {}
    photos = run_pass(evaluation, "photos", NOTHING_DRAWN, compared=False)
    values = {}
    for extractor in evaluation.suite.extractors:
        first, second = photos.features(extractor, indices), done.features(extractor)
        count = min(len(first), len(second))
        if count >= 2:
            fid = frechet_inception_distance(*map(statistics, (first, second)))
            kid = kernel_inception_distance(first, second, seed=evaluation.seed)
            values[extractor.name] = Mean(fid, count=count)
            values[kid_name(extractor.name)] = Mean(kid, count=count)
    return values
