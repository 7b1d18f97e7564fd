"""Which images of a pass are kept for the report: the worst, the best, and some random ones.

A process saves an image that is among the worst or best it knows of. So some process has saved
each image of the final choice, whatever the order, interruptions or number of processes.
"""

from __future__ import annotations

import bisect
import math
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


class PictureKeeper:
    """Saves images that may be shown, `count` of each kind, as `<number>.png` in a folder.

    `column` ranks them, larger is worse; random ones are drawn from `candidates` by `seed`.
    """

    def __init__(
        self, folder: Path, column: str, candidates: np.ndarray, *, count: int = 4, seed: int = 0
    ) -> None:
        self.folder, self.column, self.count = folder, column, count
        lot = np.random.default_rng(seed).permutation(candidates)[:count]
        self.lot = tuple(sorted(int(index) for index in lot))
        self._known: list[float] = []  # of the best and worst seen, ascending

    def remember(self, rows: Iterable[Row]) -> None:
        """Record images that were measured before."""
        for row in rows:
            self._is_extreme(row)

    def offer(self, images: Tensor, rows: Sequence[Row]) -> None:
        """Save those of a batch, (B, 3, S, S) in [-1, 1], that may be shown."""
        for place, row in enumerate(rows):
            if self._is_extreme(row) or row.index in self.lot:
                self.folder.mkdir(parents=True, exist_ok=True)
                with atomic_path(self.path(row.index)) as path:
                    Image.fromarray(to_uint8(images[place : place + 1])[0]).save(path)

    def path(self, index: int) -> Path:
        """Return where an image is, if it was kept."""
        return self.folder / f"{index}.png"

    def choose(self, table: Table) -> tuple[list[int], list[int], list[int]]:
        """Return the worst, the best and the random images of a finished pass; ties go by number.

        Those without a number, or whose file is gone, are left out.
        """
        values = table.columns[self.column]
        places = np.argsort(values, kind="stable")
        order = [int(table.indices[place]) for place in places if np.isfinite(values[place])]
        kept = [index for index in order if self.path(index).is_file()]
        lot = [i for i in self.lot if i in table.indices and self.path(i).is_file()]
        return kept[::-1][: self.count], kept[: self.count], lot

    def _is_extreme(self, row: Row) -> bool:
        """Tell whether a row is among the `count` best or worst so far, and note it."""
        key = row.values.get(self.column, math.nan)
        if not math.isfinite(key):
            return False
        if len(self._known) == 2 * self.count:
            if self._known[self.count - 1] < key < self._known[self.count]:
                return False
            bisect.insort(self._known, key)
            del self._known[self.count]  # the least extreme, of whichever half grew
        else:
            bisect.insort(self._known, key)
        return True
