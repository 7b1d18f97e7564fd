"""Where published files come from: the table `published.toml`."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from importlib.resources import files

from stylefeatureeditor.errors import WeightsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_MODEL = "faces"  # the built-in one


@dataclass(frozen=True, kw_only=True)
class Source:
    """One published file."""

    name: str  # what the command line calls it
    file_name: str  # its name in the cache
    urls: tuple[str, ...]  # its addresses, the publisher's first; the next is tried when one fails
    size: int | None = None  # bytes, or None if not stated
    sha256: str | None = None  # 64 hexadecimal digits, or None if not stated
    licence: str | None = None  # what the publisher states, or None
    what: str  # one line for a table
    feeds: str  # the part of the model, or the measurement, that needs it

    @property
    def terms(self) -> str:
        """What a user must know of the licence before a download."""
        return self.licence or "none stated: all rights reserved, ask its authors"


_TABLE = tomllib.loads(
    files("stylefeatureeditor.weights").joinpath("published.toml").read_text("utf-8")
)

SOURCES: dict[str, Source] = {
    name: Source(name=name, file_name=row.pop("file"), urls=tuple(row.pop("urls")), **row)
    for name, row in _TABLE["files"].items()
}
# What `sfe models pull NAME` needs; a compared method is a group of its files.
GROUPS: dict[str, tuple[str, ...]] = {
    name: tuple(members) for name, members in (_TABLE["groups"] | _TABLE["methods"]).items()
}
GROUP_MODELS: dict[str, dict[str, str]] = _TABLE["models"]


def find_sources(name: str) -> tuple[Source, ...]:
    """Return the files of a group, or the file of that name; WeightsError if there is none."""
    if name in GROUPS:
        return tuple(SOURCES[member] for member in GROUPS[name])
    if name in SOURCES:
        return (SOURCES[name],)
    near = difflib.get_close_matches(name, [*GROUPS, *SOURCES], n=3) or list(GROUPS)
    raise WeightsError(f"nothing published is called {name!r}: did you mean {', '.join(near)}?")
