"""From published files to model folders: shared by `sfe models convert` and `sfe models pull`.

Every file of a folder says in its header what it was converted from, with size and SHA-256. The
folder is made if it is not there; an older model in it stays until the new one is whole. All
functions raise WeightsError if a file is missing or not what it should be, or the folder cannot be
written.
"""

from __future__ import annotations

import filecmp
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor import __version__
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import sha256_file, whole
from stylefeatureeditor.weights import sources
from stylefeatureeditor.weights.checkpoint import save_model
from stylefeatureeditor.weights.convert import (
    ReleasedFiles,
    convert_generator,
    convert_released,
    fitting_catalog,
)
from stylefeatureeditor.weights.direction_files import copy_files
from stylefeatureeditor.weights.local_models import files_folder, pulled_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

CONVERTED_FROM = "converted_from"  # key in the header of every file of a converted model
DIRECTION_SUFFIXES = (".pt", ".pth", ".npy", ".safetensors")
STYLECLIP_FILES = ("S_mean_std", "templates.txt")  # of StyleCLIP's, those of other suffixes


def convert_to_folder(
    files: ReleasedFiles,
    folder: Path,
    *,
    name: str,
    catalog: str | None,
    directions: Iterable[Path] = (),
    half: bool = False,
    draw_noise: bool = False,
    label: int | None = None,
) -> None:
    """Write a model folder."""
    header = _header({role: path for role, path in vars(files).items() if path is not None})
    model = convert_released(
        files, name=name, catalog=catalog, draw_noise=draw_noise, label=label, notes=header
    )
    _save(partial(save_model, model, header=header), folder, directions, half=half)


def convert_pulled(name: str, parts: Mapping[str, str]) -> Path:
    """Make the model `name` of published files that have been pulled; return its folder."""
    files = {role: files_folder() / sources.SOURCES[part].file_name for role, part in parts.items()}
    folder = pulled_folder() / name
    convert_to_folder(
        ReleasedFiles(**files), folder, name=name, catalog=name, directions=pulled_directions()
    )
    return folder


def pulled_directions() -> list[Path]:
    """Return where published direction files lie once they are pulled."""
    known = sources.SOURCES.values()
    return [files_folder() / each.file_name for each in known if each.feeds == "directions"]


def convert_method(
    word: str,
    files: Sequence[Path],
    folder: Path,
    *,
    name: str,
    catalog: str | None,
    directions: Iterable[Path] = (),
    half: bool = False,
) -> None:
    """Write the model folder of a compared method."""
    from stylefeatureeditor.methods.folder import save_method
    from stylefeatureeditor.methods.load import find_kind

    kind = find_kind(word)
    if len(files) != len(kind.files):
        raise WeightsError(
            f"the method {word} is made of {len(kind.files)} "
            f"{'file' if len(kind.files) == 1 else 'files, in this order'}: "
            f"{', '.join(kind.files)}; got {len(files)}"
        )
    header = _header(dict(zip(kind.files, files, strict=True)))
    method: Any = kind.load(*files)
    fitting = fitting_catalog(catalog, method.config.generator)
    method.config = replace(method.config, method=word, name=name, catalog=fitting)
    _save(partial(save_method, method, header=header), folder, directions, half=half)


def convert_generator_alone(
    file: Path,
    folder: Path,
    *,
    half: bool,
    overwrite: bool,
    draw_noise: bool,
    label: int | None = None,
) -> Path:
    """Write a generator that training can start from; return its path."""
    target = folder / "generator.safetensors"
    if target.exists() and not overwrite:
        raise WeightsError(f"{target} is there already; pass --overwrite to replace it")
    with whole(folder) as stage:
        convert_generator(
            file,
            stage / target.name,
            header=_header({"generator": file}),
            float_dtype=torch.float16 if half else None,
            draw_noise=draw_noise,
            label=label,
        )
    return target


def find_directions(folder: Path) -> list[Path]:
    """Return the direction files in a folder and in its folders, such as `editings/`.

    WeightsError if there is no such folder, none in it, or two of one name and other content.
    """
    if not folder.is_dir():
        raise WeightsError(f"--directions must be a folder, there is none at {folder}")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if _is_direction(path)):
        first = found.setdefault(path.name, path)
        if first is not path and not filecmp.cmp(first, path, shallow=False):
            raise WeightsError(
                f"{first} and {path} have one name, and a model folder keeps one file of a name: "
                "leave one of them out"
            )
    if not found:
        kinds = ", ".join(DIRECTION_SUFFIXES)
        raise WeightsError(f"{folder} holds no direction file ({kinds}), nor do the folders in it")
    return list(found.values())


def copy_directions(paths: Iterable[Path], folder: Path) -> None:
    """Copy direction files into a model folder, each whole or not at all; skip other files."""
    copy_files(filter(_is_direction, paths), folder, replace=True)


def _is_direction(path: Path) -> bool:
    named = path.suffix.lower() in DIRECTION_SUFFIXES or path.name in STYLECLIP_FILES
    return named and path.is_file()


def _save(
    save: Callable[..., None], folder: Path, directions: Iterable[Path], *, half: bool
) -> None:
    with whole(folder) as stage:
        copy_directions(directions, stage)
        save(stage, float_dtype=torch.float16 if half else None)


def _header(files: Mapping[str, Path]) -> dict[str, str]:
    """The header of every file of a converted model, from role -> published file."""
    origin = []
    for role, path in files.items():
        try:
            size, digest = path.stat().st_size, sha256_file(path)
        except OSError as error:
            raise WeightsError(f"{path} ({role}) cannot be read: {error.strerror}") from error
        origin.append({"role": role, "file": path.name, "bytes": size, "sha256": digest})
    return {CONVERTED_FROM: json.dumps(origin), "converted_by": __version__}
