"""Direction files on disk: a model's own, and published ones.

<model>/directions.json          table of the model's own directions
<model>/directions.safetensors   their tensors, "<name>/<key>"
<model>/directions/              published files that the catalogue of its family names
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from stylefeatureeditor.editing.catalog import Catalog, load_catalog
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import atomic_path, finish_moves, member, together
from stylefeatureeditor.weights.storage import load_tensors, read_json, save_tensors, write_json
from stylefeatureeditor.weights.unpickle import read_array, read_torch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from stylefeatureeditor.editing.catalog import CatalogEntry

TABLE = "directions.json"
TENSORS = "directions.safetensors"
PUBLISHED = "directions"


def load_directions(folder: Path, family: str | None) -> Catalog:
    """Return all directions of a model folder: its family's published ones, and its own.

    `family` is `ModelConfig.catalog`. Errors are those of `load_own_directions`.
    """
    published = load_catalog(family) if family else Catalog()
    return published.with_own(load_own_directions(folder))


def save_directions(
    catalog: Catalog, family: str | None, source: Path | None, target: Path
) -> None:
    """Write to a model folder, `target`, what `load_directions` reads there.

    Directions of the family are not written again; published files are copied from `source`, the
    folder of a model. WeightsError if a file cannot be read or written.
    """
    published = load_catalog(family).to_table()["directions"] if family else []
    own = [entry for entry in catalog.entries if entry.tensors or entry.to_row() not in published]
    save_own_directions(Catalog(tuple(own)), target)
    if source is not None:
        copy_published_files(source, target)


def is_usable(entry: CatalogEntry, folder: Path) -> bool:
    """Return whether a direction needs no published file, or the model folder has it."""
    has_all = bool(entry.tensors) or not entry.file
    return has_all or member(folder, f"{PUBLISHED}/{entry.file}").is_file()


def load_own_directions(folder: Path) -> Catalog:
    """Return the directions that a model folder brings; an empty catalogue if it brings none.

    WeightsError or DirectionError if a file is damaged, or a row is not one of ours.
    """
    table, file = member(folder, TABLE), member(folder, TENSORS)
    if not table.is_file():
        return Catalog()
    tensors = load_tensors(file)[0] if file.is_file() else {}
    return Catalog.from_table(read_json(table), tensors)


def add_own_direction(entry: CatalogEntry, folder: Path, family: str | None) -> None:
    """Add a direction, with its tensors, to a model's own, or replace the one of its name.

    DirectionError if another direction answers to its name; WeightsError if the folder cannot be
    written.
    """
    load_directions(folder, family).with_entry(entry)
    save_own_directions(load_own_directions(folder).with_entry(entry), folder)


def save_own_directions(catalog: Catalog, folder: Path) -> None:
    """Write a model's own directions, all or nothing, else WeightsError; none removes old ones."""
    tensors = catalog.tensors()
    try:
        if catalog.entries:
            with together(folder) as stage:
                if tensors:
                    save_tensors(stage / TENSORS, tensors, {})
                write_json(stage / TABLE, catalog.to_table())
        else:
            finish_moves(folder)
            (folder / TABLE).unlink(missing_ok=True)
        if not tensors:
            (folder / TENSORS).unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(f"{folder} cannot be written: {error.strerror}") from error


def copy_published_files(source: Path, target: Path) -> None:
    """Copy the published direction files of one model folder into another; see `copy_files`."""
    here = sorted((source / PUBLISHED).iterdir()) if (source / PUBLISHED).is_dir() else []
    copy_files((member(source, f"{PUBLISHED}/{file.name}") for file in here), target)


def copy_files(paths: Iterable[Path], folder: Path, *, replace: bool = False) -> None:
    """Copy published direction files into a model folder, each whole or not at all.

    Folders are skipped, and files of the same names stay unless `replace` is set.
    WeightsError if a file cannot be read or written.
    """
    target = folder / PUBLISHED
    try:
        for path in paths:
            if path.is_file() and (replace or not (target / path.name).exists()):
                target.mkdir(parents=True, exist_ok=True)
                with atomic_path(target / path.name) as temporary:
                    shutil.copyfile(path, temporary)
    except OSError as error:
        raise WeightsError(
            f"{error.filename or target} cannot be read or {target} cannot be written: "
            f"{error.strerror}"
        ) from error


def read_direction_file(path: Path) -> object:
    """Return the tensors of a .pt, .npy or .safetensors file, running none of its code."""
    suffix = path.suffix.lower()
    if suffix in (".pt", ".pth"):
        content = read_torch(path)
        is_wrapped = isinstance(content, dict) and set(content) >= {"state_dict"}
        return content["state_dict"] if is_wrapped else content
    if suffix == ".npy":
        return read_array(path)
    if suffix == ".safetensors":
        return load_tensors(path)[0]
    raise WeightsError(f"{path.name}: directions are read from .pt, .npy and .safetensors files")
