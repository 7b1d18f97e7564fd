"""Values per image on disk: written batch by batch, read again after an interruption.

Every process appends to its own CSV file, one write per batch, so that a killed run loses one
batch at most; a line without its end is dropped. Feature vectors lie in one binary file per
describer, each image at its own place, so neither needs memory while running.

Shapes: n images, D features.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.bootstrap import Mean, bootstrap_mean
from stylefeatureeditor.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CHUNK = 1024  # feature vectors read at a time


@dataclass(frozen=True)
class Row:
    """What is known of one image.

    Attributes:
        index: its number in the set.
        name: its name there.
        values: number by column; empty if there is an error.
        error: why it could not be measured; "" if it was.
    """

    index: int
    name: str
    values: dict[str, float]
    error: str = ""


@dataclass(frozen=True)
class Table:
    """Values of a finished pass, in the order of the images.

    Attributes:
        indices: (n,) numbers of the images that were measured.
        names: their names.
        columns: (n,) float64 by name; NaN where there is no value.
        errors: "name: reason" of the images that could not be measured.
    """

    indices: np.ndarray
    names: tuple[str, ...]
    columns: dict[str, np.ndarray]
    errors: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def mean(self, column: str, seed: int = 0) -> Mean | None:
        """Return a column's mean with its interval; None if it has no value."""
        return bootstrap_mean(self.columns[column], seed=seed) if column in self.columns else None


class RowFile:
    """The rows of one pass: `rows-<rank>.csv` while running, `rows.csv` when done.

    Args:
        folder: of the pass; it exists.
        columns: names of the values.
        rank: of this process.
    """

    def __init__(self, folder: Path, columns: Sequence[str], rank: int = 0) -> None:
        self.folder, self.columns = folder, tuple(columns)
        self.path = folder / f"rows-{rank}.csv"

    @property
    def header(self) -> list[str]:
        """Names of all cells of a line."""
        return ["index", "name", *self.columns, "error"]

    def append(self, rows: Sequence[Row]) -> None:
        """Add the rows of one batch in one write."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        start = _drop_broken_line(self.path)
        if start == 0:
            writer.writerow(self.header)
        writer.writerows(self._cells(row) for row in rows)
        with self.path.open("ab") as file:
            file.write(text.getvalue().encode("utf-8"))

    def read(self) -> dict[int, Row]:
        """Return every row that any process has written, by image; the last one counts.

        Raises:
            ConfigError: the columns are not these: another evaluation wrote the folder.
        """
        rows: dict[int, Row] = {}
        for path in sorted(self.folder.glob("rows-*.csv")):
            rows |= {row.index: row for row in self._rows(path)}
        return rows

    def table(self, indices: Sequence[int]) -> Table:
        """Return the rows of some images, all of which have been written, as a table."""
        known = self.read()
        rows = [known[index] for index in sorted(indices)]
        good = [row for row in rows if not row.error]
        nan = float("nan")
        return Table(
            np.array([row.index for row in good], dtype=np.int64),
            tuple(row.name for row in good),
            {c: np.array([row.values.get(c, nan) for row in good]) for c in self.columns},
            tuple(f"{row.name}: {row.error}" for row in rows if row.error),
        )

    def finish(self, indices: Sequence[int]) -> None:
        """Write `rows.csv`, and `rows.parquet` where pyarrow is installed."""
        known = self.read()
        with (
            atomic_path(self.folder / "rows.csv") as path,
            path.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.header)
            writer.writerows(self._cells(known[index]) for index in sorted(indices))
        _write_parquet(self.folder / "rows.parquet", self.table(indices))

    def _cells(self, row: Row) -> list[str]:
        values = [repr(row.values[c]) if c in row.values else "" for c in self.columns]
        return [str(row.index), row.name, *values, " ".join(row.error.split())]

    def _rows(self, path: Path) -> Iterator[Row]:
        whole = path.read_bytes()
        text = whole[: whole.rfind(b"\n") + 1].decode("utf-8")
        lines = csv.DictReader(io.StringIO(text, newline=""))
        if lines.fieldnames is not None and list(lines.fieldnames) != self.header:
            raise ConfigError(
                f"{path} holds the columns {', '.join(lines.fieldnames)}, not "
                f"{', '.join(self.header)}: choose another folder or delete this one"
            )
        for line in lines:
            values = {c: float(line[c]) for c in self.columns if line[c]}
            yield Row(int(line["index"]), line["name"], values, line["error"])


class FeatureFile:
    """Feature vectors of n images in one file of float32, image by image.

    Args:
        path: the file; made, and kept if it has the right size.
        count: n.
        width: D.
    """

    def __init__(self, path: Path, count: int, width: int) -> None:
        self.path, self.count, self.width = path, count, width
        with path.open("ab"):
            pass
        if path.stat().st_size != count * self._stride:
            os.truncate(path, count * self._stride)  # the same for every process that does it

    @property
    def _stride(self) -> int:
        return 4 * self.width

    def write(self, indices: Sequence[int], features: Tensor) -> None:
        """Store (B, D) features at their images' places."""
        rows = features.detach().float().cpu().numpy().astype("<f4", copy=False)
        with self.path.open("r+b") as file:
            for index, row in zip(indices, rows, strict=True):
                file.seek(index * self._stride)
                file.write(np.ascontiguousarray(row).tobytes())

    def read(self, indices: np.ndarray) -> Tensor:
        """Return the features of some images, (len(indices), D)."""
        rows = np.empty((len(indices), self.width), dtype="<f4")
        with self.path.open("rb") as file:
            for place, index in enumerate(indices):
                file.seek(int(index) * self._stride)
                rows[place] = np.frombuffer(file.read(self._stride), dtype="<f4")
        return torch.from_numpy(rows.astype(np.float32, copy=False))


@dataclass(frozen=True)
class StoredFeatures:
    """Some images' features of a file.

    Attributes:
        file: where they are.
        indices: (n,) numbers of the images.
    """

    file: FeatureFile
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, places: np.ndarray) -> Tensor:
        """Return the features of the images at some places of `indices`."""
        return self.file.read(self.indices[places])

    def chunks(self) -> Iterator[Tensor]:
        """Yield all of them, at most CHUNK at a time."""
        for start in range(0, len(self), CHUNK):
            yield self.file.read(self.indices[start : start + CHUNK])


def _drop_broken_line(path: Path) -> int:
    """Cut a file after its last complete line; return its size."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 4096)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
    return end


def _write_parquet(path: Path, table: Table) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return
    columns = {"index": table.indices, "name": list(table.names), **table.columns}
    with atomic_path(path) as temporary:
        parquet.write_table(pyarrow.table(columns), temporary)
