"""Attribute tables: numbers of each image.

    table = read_attribute_table("list_attr_celeba.txt", ["Smiling", "Male"]).align(images.names)
    labels = table.values                                     # (len(images), 2)

Read are CSV files with a header, the text files of CelebA and CelebAMask-HQ (a count, a line of
attributes, then a name and -1 or 1 for each), and the `manifest.csv` or `dataset.json` in a zip
file, folder or tar shard of images.

A column of yes and no (cells within 0 and 1, or within -1, 0 and 1) becomes -1 for no, 1 for yes,
0 for unknown. Other columns of numbers keep them, with NaN for unknown. A column of words
takes part only when asked for as "race=White": 1 where it says so, -1 where it says something
else, 0 where it says nothing.

Shapes: N images, A attributes.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stylefeatureeditor.data.image_sources import (
    TableRow,
    as_number,
    find_by_name,
    name_column,
    open_sources,
    parse_csv,
)
from stylefeatureeditor.data.row_filter import nearest
from stylefeatureeditor.errors import ConfigError, check_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class AttributeTable:
    """Attributes of named images."""

    names: tuple[str, ...]  # N image names, each once
    attributes: tuple[str, ...]  # A attribute names, each once
    values: Tensor  # (N, A) float32; -1, 0 (unknown), 1, or any number and NaN (unknown)

    def __post_init__(self) -> None:
        check_shape("values", self.values, (len(self.names), len(self.attributes)))
        for what, names in (("image", self.names), ("attribute", self.attributes)):
            name, times = Counter(names).most_common(1)[0] if names else ("", 1)
            if times > 1:
                raise ConfigError(
                    f"every {what} should be in the table once, but {name!r} is repeated"
                )

    @property
    def binary(self) -> tuple[str, ...]:
        """The attributes whose values are all -1, 0 or 1."""
        yes_no = torch.isin(self.values, torch.tensor([-1.0, 0.0, 1.0])).all(dim=0)
        return tuple(name for name, is_so in zip(self.attributes, yes_no, strict=True) if is_so)

    def column(self, attribute: str) -> Tensor:
        """Return the values of one attribute, (N,)."""
        return self.select([attribute]).values[:, 0]

    def select(self, attributes: Sequence[str]) -> AttributeTable:
        """Return the table of the named attributes, in that order."""
        place = {name: i for i, name in enumerate(self.attributes)}
        for name in attributes:
            if name not in place:
                raise ConfigError(
                    f"the table has no attribute {name!r}; {nearest(name, self.attributes)}"
                )
        columns = [place[name] for name in attributes]
        return AttributeTable(self.names, tuple(attributes), self.values[:, columns])

    def align(self, names: Sequence[str]) -> AttributeTable:
        """Return the table in the order of `names`; images without a row are unknown throughout.

        ConfigError if no name has a row, or a name is there twice.
        """
        found = find_by_name(names, self.names)
        if not names or not self.names:
            raise ConfigError(f"{len(names)} images cannot be matched with {len(self.names)} rows")
        if all(row is None for row in found):
            raise ConfigError(
                f"no image has a row in the table: images are named like {names[0]!r}, "
                f"rows like {self.names[0]!r}"
            )
        values = torch.full((len(names), len(self.attributes)), math.nan)
        binary = set(self.binary)
        values[:, [name in binary for name in self.attributes]] = 0
        there = [i for i, row in enumerate(found) if row is not None]
        values[there] = self.values[[row for row in found if row is not None]]
        return AttributeTable(tuple(names), self.attributes, values)


def read_attribute_table(
    path: str | Path, attributes: Sequence[str] | None = None
) -> AttributeTable:
    """Read a table from a .csv, a CelebA .txt, or beside the images of a zip, folder or tar shards.

    `attributes` are kept in that order; None keeps every column of numbers. ConfigError if the file
    is missing or malformed, or an attribute is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".txt"):
        entries = [entry for source in open_sources(path) for entry in source.entries if entry.row]
        if not entries:
            raise ConfigError(f"{path} holds no table; give a .csv or .txt file of attributes")
        return table_of([e.name for e in entries], [e.row for e in entries], attributes, str(path))
    if not path.is_file():
        raise ConfigError(f"expected a table of attributes, but {path} is not there")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the table {path} cannot be read: {error.strerror}") from error
    if path.suffix.lower() == ".txt":
        return table_of(*_parse_celeba(content, path), attributes, str(path))
    header, rows = parse_csv(content, path)
    if not rows:
        raise ConfigError(f"{path} has a header but no row")
    key = name_column(header)
    others = {column: place for column, place in rows[0].places.items() if column != key}
    named = [row[key] for row in rows]
    return table_of(named, [TableRow(others, row.cells) for row in rows], attributes, str(path))


def table_of(
    names: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    attributes: Sequence[str] | None = None,
    source: str = "the table",
) -> AttributeTable:
    """Make a table of text rows, for instance of `ImageSet.names` and `ImageSet.rows`.

    `attributes` are kept in that order; None keeps every column of numbers. Errors name the rows
    `source`. ConfigError if an attribute is unknown or is words, or a name is there twice.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if attributes is None:
        read = {c: _numbers([row.get(c, "") for row in rows]) for c in columns}
        kept = {column: values for column, values in read.items() if values is not None}
        if not kept:
            raise ConfigError(f"{source} has no column of numbers; {nearest('', columns)}")
    else:
        kept = {a: _asked(a, columns, rows, source) for a in attributes}
    values = torch.tensor(list(kept.values()), dtype=torch.float32).reshape(len(kept), len(rows))
    return AttributeTable(tuple(names), tuple(kept), values.T.contiguous())


def _asked(
    attribute: str, columns: Iterable[str], rows: Sequence[Mapping[str, str]], source: str
) -> list[float]:
    column, equals, word = attribute.partition("=")
    if attribute in columns:
        column, equals = attribute, ""
    if column not in columns:
        raise ConfigError(f"{source} has no column {column!r}; {nearest(column, columns)}")
    cells = [row.get(column, "").strip() for row in rows]
    if equals:
        if word not in cells:
            raise ConfigError(f"no {column} is {word!r} in {source}; {nearest(word, set(cells))}")
        return [0.0 if cell == "" else 1.0 if cell == word else -1.0 for cell in cells]
    values = _numbers(cells)
    if values is not None:
        return values
    words = sorted(set(cells) - {""})
    what = f"holds words; ask for one, like {column}={words[0]}" if words else "is empty"
    raise ConfigError(f"column {column!r} of {source} {what}")


def _numbers(cells: Iterable[str]) -> list[float] | None:
    """Return a column as numbers, None if it has words or nothing."""
    try:
        values = [as_number(cell) if cell.strip() else math.nan for cell in cells]
    except ValueError:
        return None
    there = {value for value in values if not math.isnan(value)}
    if not there or not there <= {-1.0, 0.0, 1.0}:
        return values if there else None
    turned = [2 * value - 1 for value in values] if there <= {0.0, 1.0} else values
    return [0.0 if math.isnan(value) else value for value in turned]


def _parse_celeba(content: bytes, path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        lines = [line.split() for line in content.decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a UTF-8 text file: {error}") from error
    if len(lines) < 2 or len(lines[0]) != 1 or not lines[0][0].isdigit():
        raise ConfigError(
            f"{path} should begin with the number of images and a line of attributes, as CelebA's"
        )
    header = lines[1]
    for number, line in enumerate(lines[2:], start=3):
        if len(line) != len(header) + 1:
            raise ConfigError(
                f"line {number} of {path} should hold a name and {len(header)} values, "
                f"got {len(line) - 1} values"
            )
    rows = [dict(zip(header, line[1:], strict=True)) for line in lines[2:]]
    return [line[0] for line in lines[2:]], rows
