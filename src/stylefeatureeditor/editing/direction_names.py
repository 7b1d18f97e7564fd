"""Names of directions, read without torch: commands refuse unknown ones before a model loads."""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from stylefeatureeditor.errors import DirectionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FAMILIES = ("ffhq", "cars")
NAMED = 12  # directions that a sentence names
MAX_STRENGTH = 10_000  # useful ones end at 45
TextMethod = Literal["styleclip", "deltaedit", "deltaedit-normalised"]
# what makes edits from words, and the threshold for channels where none is given
TEXT_THRESHOLDS = {"styleclip": 0.18, "deltaedit": 0.03, "deltaedit-normalised": 0.03}


def published_rows(family: str) -> list[dict[str, Any]]:
    """Return a family's rows of `catalog.toml`; DirectionError if nothing was published for it."""
    if family not in FAMILIES:
        raise DirectionError(
            f"directions were published for {' and '.join(FAMILIES)}, not for '{family}'"
        )
    text = files("stylefeatureeditor.editing").joinpath("catalog.toml").read_text("utf-8")
    return tomllib.loads(text)[family]


def spelling(name: str) -> str:
    """Return a name as it is compared: case, blanks and hyphens do not matter."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def find_name(name: str, known: Mapping[str, str]) -> str:
    """Return the direction that a name or alias means; DirectionError, with near names, if none."""
    if found := known.get(spelling(name)):
        return found
    near = get_close_matches(spelling(name), known, n=3, cutoff=0.5)
    names = list(dict.fromkeys(known[match] for match in near or sorted(known)))
    hint = f"did you mean {' or '.join(names)}?" if near else f"this model has {_some(names)}"
    raise DirectionError(f"unknown direction '{name}': {hint}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more if names else "none yet"


def check_sizes(name: str, strengths: Iterable[float]) -> None:
    """Raise DirectionError for a strength that is not finite, or beyond MAX_STRENGTH."""
    if not all(abs(strength) <= MAX_STRENGTH for strength in strengths):  # NaN is refused too
        raise DirectionError(
            f"strength of '{name}' must be a finite number, at most {MAX_STRENGTH} in size"
        )
