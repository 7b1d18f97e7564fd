"""Where models lie: in the package, in the cache, in a folder of the user's, or on the Hub."""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import CONFIG_FILE, member
from stylefeatureeditor.weights import hub
from stylefeatureeditor.weights.download import cache_dir


def builtin_folder() -> Path:
    """Return the folder of the models that the package brings."""
    return Path(str(files("stylefeatureeditor").joinpath("builtin")))


def pulled_folder() -> Path:
    """Return the folder where `sfe models pull` leaves models, one subfolder each."""
    return cache_dir() / "models"


def files_folder() -> Path:
    """Return the folder where `sfe models pull` leaves published files as they are."""
    return cache_dir() / "downloads"


def local_models() -> dict[str, Path]:
    """Return name -> folder of every model that is built in or has been pulled."""
    found: dict[str, Path] = {}
    for place in (pulled_folder(), builtin_folder()):
        if place.is_dir():
            found |= {
                folder.name: folder
                for folder in sorted(place.iterdir())
                if (folder / CONFIG_FILE).is_file()
            }
    return found


def model_at(path: Path) -> Path | None:
    """Return the model folder that a path means: itself, or `model` in a run's; else None."""
    return next((p for p in (path, path / "model") if member(p, CONFIG_FILE).is_file()), None)


def find_model(name: str | Path) -> Path:
    """Return the folder of a model, by its path, by that of the run that made it, or by name.

    A name ORG/NAME that is no folder here means the Hugging Face Hub: it is fetched. WeightsError
    if there is no such folder or name; DownloadError if the Hub does not give it; DependencyError
    if it is on the Hub, and the extra `hub` is not installed.
    """
    try:
        if folder := model_at(Path(name)):
            return folder
    except OSError as error:
        raise WeightsError(f"the model {name} cannot be opened: {error.strerror}") from error
    if hub.names_repository(name) and not Path(name).exists():
        name = hub.pull(str(name))
        if folder := model_at(name):
            return folder
    if isinstance(name, str) and re.fullmatch(r"[\w.-]+", name):
        known = local_models()
        if name in known:
            return known[name]
        if not Path(name).is_dir():
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            have = ", ".join(known) or "none"
            raise WeightsError(
                f"there is no model {name!r}: {hint}on this machine: {have}; `sfe models pull` "
                "fetches published ones, `sfe models convert` converts files you have"
            )
    raise WeightsError(
        f"{name} is not a model folder: it has no {CONFIG_FILE}; `sfe models convert` makes one "
        "from published checkpoints"
    )
