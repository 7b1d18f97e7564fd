"""Photos in, files out: which photos the arguments name, where results go, what is done already.

A PNG carries, as a text block, the settings it was made with and the hash of its photo: what a
later batch need not do again.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.cli.output import Progress, say_error
from stylefeatureeditor.errors import PhotoError, SfeError
from stylefeatureeditor.files import sha256_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    MadeWith = Mapping[str, Any]  # what decides how an output looks but for the photo, for JSON
    Outcome = tuple["Job", "str | SfeError"]  # what to tell the user, or why there is nothing

# What a folder is searched for. A file named by itself may have any suffix: its content counts.
# fmt: off
PHOTO_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".heif",
    ".jp2", ".ppm", ".tga",
))
# fmt: on
MADE_HERE = re.compile(r"_(edited|grid|compare|inverted)(_face\d+)?$")  # outputs of earlier runs
INVERSION_SUFFIX = ".safetensors"
MISTAKE = 2


@dataclass(frozen=True)
class Job:
    """One photo and the file that is made of it."""

    photo: Path
    output: Path

    def attempt(self, make: Callable[[Job], str]) -> str | SfeError:
        """Return what `make` returns or raises; the output's folder is there when it runs."""
        folder = self.output.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return make(self)
        except SfeError as error:
            return error
        except OSError as error:
            if folder.is_dir():
                raise
            return PhotoError(f"the folder {folder} cannot be made: {error.strerror}")


@dataclass(frozen=True)
class PhotoJobs:
    """What the arguments ask for; nothing is written yet.

    Attributes:
        jobs: in the order of the arguments.
        several: whether a folder or several photos were named; then one failure is not the end.
    """

    jobs: tuple[Job, ...]
    several: bool

    def left(self, settings: MadeWith, *, overwrite: bool) -> list[Job]:
        """Return the jobs that the same settings have not done to the same content before.

        Raises:
            PhotoError: an output of a batch is there that was made with other settings.
        """
        if overwrite or not self.several:
            return list(self.jobs)
        from stylefeatureeditor.photo.image import read_note

        now = json.loads(json.dumps(settings))
        notes = {job: read_note(job.output) for job in self.jobs if job.output.exists()}
        other = {job.output: note for job, note in notes.items() if _settings_in(note) != now}
        for path, note in other.items():
            more = f", and {len(other) - 1} more were" if len(other) > 1 else ""
            raise PhotoError(
                f"{path} {_difference(_settings_in(note), now)}{more}: name another folder with "
                "-o, or replace with --overwrite"
            )
        return [job for job in self.jobs if notes.get(job) != note_of(settings, job.photo)]

    def report(self, outcomes: Iterable[Outcome], left: Sequence[Job]) -> int:
        """Say what has become of the jobs that were left, as it comes; return the exit code.

        Raises:
            SfeError: the only photo failed.
        """
        failures: list[str] = []
        skipped = len(self.jobs) - len(left)
        label = "photos" if self.several else self.jobs[0].photo.name
        with Progress(label, len(self.jobs) if self.several else None) as bar:
            bar.update(skipped)
            for number, (job, outcome) in enumerate(outcomes, start=skipped + 1):
                if isinstance(outcome, str):
                    bar.say(outcome)
                elif self.several:
                    failures.append(f"{job.photo}: {outcome}")
                else:
                    raise outcome
                bar.update(number)
        if skipped:
            print(f"skipped {skipped} done before; --overwrite does them again")
        if failures:
            failures.append(f"{len(failures)} of {len(self.jobs)} photos failed")
        for failure in failures:
            say_error(failure)
        return MISTAKE if failures else 0


def plan_jobs(
    named: Sequence[Path],
    output: str | None,
    *,
    ending: str,
    suffixes: Sequence[str],
    with_inversions: bool = False,
) -> PhotoJobs:
    """Return what has to be made.

    Args:
        named: photos, inversion files, folders, and patterns that the shell has left alone.
        output: --output: a file for one photo, a folder for several; None writes beside the photo.
        ending: added to a photo's stem to name its output where `output` does not.
        suffixes: what an output may end in; the first is taken where none is given.
        with_inversions: folders give their inversion files too, where the photo is not beside.

    Raises:
        PhotoError: nothing is there, two outputs would be one file, or nothing can be written.
    """
    named = [path for each in named for path in _matches(each)]
    several = len(named) > 1 or named[0].is_dir()
    photos = [photo for path in named for photo in _photos_in(path, with_inversions) or [path]]
    if not several and not photos[0].exists():
        raise PhotoError(f"there is no file {photos[0]}")
    into_folder = several or output is None or output.endswith("/") or Path(output).is_dir()
    if output is not None and not into_folder:
        file = Path(output)
        jobs = [Job(photos[0], file if file.suffix else file.with_name(file.name + suffixes[0]))]
        if not file.parent.is_dir():
            raise PhotoError(f"{file} cannot be written: there is no folder {file.parent}")
    else:
        if several and output is not None and _is_file_name(output, suffixes):
            raise PhotoError(f"{output} names one file, several photos need a folder: {output}/")
        stems = Counter(map(_stem, photos))
        jobs = []
        for photo in photos:
            folder = photo.parent if output is None else Path(output)
            name = _stem(photo) if stems[_stem(photo)] == 1 else photo.name
            jobs.append(Job(photo, folder / f"{name}{ending}{suffixes[0]}"))
    for job in jobs:
        _check(job, suffixes)
    twice = [path for path, count in Counter(job.output for job in jobs).items() if count > 1]
    if twice:
        raise PhotoError(f"two photos would be written to {twice[0]}: edit them one by one")
    return PhotoJobs(tuple(jobs), several)


def note_of(settings: MadeWith, photo: Path) -> str:
    """Return the settings and the content of a photo as text, for `read_note` to find."""
    return json.dumps({**settings, "photo": file_word(photo)}, sort_keys=True)


def file_word(file: str | Path) -> str:
    """Return the hash of a file, or its name if there is none: "face" is a mask without a file."""
    try:
        return f"picture {sha256_file(Path(file))[:16]}"
    except (OSError, ValueError):
        return str(file)


def numbered(path: Path, face: int) -> Path:
    """Return the file of a photo's face: `path` for face 1, beside it for others."""
    return path if face == 1 else path.with_name(f"{path.stem}_face{face}{path.suffix}")


def _settings_in(note: str | None) -> dict[str, Any] | None:
    """What a note says of the settings; None if it says nothing."""
    try:
        content = json.loads(note or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    return {key: value for key, value in content.items() if key != "photo"}


def _difference(before: dict[str, Any] | None, now: dict[str, Any]) -> str:
    if before is None:
        return "is there already and does not say with what settings it was made"

    def words(value: object) -> str:
        if isinstance(value, dict):
            return " ".join(f"{key}={number:g}" for key, number in value.items()) or "nothing"
        return "nothing" if value is None else str(value)

    keys = [key for key in {**now, **before} if now.get(key) != before.get(key)]
    changes = (f"{key} {words(before.get(key))}, now {words(now.get(key))}" for key in keys)
    return f"was made with other settings ({'; '.join(changes)})"


def _matches(path: Path) -> list[Path]:
    """The files that a pattern means, as from a shell that does not expand it; else the path."""
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(glob.glob(str(path)))  # noqa: PTH207 (the pattern may be absolute)
    if not found:
        raise PhotoError(f"no file is called like the pattern {path}")
    return [Path(name) for name in found]


def _photos_in(folder: Path, with_inversions: bool) -> list[Path]:  # noqa: FBT001 (private)
    """The photos of a folder but for those made by an earlier run; empty if it is no folder."""
    if not folder.is_dir():
        return []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise PhotoError(f"the folder {folder} cannot be read: {error.strerror}") from error
    shown = [path for path in entries if not path.name.startswith(".") and path.is_file()]
    photos = [
        path
        for path in shown
        if path.suffix.lower() in PHOTO_SUFFIXES and not MADE_HERE.search(path.stem)
    ]
    inversions = [path for path in shown if path.suffix.lower() == INVERSION_SUFFIX]
    if with_inversions and inversions:
        from stylefeatureeditor.weights.inversion_file import is_inversion_file

        known = {_stem(photo) for photo in photos}  # a photo beside its inversion is edited once
        others = (path for path in inversions if _stem(path) not in known)
        photos = sorted([*photos, *filter(is_inversion_file, others)])
    if not photos:
        raise PhotoError(f"the folder {folder} holds no photos (JPEG, PNG, WebP, TIFF and others)")
    return photos


def _stem(photo: Path) -> str:
    """What an output is named after: the photo, also where its inversion is given."""
    return photo.stem.removesuffix("_inverted")


def _is_file_name(output: str, suffixes: Sequence[str]) -> bool:
    path = Path(output)
    return path.suffix.lower() in suffixes and not output.endswith("/") and not path.is_dir()


def _check(job: Job, suffixes: Sequence[str]) -> None:
    """Raise PhotoError for what would fail only after minutes of work."""
    path = job.output
    if path.suffix.lower() not in suffixes:
        raise PhotoError(f"{path} must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise PhotoError(f"{path} is a folder, a file was expected")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PhotoError(f"{path} cannot be written: {folder} is no folder that can be written to")
    if path.exists() and job.photo.exists() and path.samefile(job.photo):
        raise PhotoError(f"{path} is the photo itself: name another file with -o")
