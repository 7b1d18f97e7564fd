"""Photos in, files out: which photos the arguments name, where results go, what is done already.

A PNG carries, as a text block, the settings it was made with and the hash of its photo: what a
later batch need not do again.
"""

from __future__ import annotations

import glob
import json
import os
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.cli.output import Progress, say_error
from stylefeatureeditor.errors import PhotoError, SfeError
from stylefeatureeditor.files import file_word
from stylefeatureeditor.photo import NOTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stylefeatureeditor.records import Photo

MadeWith = Mapping[str, Any]  # what decides how an output looks but for the photo, for JSON
Outcome = tuple["Job", "str | SfeError"]  # what to tell the user, or why there is nothing
# What a folder is searched for. A file named by itself may have any suffix: its content counts.
# fmt: off
PHOTO_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif",
    ".dib", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".ppm", ".pgm", ".tga", ".psd", ".qoi",
))
# fmt: on
INVERSION_SUFFIX = ".safetensors"
CODE_SUFFIXES = (".pt", ".pth", ".npy", ".npz")  # codes in W or W+ of another tool
MISTAKE = 2
NAMED = 5  # of the files that are skipped


@dataclass(frozen=True)
class Job:
    """One photo and the file that is made of it."""

    photo: Path
    output: Path
    content: Photo | None = field(default=None, compare=False, repr=False)

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
class Maker:
    """A command with its model open: the settings of its outputs, and what makes them."""

    settings: MadeWith
    make: Callable[[list[Job]], Iterable[Outcome]]


@dataclass(frozen=True)
class PhotoJobs:
    """What the arguments ask for; nothing is written yet.

    Attributes:
        jobs: in the order of the arguments.
        several: whether a folder or several photos were named; then one failure is not the end.
        skipped: a sentence for each kind of thing in a folder that gives no job.
        what: what a job makes, in the sentence that counts failures.
    """

    jobs: tuple[Job, ...]
    several: bool
    skipped: tuple[str, ...] = ()
    what: str = "photos"

    def read_ahead(self, *, aligned: bool, all_faces: bool) -> PhotoJobs:
        """Return the jobs with the photo, if it is but one; its faces are found meanwhile."""
        from stylefeatureeditor.photo.image import read_photo, visible
        from stylefeatureeditor.photo.landmarks import find_ahead, get_ready

        if not aligned:
            get_ready()
        path = self.jobs[0].photo
        if self.several or path.suffix.lower() in (INVERSION_SUFFIX, *CODE_SUFFIXES):
            return self
        photo = read_photo(path)
        if not aligned:
            find_ahead(visible(photo), all_sizes=all_faces)
        return replace(self, jobs=(replace(self.jobs[0], content=photo),))

    def left(self, settings: MadeWith, *, overwrite: bool) -> list[Job]:
        """Return the jobs that the same settings have not done to the same content before."""
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

    def run(self, maker: Maker, *, overwrite: bool) -> int:
        """Make what is left, say what has become of it, and return the exit code."""
        left = self.left(maker.settings, overwrite=overwrite)
        return self.report(maker.make(left), left)

    def report(self, outcomes: Iterable[Outcome], left: Sequence[Job]) -> int:
        """Say what has become of the jobs that were left, as it comes; return the exit code."""
        for sentence in self.skipped:
            say_error(sentence)
        failures: list[str] = []
        skipped = len(self.jobs) - len(left)
        label = self.what if self.several else self.jobs[0].photo.name
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
            failures.append(f"{len(failures)} of {len(self.jobs)} {self.what} failed")
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
    recursive: bool = False,
) -> PhotoJobs:
    """Return what has to be made.

    Args:
        named: photos, inversion files and folders.
        output: --output: a file for one photo, a folder for several; None writes beside the photo.
        ending: added to a photo's stem to name its output where `output` does not.
        suffixes: what an output may end in; the first is taken where none is given.
        with_inversions: folders give their inversion files too, where the photo is not beside.
        recursive: folders give what lies in folders below too, and `output` gets the same folders.
    """
    several = len(named) > 1 or named[0].is_dir()
    found: list[tuple[Path, Path]] = []  # a photo, and the folder it is named by
    skipped: list[str] = []
    for path in named:
        if not path.is_dir():
            found.append((path, path.parent))
            continue
        photos, left_out = _photos_in(path, with_inversions=with_inversions, recursive=recursive)
        found += [(photo, path) for photo in photos]
        skipped += left_out
    photos = [photo for photo, _ in found]
    if not several and not photos[0].exists():
        raise PhotoError(f"there is no file {photos[0]}")
    into_folder = several or output is None or output.endswith("/") or Path(output).is_dir()
    if output is not None and not into_folder:
        file = Path(output)
        jobs = [Job(photos[0], file if file.suffix else file.with_name(file.name + suffixes[0]))]
        if not file.parent.is_dir():
            raise PhotoError(f"{file} cannot be written: there is no folder {file.parent}")
    else:
        if several and output is not None:
            _check_folder(output, suffixes)
        folders = [
            photo.parent if output is None else Path(output, photo.parent.relative_to(top))
            for photo, top in found
        ]
        stems = Counter(zip(folders, map(_stem, photos), strict=True))
        jobs = []
        for photo, folder in zip(photos, folders, strict=True):
            name = _stem(photo) if stems[folder, _stem(photo)] == 1 else photo.name
            jobs.append(Job(photo, folder / f"{name}{ending}{suffixes[0]}"))
    check_jobs(jobs, suffixes)
    return PhotoJobs(tuple(jobs), several, tuple(skipped))


def note_of(settings: MadeWith, photo: Path) -> str:
    """Return the settings and the content of a photo as text, for `read_note` to find."""
    return json.dumps({**settings, "photo": file_word(photo)}, sort_keys=True)


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


def expanded(paths: Sequence[Path]) -> list[Path]:
    """Return paths with the files that patterns mean, which some shells do not expand."""
    found: list[Path] = []
    for path in paths:
        if path.exists() or not glob.has_magic(str(path)):
            found.append(path)
            continue
        names = sorted(glob.glob(str(path)))  # noqa: PTH207 (the pattern may be absolute)
        if not names:
            raise PhotoError(f"no file is called like the pattern {path}")
        found += [Path(name) for name in names]
    return found


def _photos_in(
    top: Path, *, with_inversions: bool, recursive: bool
) -> tuple[list[Path], list[str]]:
    """The photos of a folder, and a sentence for each kind of thing that is left out."""
    files, below = _walk(top, recursive=recursive)
    photos = [path for path in files if path.suffix.lower() in PHOTO_SUFFIXES]
    made = [path for path in photos if _is_made_here(path)]
    photos = sorted({*photos} - {*made})
    inversions = [path for path in files if path.suffix.lower() == INVERSION_SUFFIX]
    redrawn: list[Path] = []
    if with_inversions and inversions:
        from stylefeatureeditor.weights.inversion_file import is_inversion_file

        known = {path.with_name(_stem(path)) for path in photos}  # these are edited once
        inversions = [path for path in inversions if is_inversion_file(path)]
        redrawn = [path for path in inversions if path.with_name(_stem(path)) in known]
        photos = sorted({*photos, *inversions} - {*redrawn})
    others = [path for path in files if path not in {*photos, *made, *redrawn}]
    skipped = [
        f"{top}: skipped, {what} ({len(paths)}): {_names(paths, top)}"
        for paths, what in (
            (made, "made by an earlier run"),
            (redrawn, "inversions of photos beside them"),
            (others, "no photos by their names"),
            (below, "folders below, which --recursive opens"),
        )
        if paths
    ]
    if not photos:
        raise PhotoError(
            "; ".join(
                [f"the folder {top} holds no photos (JPEG, PNG, WebP, TIFF and others)", *skipped]
            )
        )
    return photos, skipped


def _walk(top: Path, *, recursive: bool) -> tuple[list[Path], list[Path]]:
    """The files of a folder, and the folders that are not opened; none that is hidden."""

    def refuse(error: OSError) -> None:
        raise PhotoError(f"the folder {error.filename} cannot be read: {error.strerror}") from error

    files: list[Path] = []
    for place, folders, names in os.walk(top, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = (Path(place, name) for name in sorted(names) if not name.startswith("."))
        files += [path for path in shown if path.is_file()]
        if not recursive:
            return files, [Path(place, name) for name in folders]
    return files, []


def _is_made_here(path: Path) -> bool:
    """Whether a picture carries our note; as `photo.image.read_note`, without torch."""
    if path.suffix.lower() != ".png":
        return False
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels; none is decoded
            with Image.open(path, formats=("PNG",)) as image:
                return NOTE in image.info
    except Exception:  # noqa: BLE001 (Pillow's readers raise almost anything on damaged data)
        return False


def _names(paths: list[Path], top: Path) -> str:
    names = ", ".join(str(path.relative_to(top)) for path in paths[:NAMED])
    return names if len(paths) <= NAMED else f"{names} and {len(paths) - NAMED} more"


def _stem(photo: Path) -> str:
    """What an output is named after: the photo, also where its inversion is given."""
    return photo.stem.removesuffix("_inverted")


def _check_folder(output: str, suffixes: Sequence[str]) -> None:
    """Raise PhotoError if the output of several photos looks like one file."""
    path = Path(output)
    if path.suffix.lower() in suffixes and not output.endswith("/") and not path.is_dir():
        raise PhotoError(f"{output} names one file, several photos need a folder: {output}/")


def check_jobs(jobs: Sequence[Job], suffixes: Sequence[str]) -> None:
    """Raise PhotoError for what would fail only after minutes of work, or lose a photo."""
    for job in jobs:
        _check(job, suffixes)
    twice = [path for path, count in Counter(job.output for job in jobs).items() if count > 1]
    if twice:
        raise PhotoError(f"two photos would be written to {twice[0]}: edit them one by one")


def _check(job: Job, suffixes: Sequence[str]) -> None:
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
