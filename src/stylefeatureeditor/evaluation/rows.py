"""Values per image on disk: written batch by batch, read again after an interruption.

Every process appends a line of JSON per image to its own file. A line that a kill has cut is no
JSON, so it counts as not written. Feature vectors lie in one file per extractor, each image at its
own place; neither needs memory while running.

Shapes: n images, D features.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from stylefeatureeditor.evaluation.bootstrap import Mean, bootstrap_mean
from stylefeatureeditor.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor


@dataclass(frozen=True)
class Row:
    """The values of one image."""

    index: int
    name: str
    values: dict[str, float]
    error: str = ""


@dataclass(frozen=True)
class Table:
    """Values of a finished pass, in the order of the images."""

    indices: np.ndarray  # (n,) numbers of the images that were measured
    names: tuple[str, ...]
    columns: dict[str, np.ndarray]  # (n,) float64 by name; NaN where there is no value
    errors: tuple[str, ...] = ()  # "name: reason" of the images that could not be measured

    def __len__(self) -> int:
        return len(self.names)

    def means(self, seed: int = 0) -> dict[str, Mean]:
        """Return the mean of every column that has a value, with its interval."""
        means = {name: bootstrap_mean(column, seed=seed) for name, column in self.columns.items()}
        return {name: mean for name, mean in means.items() if mean is not None}


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add the rows of one batch in one write."""
    lines = [json.dumps(asdict(row)) for row in rows]
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(["", *lines, ""]))  # begins a line, whatever was cut before


def read_rows(folder: Path) -> dict[int, Row]:
    """Return every row that any process has written, by image; the last one counts."""
    rows: dict[int, Row] = {}
    for path in sorted(folder.glob("rows-*.jsonl")):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                row = Row(**json.loads(line))
                rows[row.index] = row
    return rows


def as_table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    """Return rows as a table, in their order."""
    good = [row for row in rows if not row.error]
    return Table(
        np.array([row.index for row in good], dtype=np.int64),
        tuple(row.name for row in good),
        {c: np.array([row.values.get(c, np.nan) for row in good]) for c in columns},
        tuple(f"{row.name}: {row.error}" for row in rows if row.error),
    )


def save_table(folder: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Write `rows.csv`, and `rows.parquet` where pyarrow is installed."""
    with (
        atomic_path(folder / "rows.csv") as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["index", "name", *columns, "error"])
        for row in rows:
            cells = [row.values.get(column, "") for column in columns]
            writer.writerow([row.index, row.name, *cells, " ".join(row.error.split())])
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return
    table = as_table(rows, columns)
    content = {"index": table.indices, "name": list(table.names), **table.columns}
    with atomic_path(folder / "rows.parquet") as path:
        parquet.write_table(pyarrow.table(content), path)


class Features:
    """Feature vectors of images in one file of float32, a place for each image of a set.

    An existing file of the right size is kept. It is mapped only while it is read or written, so
    its pages take no memory. `indices` are the images that are read, (n,); None takes all.
    """

    def __init__(
        self, path: Path, count: int, width: int, indices: np.ndarray | None = None
    ) -> None:
        self.path, self.shape = path, (count, width)
        self.indices = np.arange(count) if indices is None else indices
        path.touch()
        if path.stat().st_size != 4 * count * width:
            os.truncate(path, 4 * count * width)  # the same for every process that does it

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, places: np.ndarray) -> Tensor:
        """Return the features of the images at some places of `indices`, (len(places), D)."""
        mapped = np.memmap(self.path, "<f4", "r", shape=self.shape)
        return torch.from_numpy(np.array(mapped[self.indices[places]], dtype=np.float32))

    def write(self, indices: Sequence[int], features: Tensor) -> None:
        """Store (B, D) features at their images' places."""
        mapped = np.memmap(self.path, "<f4", "r+", shape=self.shape)
        mapped[indices] = features.detach().float().cpu().numpy()
