"""Which images of a pass are kept to be looked at: the worst, the best, and some drawn by lot.

An image is saved when it is among the worst or best that this process knows of. The worst of all
images are among the worst of every part of them, so whatever the order, an interruption or the
number of processes, the final choice has been saved by somebody.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stylefeatureeditor.files import atomic_path
from stylefeatureeditor.photo.image import to_uint8

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from torch import Tensor

    from stylefeatureeditor.evaluation.rows import Row, Table


@dataclass(frozen=True)
class Choice:
    """Images to show, by number in the set."""

    worst: tuple[int, ...]
    best: tuple[int, ...]
    random: tuple[int, ...]


class PictureKeeper:
    """Saves images that may be shown.

    Args:
        folder: where they go, as `<number>.png`; made when the first comes.
        column: the number that ranks them; larger is worse unless `higher_is_better`.
        count: of each kind.
        candidates: the images that take part, for the lot.
        seed: of the lot.
        higher_is_better: direction of the column.
    """

    def __init__(
        self,
        folder: Path,
        column: str,
        candidates: np.ndarray,
        *,
        count: int = 4,
        seed: int = 0,
        higher_is_better: bool = False,
    ) -> None:
        self.folder, self.column, self.count = folder, column, count
        self.sign = -1.0 if higher_is_better else 1.0
        lot = np.random.default_rng(seed).permutation(candidates)[:count]
        self.lot = tuple(sorted(int(index) for index in lot))
        self._known: list[float] = []  # keys of the best and worst seen, ascending

    def remember(self, rows: Iterable[Row]) -> None:
        """Take note of images that were measured before."""
        for row in rows:
            self._is_extreme(self._key(row.values))

    def offer(
        self, indices: Sequence[int], images: Tensor, rows: Sequence[dict[str, float]]
    ) -> None:
        """Save those of a batch, (B, 3, S, S) in [-1, 1], that may be shown."""
        for place, (index, values) in enumerate(zip(indices, rows, strict=True)):
            if self._is_extreme(self._key(values)) or index in self.lot:
                self.folder.mkdir(parents=True, exist_ok=True)
                with atomic_path(self.path(index)) as path:
                    Image.fromarray(to_uint8(images[place : place + 1])[0]).save(path)

    def path(self, index: int) -> Path:
        """Return where an image is, if it was kept."""
        return self.folder / f"{index}.png"

    def choose(self, table: Table) -> Choice:
        """Return the images to show of a finished pass; ties go by number."""
        keys = self.sign * table.columns[self.column]
        order = [
            int(place) for place in np.argsort(keys, kind="stable") if np.isfinite(keys[place])
        ]
        numbers = [int(table.indices[place]) for place in order]
        best = [index for index in numbers if self.path(index).is_file()][: self.count]
        worst = [index for index in reversed(numbers) if self.path(index).is_file()]
        lot = tuple(index for index in self.lot if self.path(index).is_file())
        return Choice(tuple(worst[: self.count]), tuple(best), lot)

    def _key(self, values: dict[str, float]) -> float:
        return self.sign * values.get(self.column, math.nan)

    def _is_extreme(self, key: float) -> bool:
        """Tell whether a key is among the `count` smallest or largest so far, and note it."""
        if not math.isfinite(key):
            return False
        if len(self._known) < 2 * self.count:
            bisect.insort(self._known, key)
            return True
        if self._known[self.count - 1] < key < self._known[self.count]:
            return False
        bisect.insort(self._known, key)
        del self._known[self.count]  # the least extreme, of whichever half grew
        return True
