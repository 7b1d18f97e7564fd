"""What a command can refuse before torch is imported: names and files that are not there.

Only what the files' names and tables tell is judged here; what is damaged, or does not fit the
model, is told by whoever reads it.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.editing.direction_names import (
    check_sizes,
    find_name,
    published_rows,
    spelling,
)
from stylefeatureeditor.errors import (
    ConfigError,
    DependencyError,
    MaskError,
    SfeError,
    WeightsError,
)
from stylefeatureeditor.files import CONFIG_FILE, member
from stylefeatureeditor.masks.labels import CELEBAMASK_HQ, LAPA, NO_PARSER, foreground_threshold
from stylefeatureeditor.weights.local_models import files_folder, find_model
from stylefeatureeditor.weights.sources import DEFAULT_MODEL, find_sources

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

PARSERS = {"farl-lapa": LAPA, "bisenet": CELEBAMASK_HQ}  # in the order in which they serve
TEXT_FILES = (*(source.file_name for source in find_sources("styleclip")), "clip-vit-base-patch32")
DELTA_FILES = ("templates.txt", "clip-vit-base-patch32", "delta_mapper.pt", "fs3.npy")
TEXT_SIZE = 1024  # px of the models for which the channel tables were made


def check_edits(edits: Sequence[tuple[Any, str, Iterable[float]]], once: str) -> None:
    """Refuse no edits, one that is given twice, and strengths that are too large.

    Args:
        edits: whose it is, the direction, its strengths.
        once: what a direction may have once.
    """
    if not edits:
        raise ConfigError("nothing to edit: give -e NAME=STRENGTH; `sfe directions list` has names")
    keys = [(whose, name) for whose, name, _ in edits]
    for whose, name, strengths in edits:
        if keys.count((whose, name)) > 1:
            raise ConfigError(f"{name} is given twice; {once}")
        check_sizes(name, strengths)


def check_model(args: argparse.Namespace, names: Iterable[str]) -> None:
    """As `check_directions` for --model, unless --method may bring a model of its own."""
    if args.method is None or args.model != DEFAULT_MODEL:
        check_directions(args.model, names)


def check_directions(model: str, names: Iterable[str]) -> None:
    """Raise DirectionError if a model has no direction of a name, WeightsError without a model."""
    folder = find_model(model)
    family = _config(folder).get("catalog")
    rows = published_rows(family) if isinstance(family, str) else []
    own = _read(member(folder, "directions.json")).get("directions")
    known = {
        spelling(str(name)): str(row.get("name"))
        for row in [*rows, *(own if isinstance(own, list) else [])]
        if isinstance(row, dict)
        for name in (row.get("name"), *(row.get("aliases") or ()))
    }
    for name in names:
        find_name(name, known)


def check_mask(mask: str) -> None:
    """Raise MaskError for a mask that is no file, or that no face parser here knows."""
    if mask in ("none", "face"):
        return
    is_foreground = foreground_threshold(mask) is not None
    if Path(mask).is_file():
        return
    if Path(mask).suffix and not is_foreground:
        raise MaskError(f"the mask cannot be used: there is no file {mask}")
    for name, labels in PARSERS.items():
        if (files_folder() / find_sources(name)[0].file_name).is_file():
            labels.indices(() if is_foreground else tuple(mask.split("+")))
            return
    raise MaskError(NO_PARSER)


def check_text(model: str, by: str = "styleclip") -> None:
    """Raise one error that names all that --text lacks: the package, files, a model of 1024 px."""
    folder = find_model(model)
    places = (folder / "directions", files_folder())
    files = TEXT_FILES if by == "styleclip" else DELTA_FILES
    missing = [name for name in files if not any((place / name).exists() for place in places)]
    wants = []
    if find_spec("transformers") is None:
        wants.append('transformers: `pip install "stylefeatureeditor[text]"`')
    if missing:
        wants.append(
            f"{', '.join(missing)}, which are not here: `sfe models pull styleclip` fetches "
            "StyleCLIP's, others go into the model's folder `directions`"
        )
    size = (_config(folder).get("generator") or {}).get("size", TEXT_SIZE)
    if size != TEXT_SIZE:
        wants.append(f"a model of {TEXT_SIZE} px, {model} has {size}")
    if wants:
        kind: type[SfeError] = WeightsError if missing or len(wants) > 1 else DependencyError
        raise kind(f"editing by text needs {'; and '.join(wants)}")


def _config(folder: Path) -> dict[str, Any]:
    """The config of our own model, or of a method's."""
    content = _read(member(folder, CONFIG_FILE))
    model = content.get("model", content)
    return model if isinstance(model, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    """A table; empty if it is not there or damaged, which opening the model tells."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
