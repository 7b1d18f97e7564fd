"""Where images lie: folders, zip files and WebDataset tar shards, read as named bytes.

A source lists its images once, each with its row of the table beside them, and then hands out
bytes in any order and from any thread. Nothing is ever unpacked to disk.

    folder   every image below it; its table is `manifest.csv` or `dataset.json` at the top
    zip      the same two tables, stored or deflated; members are read where they lie
    tar      WebDataset samples: members that share a name up to the first dot are one sample; the
             plain values of `.json` and the whole of `.cls` are its row

Several files are named by a list, by `*` or by braces: "faces-{000..009}.tar".
"""

from __future__ import annotations

import csv
import glob
import io
import itertools
import json
import logging
import math
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.files import DAMAGED_ZIP, regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
TABLE_NAMES = ("manifest.csv", "dataset.json")
NAME_COLUMNS = ("file", "filename", "file_name", "name", "image", "image_id", "path")
MAX_IMAGE_BYTES = 1 << 28  # a larger member is no photo; it is refused before it is read
MAX_TABLE_BYTES = 1 << 25
MAX_LABELS = 512  # numbers of one image
MADE_BYTES = 160 << 20  # memory that a table's rows may take; CelebA's take 130 MiB
MAX_ROW_BYTES = 1 << 20  # of a sample in a tar shard; a larger one is no row
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True)
class Entry:
    """One image of a source."""

    name: str  # its path inside the source, with forward slashes
    # its line of the table, text by column; empty without one
    row: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ImageSource:
    """A file or folder of images."""

    path: Path
    entries: tuple[Entry, ...]  # its images, in a fixed order
    # returns the file of `entries[index]`, still encoded; safe to call from threads
    read: Callable[[int], bytes]

    @property
    def columns(self) -> set[str]:
        """The columns of the table that lies with the images."""
        return set(itertools.chain.from_iterable(entry.row for entry in self.entries))


def _open_folder(path: Path) -> ImageSource:
    """Every image below a folder, by name."""
    tables = [path / name for name in TABLE_NAMES if (path / name).is_file()]
    rows = {}
    if tables:
        rows = parse_table(tables[0].name, _read(tables[0], MAX_TABLE_BYTES), tables[0])
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*"))
    entries = tuple(Entry(name, rows.get(name, {})) for name in names if is_image(name))
    return ImageSource(path, entries, lambda i: _read(path / entries[i].name, MAX_IMAGE_BYTES))


def _open_zip(path: Path) -> ImageSource:
    """The images of one zip file, in the order of their names."""
    try:
        archive = zipfile.ZipFile(regular(path))
    except (OSError, *DAMAGED_ZIP) as error:
        raise PhotoError(f"{path} is not a zip file that can be read: {error}") from error

    def read(name: str, most: int, where: str) -> bytes:
        member = archive.getinfo(name)
        _check_size(member.file_size, most, where)
        return archive.read(member)  # checks the CRC

    members = sorted(set(archive.namelist()))  # of one name, the last is what is read
    places = [(PurePosixPath(forward(member)), member) for member in members]
    tables = [
        (len(place.parts), TABLE_NAMES.index(place.name), member)
        for place, member in places
        if place.name in TABLE_NAMES
    ]
    rows: dict[str, Mapping[str, str]] = {}
    if tables:
        table = min(tables)[2]
        try:
            content = read(table, MAX_TABLE_BYTES, f"{table} of {path}")
        except ConfigError:  # too large; it is a ValueError too
            raise
        except (OSError, *DAMAGED_ZIP) as error:
            raise PhotoError(f"{table} of {path} is damaged: {error}") from error
        rows = parse_table(table, content, path)
    entries = tuple(Entry(name, rows.get(forward(name), {})) for name in members if is_image(name))
    return ImageSource(
        path, entries, lambda i: read(entries[i].name, MAX_IMAGE_BYTES, entries[i].name)
    )


def _open_tar(path: Path) -> ImageSource:
    """The samples of one WebDataset shard: an index of offsets, then plain reads."""
    samples: dict[str, dict[str, str]] = {}
    images: dict[str, tuple[str, int, int]] = {}
    try:  # no compression: members are found by offset
        with tarfile.open(regular(path), "r:") as shard:
            for member in shard:
                if not member.isfile() or _is_hidden(member.name):
                    continue
                key, suffix = _split_key(member.name)
                if is_image(member.name):
                    images.setdefault(key, (member.name, member.offset_data, member.size))
                elif suffix in ("json", "cls") and member.size <= MAX_ROW_BYTES:
                    file = shard.extractfile(member)
                    row = _sample_row(suffix, file.read() if file else b"", member.name, path)
                    samples.setdefault(key, {}).update(row)
    except (OSError, tarfile.TarError) as error:
        if not images:
            raise PhotoError(
                f"{path} is not a plain tar shard that can be read ({error}); "
                "unpack a compressed shard to .tar first"
            ) from error
        log.warning("%s breaks off after %d images: %s", path, len(images), error)
    places = [(offset, size) for _, offset, size in images.values()]

    def read(index: int) -> bytes:
        offset, size = places[index]
        _check_size(size, MAX_IMAGE_BYTES, str(path))
        with path.open("rb") as shard:
            shard.seek(offset)
            return shard.read(size)

    entries = (Entry(name, samples.get(key, {})) for key, (name, _, _) in images.items())
    return ImageSource(path, tuple(entries), read)


def open_sources(where: str | Path | Sequence[str | Path]) -> list[ImageSource]:
    """Open everything that `where` names, in that order.

    ConfigError if a name fits no file, or a file is of no kind that is read; PhotoError if an
    archive is damaged as a whole.
    """
    given = [where] if isinstance(where, (str, Path)) else list(where)
    paths = list(itertools.chain.from_iterable(_expand(str(item)) for item in given))
    if not paths:
        raise ConfigError(
            "expected a folder, a zip file or tar shards of images, got an empty list"
        )
    return [_open(path) for path in paths]


def is_image(name: str) -> bool:
    """Tell whether a file's name says that it is an image we read."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not _is_hidden(name)


def as_number(text: str) -> float:
    """Return a number as tables write it: Python's own `inf`, `nan` and `1_0` are words."""
    value = float(text)
    if not math.isfinite(value) or "_" in text:
        raise ValueError(f"{text!r} is no number")
    return value


def forward(name: str) -> str:
    """Return a path as archives and other systems write it: Windows' separator becomes a slash."""
    return name.replace("\\", "/")


def find_by_name(names: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """Return where each name is among `known`; None for one that is not there.

    A name is found by itself, else by its last part, else by that without suffix; the latter two
    only where they mean one.
    """
    found: list[int | None] = [None] * len(names)
    paths = (
        lambda name: PurePosixPath(forward(name)).name,
        lambda n: PurePosixPath(forward(n)).stem,
    )
    for key in (forward, *paths):
        keys = [key(name) for name in known]
        times = Counter(keys)
        places = {one: place for place, one in enumerate(keys) if times[one] == 1}
        found = [
            places.get(key(name)) if place is None else place
            for name, place in zip(names, found, strict=True)
        ]
    return found


class TableRow(Mapping[str, str]):
    """One row of a table, text by column.

    Attributes:
        places: number of each column; rows of one table share it.
        cells: a column without one is empty.
    """

    __slots__ = ("cells", "places")

    def __init__(self, places: Mapping[str, int], cells: tuple[str, ...]) -> None:
        self.places, self.cells = places, cells

    def __getitem__(self, column: str) -> str:
        place = self.places[column]
        return self.cells[place] if place < len(self.cells) else ""

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def parse_csv(data: bytes, path: Path) -> tuple[list[str], list[TableRow]]:
    """Return header and rows of a CSV; ConfigError if `path` is none, or would take MADE_BYTES."""
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    words: dict[str, str] = {}  # most cells hold one of a few words: each is kept once
    rows: list[TableRow] = []
    made = unread = 0

    def lines() -> Iterator[str]:
        nonlocal unread
        while line := text.readline(MAX_ROW_BYTES):
            unread += len(line)
            if unread >= MAX_ROW_BYTES:
                raise ConfigError(
                    f"the table of {path} has a row of more than {unread - 1} characters"
                )
            yield line

    head = data[:MAX_ROW_BYTES].partition(b"\n")[0].decode("utf-8", "ignore")
    reader = csv.reader(lines(), delimiter=max(",;\t", key=head.count))
    try:
        places = {name: place for place, name in enumerate(next(reader, [])) if name}
        for cells in reader:
            unread = 0
            new = {cell: cell for cell in cells if cell not in words}
            made += 200 + 8 * len(cells) + sum(160 + 4 * len(cell) for cell in new)
            if made > MADE_BYTES:
                raise _too_large(path)
            words |= new
            if cells:
                rows.append(TableRow(places, tuple(words[cell] for cell in cells)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"the table of {path} is not a UTF-8 CSV file: {error}") from error
    if not places:
        raise ConfigError(f"the table of {path} is empty; its first line must name the columns")
    return list(places), rows


def _too_large(path: Path) -> ConfigError:
    return ConfigError(
        f"the table of {path} is too large: its rows would take more than {MADE_BYTES >> 20} MiB "
        "of memory; keep the columns that are needed"
    )


def name_column(header: Sequence[str]) -> str:
    """Return the column that holds the file names: one of the usual words, or else the first."""
    lower = {name.lower(): name for name in reversed(header)}
    return next((lower[word] for word in NAME_COLUMNS if word in lower), header[0])


def parse_table(member: str, data: bytes, path: Path) -> dict[str, Mapping[str, str]]:
    """Return the rows of a `manifest.csv` or `dataset.json` by image name.

    Names in the table count from the folder the table lies in.
    """
    folder = PurePosixPath(forward(member)).parent
    if PurePosixPath(forward(member)).name == "manifest.csv":
        header, rows = parse_csv(data, path)
        key = name_column(header)
        return {str(folder / forward(row[key])): row for row in rows}
    sizes = {b"[": 72, b"{": 240, b",": 64, b":": 100, b'"': 60}  # bytes that each character makes
    if sum(size * data.count(mark) for mark, size in sizes.items()) > MADE_BYTES:
        raise _too_large(path)
    try:  # NVIDIA's layout: {"labels": [["00000/img00000000.png", 3], ...]} or null
        labels = json.loads(data).get("labels") or []
        return {str(folder / forward(name)): _label_row(label) for name, label in labels}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f'dataset.json of {path} should hold {{"labels": [[name, label], ...]}}: {error}'
        ) from error


def _label_row(label: object) -> dict[str, str]:
    if isinstance(label, list):
        if len(label) > MAX_LABELS:
            raise ValueError(f"a label has {len(label)} numbers")
        return {f"label_{i}": _text(value) for i, value in enumerate(label)}
    return {"label": _text(label)}


def _sample_row(suffix: str, data: bytes, name: str, path: Path) -> dict[str, str]:
    try:
        text = data.decode("utf-8")
        values = {"cls": text.strip()} if suffix == "cls" else json.loads(text)
    except (ValueError, RecursionError) as error:
        log.warning("%s of %s cannot be read and counts as empty: %s", name, path, error)
        return {}
    if not isinstance(values, dict):
        return {}
    return {str(k): _text(v) for k, v in values.items() if not isinstance(v, (dict, list))}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _split_key(name: str) -> tuple[str, str]:
    folder, _, base = name.rpartition("/")
    key, _, suffix = base.partition(".")
    return f"{folder}/{key}", suffix.lower()


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(forward(name)).parts
    return not parts or parts[-1].startswith(".") or "__MACOSX" in parts


def _read(path: Path, most: int) -> bytes:
    _check_size(regular(path).stat().st_size, most, str(path))
    return path.read_bytes()


def _check_size(size: int, most: int, where: str) -> None:
    """Raise for an image or a table of more bytes than are read."""
    if size > most and most == MAX_IMAGE_BYTES:
        raise PhotoError(f"{size} bytes is too large for an image")
    if size > most:
        raise ConfigError(f"{where} is too large for a table: {size} bytes")


def _expand(pattern: str) -> list[Path]:
    if Path(pattern).exists():
        return [Path(pattern)]
    braces = _BRACES.search(pattern)
    if braces:
        words = braces[1].split(",")
        if steps := _RANGE.fullmatch(braces[1]):
            first, last = steps[1], steps[2]
            words = [str(i).zfill(len(first)) for i in range(int(first), int(last) + 1)]
        start, end = braces.span()
        parts = (_expand(pattern[:start] + word + pattern[end:]) for word in words)
        return list(itertools.chain.from_iterable(parts))
    found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    if not found:
        raise ConfigError(
            f"expected a folder, a zip file or tar shards, but {pattern} is not there"
        )
    return found


def _open(path: Path) -> ImageSource:
    if path.is_dir():
        return _open_folder(path)
    if path.suffix.lower() == ".zip":
        return _open_zip(path)
    if path.suffix.lower() == ".tar":
        return _open_tar(path)
    raise ConfigError(f"expected a folder, a .zip or .tar shards of images, got {path}")
