"""From what an output was made: kept inside it, so that a later batch knows what is done.

A PNG carries its settings and the hash of its photo as a text block. They travel with the file, and
no other file is needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import PhotoError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stylefeatureeditor.cli.batch import Job

PHOTO = "photo"  # key of the photo's hash


@dataclass(frozen=True)
class Settings:
    """Everything but the photo that decides what an output shows.

    Attributes:
        content: what JSON can hold, by the words that a user knows.
    """

    content: Mapping[str, Any]

    def note(self, photo: Path) -> str:
        """Return the settings and the content of a photo as text."""
        return json.dumps({**self.content, PHOTO: file_word(photo)}, sort_keys=True)

    def left(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs whose output is not there, or was made of another content of the photo.

        Raises:
            PhotoError: an output that is there was made with other settings.
        """
        from stylefeatureeditor.photo.image import read_note

        found = {job: read_note(job.output) for job in jobs if job.output.exists()}
        now = json.loads(json.dumps(self.content))
        others = [(job.output, note) for job, note in found.items() if _settings(note) != now]
        if not others:
            return [job for job in jobs if found.get(job) != self.note(job.photo)]
        path, note = others[0]
        more = f", and {len(others) - 1} more were" if len(others) > 1 else ""
        raise PhotoError(
            f"{path} {self._difference(note)}{more}: name another folder with -o, or replace "
            "with --overwrite"
        )

    def _difference(self, note: str | None) -> str:
        before = _settings(note)
        if before is None:
            return "is there already and does not say with what settings it was made"
        now = json.loads(json.dumps(self.content))
        keys = [key for key in {**now, **before} if now.get(key) != before.get(key)]
        changes = (f"{key} {_words(before.get(key))}, now {_words(now.get(key))}" for key in keys)
        return f"was made with other settings ({'; '.join(changes)})"


def file_word(file: str | Path) -> str:
    """Return the hash of a file, or its name if there is none: "face" is a mask without a file."""
    from stylefeatureeditor.weights.storage import sha256_file

    try:
        return f"picture {sha256_file(Path(file))[:16]}"
    except (OSError, ValueError):
        return str(file)


def _settings(note: str | None) -> dict[str, Any] | None:
    """What a note says of the settings; None if it says nothing."""
    try:
        content = json.loads(note or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    return {key: value for key, value in content.items() if key != PHOTO}


def _words(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={number:g}" for key, number in value.items()) or "nothing"
    return "nothing" if value is None else str(value)
