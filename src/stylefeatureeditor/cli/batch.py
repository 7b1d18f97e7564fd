"""Photos in, files out: which photos the arguments name, where results go, what is done already."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.output import Progress, say_error
from stylefeatureeditor.errors import PhotoError, SfeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stylefeatureeditor.cli.edit_record import Settings

    Outcome = tuple["Job", "str | SfeError"]  # what to tell the user, or why there is nothing
    Work = Callable[[Sequence["Job"]], Iterator[Outcome]]

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

    def make_folder(self) -> None:
        """Make the folder of the output; PhotoError if it cannot be made."""
        folder = self.output.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PhotoError(f"the folder {folder} cannot be made: {error.strerror}") from error


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        jobs: in the order of the arguments.
        is_batch: whether a folder or several photos were named; then one failure is not the end.
    """

    jobs: tuple[Job, ...]
    is_batch: bool


def make_plan(
    named: Sequence[Path],
    output: str | None,
    *,
    ending: str,
    suffixes: Sequence[str],
    with_inversions: bool = False,
) -> Plan:
    """Return what has to be made; nothing is written yet.

    Args:
        named: photos, inversion files and folders.
        output: --output: a file for one photo, a folder for several; None writes beside the photo.
        ending: added to a photo's stem to name its output where `output` does not.
        suffixes: what an output may end in; the first is taken where none is given.
        with_inversions: folders give their inversion files too, where the photo is not beside.

    Raises:
        PhotoError: nothing is there, two outputs would be one file, or nothing can be written.
    """
    is_batch = len(named) > 1 or any(path.is_dir() for path in named)
    photos = [photo for path in named for photo in (_photos_in(path, with_inversions) or [path])]
    if not is_batch and not photos[0].exists():
        raise PhotoError(f"there is no file {photos[0]}")
    into_folder = is_batch or output is None or output.endswith("/") or Path(output).is_dir()
    if output is not None and not into_folder:
        file = Path(output)
        jobs = [Job(photos[0], file if file.suffix else file.with_name(file.name + suffixes[0]))]
        if not file.parent.is_dir():
            raise PhotoError(f"{file} cannot be written: there is no folder {file.parent}")
    else:
        if is_batch and output is not None and _is_file_name(output, suffixes):
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
    return Plan(tuple(jobs), is_batch)


def run_plan(plan: Plan, work: Work, *, overwrite: bool, settings: Settings) -> int:
    """Work on the photos; return the exit code.

    In a batch, what the same settings have made of the same content is skipped, whatever the files'
    dates, and a photo that fails is told at the end. Outputs that other settings made are not
    replaced unasked.

    Args:
        plan: from `make_plan`.
        work: makes the outputs of some jobs, each whole or not at all, in their order.
        overwrite: do again what is done, whatever its settings.
        settings: those of this run.

    Raises:
        SfeError: the only photo failed.
        PhotoError: in a batch, an output is there that was made with other settings.
    """
    jobs = list(plan.jobs)
    if plan.is_batch and not overwrite:
        jobs = settings.left(jobs)
    skipped = len(plan.jobs) - len(jobs)
    failures: list[str] = []
    label = "photos" if plan.is_batch else plan.jobs[0].photo.name
    with Progress(label, len(plan.jobs) if plan.is_batch else None) as bar:
        bar.update(skipped)
        for number, (job, outcome) in enumerate(work(jobs), start=skipped + 1):
            if isinstance(outcome, str):
                bar.say(outcome)
            elif plan.is_batch:
                failures.append(f"{job.photo}: {outcome}")
            else:
                raise outcome
            bar.update(number)
    if skipped:
        print(f"skipped {skipped} done before; --overwrite does them again")
    for failure in failures:
        say_error(failure)
    if failures:
        say_error(f"{len(failures)} of {len(plan.jobs)} photos failed")
    return MISTAKE if failures else 0


def one_by_one(make: Callable[[Job], str]) -> Work:
    """Return work that makes one output after the other."""

    def work(jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in jobs:
            yield job, attempt(job, make)

    return work


def attempt(job: Job, make: Callable[[Job], str]) -> str | SfeError:
    """Return what `make` returned or raised; the output's folder is there when it runs."""
    try:
        job.make_folder()
        return make(job)
    except SfeError as error:
        return error


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
    if with_inversions:
        photos = sorted([*photos, *_inversions_of_others(shown, photos)])
    if not photos:
        raise PhotoError(f"the folder {folder} holds no photos (JPEG, PNG, WebP, TIFF and others)")
    return photos


def _inversions_of_others(files: Sequence[Path], photos: Sequence[Path]) -> list[Path]:
    """The inversions among files but for those whose photo is there: it would be edited twice."""
    candidates = [path for path in files if path.suffix.lower() == INVERSION_SUFFIX]
    if not candidates:
        return []
    from stylefeatureeditor.weights.inversion_file import is_inversion_file

    known = {_stem(photo) for photo in photos}
    return [path for path in candidates if _stem(path) not in known and is_inversion_file(path)]


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


def numbered(path: Path, face: int) -> Path:
    """Return the file of a photo's face: `path` for face 1, beside it for others."""
    return path if face == 1 else path.with_name(f"{path.stem}_face{face}{path.suffix}")
