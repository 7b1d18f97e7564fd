"""With what an output was made: kept inside it, so that a later batch knows what is done.

A PNG carries its settings as a text block. They travel with the file, and no other file is needed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import PhotoError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Settings:
    """Everything but the photo that decides what an output shows.

    Attributes:
        content: what JSON can hold, by the words that a user knows.
    """

    content: Mapping[str, Any]

    @property
    def note(self) -> str:
        """The settings as text."""
        return json.dumps(self.content, sort_keys=True)

    def check(self, outputs: Sequence[Path]) -> None:
        """Raise PhotoError if an output that is there was made with other settings."""
        from stylefeatureeditor.photo.image import read_note

        there = [(path, read_note(path)) for path in outputs if path.exists()]
        others = [(path, note) for path, note in there if note != self.note]
        if not others:
            return
        path, note = others[0]
        more = f", and {len(others) - 1} more were" if len(others) > 1 else ""
        raise PhotoError(
            f"{path} {self._difference(note)}{more}: name another folder with -o, or replace "
            "with --overwrite"
        )

    def _difference(self, note: str | None) -> str:
        try:
            before = json.loads(note or "")
        except ValueError:
            before = None
        if not isinstance(before, dict):
            return "is there already and does not say with what settings it was made"
        now = json.loads(self.note)
        keys = [key for key in {**now, **before} if now.get(key) != before.get(key)]
        changes = (f"{key} {_words(before.get(key))}, now {_words(now.get(key))}" for key in keys)
        return f"was made with other settings ({'; '.join(changes)})"


def mask_word(mask: str) -> str:
    """Return a mask's name, or the hash of its file: the same name may hold another picture."""
    try:
        content = Path(mask).read_bytes()
    except (OSError, ValueError):
        return mask
    return f"picture {hashlib.sha256(content).hexdigest()[:16]}"


def _words(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={number:g}" for key, number in value.items()) or "nothing"
    return "nothing" if value is None else str(value)
