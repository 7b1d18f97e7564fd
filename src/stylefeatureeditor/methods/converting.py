"""From published files to model folders: shared by `sfe models convert` and `sfe models pull`."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor import __version__
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import atomic_path, together
from stylefeatureeditor.weights import sources
from stylefeatureeditor.weights.checkpoint import save_model
from stylefeatureeditor.weights.convert import (
    ReleasedFiles,
    convert_released,
    fitting_catalog,
)
from stylefeatureeditor.weights.convert_parts import convert_part
from stylefeatureeditor.weights.direction_files import PUBLISHED
from stylefeatureeditor.weights.local_models import files_folder, pulled_folder
from stylefeatureeditor.weights.storage import sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

CONVERTED_FROM = "converted_from"  # key in the header of every file of a converted model
DIRECTION_SUFFIXES = (".pt", ".pth", ".npy", ".safetensors")


def convert_to_folder(
    files: ReleasedFiles,
    folder: Path,
    *,
    name: str,
    catalog: str | None,
    directions: Iterable[Path] = (),
    half: bool = False,
) -> None:
    """Write a model folder from published files, with their SHA-256 in every header.

    Args:
        files: the checkpoints.
        folder: made if it is not there; an older model stays until the new one is whole.
        name: what the model is called.
        catalog: "ffhq", "cars", None, or "auto" for what fits the generator.
        directions: released direction files to copy into the folder.
        half: store float16.

    Raises:
        WeightsError: a file is missing or not what it should be, or the folder cannot be written.
    """
    origin = [
        _origin(role, path)
        for role in ("sfe", "generator", "e4e")
        if (path := getattr(files, role)) is not None
    ]
    model = convert_released(files, name=name, catalog=catalog)
    dtype = torch.float16 if half else None
    with _whole(folder) as stage:
        copy_directions(directions, stage)
        save_model(model, stage, header=_header(origin), float_dtype=dtype)


def convert_pulled(name: str, parts: Mapping[str, str]) -> Path:
    """Make the model `name` of published files that have been pulled; return its folder.

    Args:
        name: what the model is called, and the family of its directions.
        parts: field of `ReleasedFiles` -> name of the published file.

    Raises:
        WeightsError: as `convert_to_folder`.
    """
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
    """Write the model folder of a compared method from its published files.

    Args:
        word: of the method.
        files: the checkpoints, in the order of `MethodKind.files`.
        folder: made if it is not there; an older model stays until the new one is whole.
        name: what the model is called.
        catalog: "ffhq", "cars", None, or "auto" for what fits the generator.
        directions: released direction files to copy into the folder.
        half: store float16.

    Raises:
        ConfigError: there is no such method.
        WeightsError: a file is missing or not what it should be, or the folder cannot be written.
    """
    from stylefeatureeditor.methods.folder import save_method
    from stylefeatureeditor.methods.methods import find_kind

    kind = find_kind(word)
    if len(files) != len(kind.files):
        raise WeightsError(
            f"the method {word} is made of {len(kind.files)} "
            f"{'file' if len(kind.files) == 1 else 'files, in this order'}: "
            f"{', '.join(kind.files)}; got {len(files)}"
        )
    origin = [_origin(what, path) for what, path in zip(kind.files, files, strict=True)]
    method, dtype = kind.load(*files), torch.float16 if half else None
    fitting = fitting_catalog(catalog, method.config.generator)
    named = {"method": word, "name": name, "catalog": fitting}
    method.config = replace(method.config, **named)  # type: ignore[arg-type]
    with _whole(folder) as stage:
        copy_directions(directions, stage)
        save_method(method, stage, header=_header(origin), float_dtype=dtype)


def convert_parts(
    files: dict[str, Path], folder: Path, *, half: bool, overwrite: bool
) -> list[Path]:
    """Write single networks from published files; return the paths written.

    Args:
        files: part -> published file; parts as in `weights/convert_parts.py`.
        folder: made if it is not there.
        half: store float16.
        overwrite: replace files of an earlier conversion.

    Raises:
        WeightsError: no file was given, one is not what it should be, or a target is there.
    """
    if not files:
        raise WeightsError(
            "nothing to convert: pass --sfe with --generator and --e4e for a model, or one of "
            "--generator, --e4e, --ir-se50 and --iresnet50 alone for a part"
        )
    targets = {part: folder / f"{part}.safetensors" for part in files}
    for target in targets.values():
        if target.exists() and not overwrite:
            raise WeightsError(f"{target} is there already; pass --overwrite to replace it")
    with _whole(folder) as stage:
        for part, path in files.items():
            convert_part(
                part,
                path,
                stage / targets[part].name,
                header=_header([_origin(part, path)]),
                float_dtype=torch.float16 if half else None,
            )
    return list(targets.values())


def copy_directions(paths: Iterable[Path], folder: Path) -> None:
    """Copy direction files into a model folder, each whole or not at all; skip other files.

    Raises:
        WeightsError: a file cannot be read or written.
    """
    for path in paths:
        if not path.is_file() or path.suffix.lower() not in DIRECTION_SUFFIXES:
            continue
        try:
            (folder / PUBLISHED).mkdir(parents=True, exist_ok=True)
            with atomic_path(folder / PUBLISHED / path.name) as temporary:
                shutil.copyfile(path, temporary)
        except OSError as error:
            raise WeightsError(f"{path} cannot be copied: {error.strerror}") from error


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """As `together`, with the sentence that fits."""
    try:
        with together(folder) as stage:
            yield stage
    except OSError as error:
        raise WeightsError(f"{folder} cannot be made or written: {error.strerror}") from error


def _header(origin: list[dict[str, object]]) -> dict[str, str]:
    """What every file of a converted model says of itself."""
    return {CONVERTED_FROM: json.dumps(origin), "converted_by": __version__}


def _origin(role: str, path: Path) -> dict[str, object]:
    try:
        return {
            "role": role,
            "file": path.name,
            "bytes": path.stat().st_size,
            "sha256": sha256_file(path),
        }
    except OSError as error:
        raise WeightsError(f"{path} ({role}) cannot be read: {error.strerror}") from error
