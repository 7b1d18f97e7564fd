"""Catalogue of edit directions: names, useful ranges, and how each becomes an EditDirection.

`catalog.toml` lists what was published for the released generators; a model folder lists its own
directions in a table of the same keys beside a file of tensors. Only the package's table is read
from disk here; the caller passes the function that reads a direction file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.editing.direction import (
    EditDirection,
    LinearDirection,
    PcaDirection,
    StyleSpaceDirection,
)
from stylefeatureeditor.editing.direction_names import find_name, published_rows, spelling
from stylefeatureeditor.editing.styleclip import LEVELS, StyleClipMapper, StyleMapper
from stylefeatureeditor.errors import DirectionError
from stylefeatureeditor.files import member

if TYPE_CHECKING:
    from stylefeatureeditor.records import StyleLayout

Reader = Callable[[Path], object]  # a direction file -> tensor, array or table of tensors
KINDS = {  # kind: the parameter without which it cannot be built
    "linear": None,
    "pca": "component",
    "stylespace": "channels",
    "mapper": "levels",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class CatalogEntry:
    """One direction: what users read of it, and how to build it.

    Attributes:
        name: lower case letters, digits and underscores.
        kind: linear, pca, stylespace or mapper; says which parameters count.
        useful_range: strengths, lowest and highest, that give plausible pictures.
        range_assumed: whether that range is ours rather than published.
        label: title for a button or slider.
        help: one sentence; says what the sign means.
        group: heading it is listed under.
        method: how it was found.
        attribute: what positive strengths add, in the classifier's words; "-Young" is what they
            remove; empty without a classifier.
        aliases: other names.
        file: name of its released file; empty if it needs none or has its tensors.
        scale: factor of a linear direction.
        per_style: whether a linear file holds N vectors in one row.
        layers: style vectors moved, [start, end); None means all.
        component: row of a GANSpace file.
        channels: (style layer, channel) pairs of a StyleSpace direction.
        levels: of a StyleCLIP mapper.
        tensors: "vector" (linear), "component", "mean" and "std" (pca), or a mapper's weights.
    """

    name: str
    kind: str
    useful_range: tuple[float, float]
    range_assumed: bool = False
    label: str = ""
    help: str = ""
    group: str = "own"
    method: str = ""
    attribute: str = ""
    aliases: tuple[str, ...] = ()
    file: str = ""
    scale: float = 1.0
    per_style: bool = False
    layers: tuple[int, int] | None = None
    component: int | None = None
    channels: tuple[tuple[int, int], ...] = ()
    levels: tuple[str, ...] = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+", self.name):
            raise DirectionError(
                f"a direction's name takes lower case letters, digits and _, got '{self.name}'"
            )
        if self.kind not in KINDS:
            raise DirectionError(
                f"direction '{self.name}': kind must be one of {', '.join(KINDS)}, "
                f"got '{self.kind}'"
            )
        needed = KINDS[self.kind]
        if needed and not self.tensors and getattr(self, needed) in (None, ()):
            raise DirectionError(f"direction '{self.name}' of kind {self.kind} needs '{needed}'")
        if self.kind != "stylespace" and not self.tensors and not self.file:
            raise DirectionError(f"direction '{self.name}' has neither a file nor tensors")
        if self.file != Path(self.file).name:
            raise DirectionError(f"direction '{self.name}': '{self.file}' must be a bare file name")
        low, high = self.useful_range
        if not (isfinite(low) and isfinite(high) and low < high):
            raise DirectionError(f"direction '{self.name}': bad useful range {self.useful_range}")
        _check_parameters(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then its aliases."""
        return (self.name, *self.aliases)

    def load(self, folder: Path, layout: StyleLayout, read: Reader) -> EditDirection:
        """Return the direction, ready to apply.

        Args:
            folder: of released direction files, if the entry needs one.
            layout: widths of the generator's modulation vectors.
            read: reads one file without running code from it.

        Raises:
            DirectionError: the file is missing, holds something else, or does not fit.
        """
        if self.kind == "stylespace":
            return StyleSpaceDirection.of_channels(self.name, self.channels, layout)
        content = self.tensors or self._read(folder, read)
        if self.kind == "linear":
            return LinearDirection(
                self.name, self._vector(content, len(layout.conv) + 1), self.scale, self.layers
            )
        if not isinstance(content, Mapping):
            raise DirectionError(f"direction '{self.name}': {self.file} holds no table of tensors")
        if self.kind == "mapper":
            if self.tensors:
                return StyleClipMapper(self.name, StyleMapper.from_state(self.tensors))
            return StyleClipMapper(self.name, StyleMapper.from_released(content, self.levels))
        if self.tensors:
            component, mean, std = (
                self._tensor(content, key) for key in ("component", "mean", "std")
            )
            return PcaDirection(self.name, component, mean, float(std), self.layers)
        assert self.component is not None
        parts = {key: self._tensor(content, key) for key in ("comp", "mean", "std")}
        return pca_component(self.name, parts, self.component, self.layers)

    def _read(self, folder: Path, read: Reader) -> object:
        path = member(folder.parent, f"{folder.name}/{self.file}")
        if not path.is_file():
            raise DirectionError(
                f"direction '{self.name}' needs the file {self.file}, which is not in {folder}: "
                "put the released file there, or fetch it with `sfe models pull`"
            )
        return read(path)

    def _vector(self, content: object, num_styles: int) -> Tensor:
        if isinstance(content, Mapping):
            return self._tensor(content, "vector")
        vector = to_tensor(self.name, content)
        if not self.per_style:
            return vector.reshape(-1)
        if vector.numel() % num_styles:
            raise DirectionError(
                f"direction '{self.name}': {self.file} has {vector.numel()} values, which "
                f"{num_styles} style vectors cannot share: it was made for another generator"
            )
        return vector.reshape(num_styles, -1)

    def _tensor(self, content: Mapping[str, object], key: str) -> Tensor:
        if key not in content:
            raise DirectionError(f"direction '{self.name}': its file has no '{key}'")
        return to_tensor(self.name, content[key])

    def to_row(self) -> dict[str, Any]:
        """Return the entry as a row of a table: plain values, defaults left out, no tensors."""
        row = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "tensors" and value != item.default:
                row[item.name] = _plain(value)
        return row


@dataclass(frozen=True)
class Catalog:
    """Directions that one model knows, in the order they are listed."""

    entries: tuple[CatalogEntry, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for entry in self.entries:
            taken = seen & {spelling(name) for name in entry.names}
            if taken:
                raise DirectionError(f"two directions answer to the name '{min(taken)}'")
            seen |= {spelling(name) for name in entry.names}

    def find(self, name: str) -> CatalogEntry:
        """Return the entry of a name or alias; case, blanks and hyphens do not matter.

        Raises:
            DirectionError: there is none; the message offers the nearest names.
        """
        entries = {entry.name: entry for entry in self.entries}
        known = {spelling(alias): entry.name for entry in self.entries for alias in entry.names}
        return entries[find_name(name, known)]

    def groups(self) -> dict[str, list[CatalogEntry]]:
        """Return the entries under their headings, in order of appearance."""
        headings: dict[str, list[CatalogEntry]] = {}
        for entry in self.entries:
            headings.setdefault(entry.group, []).append(entry)
        return headings

    def with_entry(self, entry: CatalogEntry) -> Catalog:
        """Return the catalogue with one more entry, or with the one of its name replaced."""
        names = [old.name for old in self.entries]
        if entry.name not in names:
            return Catalog((*self.entries, entry))
        at = names.index(entry.name)
        return Catalog((*self.entries[:at], entry, *self.entries[at + 1 :]))

    def with_own(self, own: Catalog) -> Catalog:
        """Return the catalogue with a model's own directions, whose names come first.

        An entry of the same name is replaced, one whose name is an own alias is left out, and
        aliases that an own direction has are dropped.
        """
        new = {entry.name: entry for entry in own.entries}
        taken = {spelling(name) for entry in own.entries for name in entry.names}
        kept = []
        for entry in self.entries:
            if entry.name in new:
                kept.append(new.pop(entry.name))
            elif spelling(entry.name) not in taken:
                aliases = tuple(name for name in entry.aliases if spelling(name) not in taken)
                kept.append(replace(entry, aliases=aliases))
        return Catalog((*kept, *new.values()))

    def to_table(self) -> dict[str, list[dict[str, Any]]]:
        """Return {"directions": rows} of plain values; `tensors` gives the rest."""
        return {"directions": [entry.to_row() for entry in self.entries]}

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of all entries as "<name>/<key>"."""
        return {
            f"{entry.name}/{key}": tensor
            for entry in self.entries
            for key, tensor in entry.tensors.items()
        }

    @staticmethod
    def from_table(table: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Catalog:
        """Return the catalogue that `to_table` and `tensors` describe.

        Raises:
            DirectionError: a row is not one of ours, or its tensors are missing.
        """
        rows = table.get("directions")
        if not isinstance(rows, list):
            raise DirectionError("a table of directions needs a list called 'directions'")
        own: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            name, _, leaf = key.partition("/")
            own.setdefault(name, {})[leaf] = tensor
        return Catalog(tuple(_entry(row, own) for row in rows))


def load_catalog(family: str) -> Catalog:
    """Return the published directions of "ffhq" or "cars"; DirectionError for other families."""
    return Catalog.from_table({"directions": published_rows(family)}, {})


def range_warning(entry: CatalogEntry, strength: float) -> str | None:
    """Return a sentence if the strength lies outside the useful range, else None."""
    low, high = entry.useful_range
    if low <= strength <= high:
        return None
    return (
        f"{entry.name}={strength:g} is outside the useful range {low:g} to {high:g}: "
        "expect artefacts"
    )


def pca_component(
    name: str, parts: Mapping[str, Tensor], number: int, layers: tuple[int, int] | None
) -> PcaDirection:
    """Return one component of a GANSpace table: comp (K, 1, D), mean (1, D) and std (K,).

    DirectionError if there is no component of that number.
    """
    components = parts["comp"].flatten(1) if parts["comp"].ndim > 1 else parts["comp"][None]
    if not 0 <= number < min(len(components), parts["std"].numel()):
        raise DirectionError(
            f"direction '{name}': the file has the components 0 to {len(components) - 1}, "
            f"not {number}"
        )
    std = float(parts["std"].flatten()[number])
    return PcaDirection(name, components[number], parts["mean"].flatten(), std, layers)


def to_tensor(name: str, value: object) -> Tensor:
    """Return numbers as a float32 tensor; DirectionError for other things, NaN and infinity."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        value = torch.from_numpy(value.astype(np.float32))
    if not isinstance(value, Tensor) or value.is_complex():
        raise DirectionError(
            f"direction '{name}': expected a tensor or array of numbers, got {type(value).__name__}"
        )
    value = value.detach().float()
    if not value.isfinite().all():
        raise DirectionError(f"direction '{name}' holds values that are not finite")
    return value


def _check_parameters(entry: CatalogEntry) -> None:
    """Raise DirectionError if a parameter is of a wrong type: tables come from files."""
    pairs = entry.channels if entry.layers is None else (entry.layers, *entry.channels)
    sound = {
        "layers or channels": all(
            isinstance(pair, tuple) and [type(number) for number in pair] == [int, int]
            for pair in pairs
        ),
        "component": entry.component is None or type(entry.component) is int,
        "scale": isinstance(entry.scale, (int, float)) and isfinite(entry.scale),
        "levels": set(entry.levels) <= set(LEVELS),
        "names": all(isinstance(name, str) for name in entry.names),
        "label, help, group or method": all(
            isinstance(text, str) for text in (entry.label, entry.help, entry.group, entry.method)
        ),
    }
    for parameter, holds in sound.items():
        if not holds:
            raise DirectionError(f"direction '{entry.name}': malformed {parameter}")


def _entry(row: object, tensors: Mapping[str, Mapping[str, Tensor]]) -> CatalogEntry:
    if not isinstance(row, Mapping):
        raise DirectionError(f"a direction must be a table of keys, got {type(row).__name__}")
    known = {item.name for item in fields(CatalogEntry)} - {"tensors"}
    unknown = set(row) - known
    if unknown:
        raise DirectionError(f"a direction has no key '{min(unknown)}'")
    missing = {"name", "kind", "useful_range"} - set(row)
    if missing:
        raise DirectionError(f"a direction needs the key '{min(missing)}'")
    try:
        values = {key: _frozen(value) for key, value in row.items()}
        return CatalogEntry(**values, tensors=tensors.get(str(row["name"]), {}))
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DirectionError):
            raise
        raise DirectionError(f"direction {row['name']!r} is malformed: {error}") from error


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
