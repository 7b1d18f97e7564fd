"""What `sfe edit` does with its photos: several at a time through the editor, and their files."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.batch import INVERSION_SUFFIX, attempt, numbered
from stylefeatureeditor.errors import FaceError, SfeError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from PIL import Image
    from torch import Tensor

    from stylefeatureeditor.cli.batch import Job, Outcome
    from stylefeatureeditor.cli.edit_record import Settings
    from stylefeatureeditor.editor import Editor, Edits
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.photo.result import EditResult

GRID_BATCH = 4  # strengths drawn at a time


def edit_all(
    jobs: Sequence[Job],
    *,
    editor: Editor,
    edits: Edits,
    args: argparse.Namespace,
    settings: Settings,
) -> Iterator[Outcome]:
    """Edit photos, --batch-size at a time, and write the output of each."""
    for first in range(0, len(jobs), args.batch_size):
        yield from _edit_group(jobs[first : first + args.batch_size], editor, edits, args, settings)


def _edit_group(
    jobs: Sequence[Job],
    editor: Editor,
    edits: Edits,
    args: argparse.Namespace,
    settings: Settings,
) -> Iterator[Outcome]:
    notes = {job: settings.note(job.photo) for job in jobs}
    sources = [_try_source(job.photo, editor, args) for job in jobs]
    failed = {place: found for place, found in enumerate(sources) if isinstance(found, SfeError)}
    readable = [
        (place, found) for place, found in enumerate(sources) if not isinstance(found, SfeError)
    ]
    results = editor.edit_batch(
        [source for _, source in readable],
        edits,
        batch_size=args.batch_size,
        mask=args.mask,
        blend=args.blend,
        face=args.face,
        aligned=args.aligned,
        on_error=lambda place, error: failed.__setitem__(readable[place][0], error),
    )
    number = 0
    for result in results:  # of the first photo that has not failed by now
        while number in failed:
            yield jobs[number], failed[number]
            number += 1
        job = jobs[number]
        save = partial(_save, result=result, is_pair=args.compare, note=notes[job])
        yield job, attempt(job, save)
        number += 1
    yield from ((jobs[left], failed[left]) for left in range(number, len(jobs)))


def _save(job: Job, *, result: EditResult, is_pair: bool, note: str) -> str:
    """Write the output of one photo and return its path."""
    if is_pair:
        return save_picture(result.comparison(), job.output, result.inversion, note)
    if result.blend == "none":
        return save_crops(result.pixels, job.output, result.inversion, note)
    return str(result.save(job.output, note=note))


def draw_one_strip(
    job: Job, editor: Editor, edits: Edits, args: argparse.Namespace, settings: Settings
) -> str:
    """Write the strip of one photo and return its path."""
    note = settings.note(job.photo)
    inversion = as_inversion(read_source(job.photo, editor, args), editor, args)
    return save_picture(_strip(editor, inversion, edits, args), job.output, inversion, note)


def _try_source(
    path: Path, editor: Editor, args: argparse.Namespace
) -> Path | Inversion | SfeError:
    try:
        return read_source(path, editor, args)
    except SfeError as error:
        return error


def read_source(path: Path, editor: Editor, args: argparse.Namespace) -> Path | Inversion:
    """Return a photo's path, or the inversion that a file holds, on the editor's device.

    Raises:
        WeightsError: the inversion file is damaged.
        ShapeError: it was made by another model.
        FaceError: it does not hold the face that --face numbers.
    """
    if path.suffix.lower() != INVERSION_SUFFIX:
        return path
    from stylefeatureeditor.weights.inversion_file import load_inversion

    inversion = load_inversion(path).map(lambda tensor: tensor.to(editor.method.device))
    editor.method.take(inversion)
    if isinstance(args.face, str):
        return inversion  # with all the faces it was made of
    if not 1 <= args.face <= len(inversion):
        raise FaceError(f"{path} holds {len(inversion)} of a photo's faces, not face {args.face}")
    return inversion[args.face - 1]


def as_inversion(source: Path | Inversion, editor: Editor, args: argparse.Namespace) -> Inversion:
    """Return the inversion of what `read_source` gave."""
    if isinstance(source, Path):
        return editor.invert(source, face=args.face, aligned=args.aligned)
    return source


def _strip(
    editor: Editor, inversion: Inversion, edits: Edits, args: argparse.Namespace
) -> Image.Image:
    """The crop of a photo, and what the strengths of --grid make of it."""
    import torch
    from PIL import Image

    from stylefeatureeditor.photo.contact_sheet import draw_strip
    from stylefeatureeditor.photo.image import to_uint8

    if len(inversion) > 1:
        raise FaceError("--grid shows one face: choose it with --face 1, 2 and so on")
    # An inversion of an aligned tensor does not keep it.
    crops = [face.pixels for face in inversion.faces] or [editor.method.reconstruct(inversion)]
    tiles = [("photo", Image.fromarray(to_uint8(crops[0])[0]))]
    strengths = args.grid.strengths()
    for first in range(0, len(strengths), GRID_BATCH):
        some = strengths[first : first + GRID_BATCH]
        result = editor.edit(
            inversion, {**edits, args.grid.name: torch.tensor(some)}, mask=args.mask, blend="none"
        )
        labels = [f"{args.grid.name} {strength:g}" for strength in some]
        tiles += zip(labels, result.crops, strict=True)
    return draw_strip(tiles)


def save_picture(picture: Image.Image, path: Path, inversion: Inversion, note: str) -> str:
    """Write a picture made from a photo, with the photo's colour profile; return its path."""
    import numpy as np

    from stylefeatureeditor.photo.image import save_photo

    source = inversion.source
    like = source and replace(source, alpha=None, exif=None)
    return str(save_photo(np.asarray(picture), path, like=like, note=note))


def save_crops(pixels: Tensor, path: Path, inversion: Inversion, note: str) -> str:
    """Write the crop of each face, the first last: where it is, all are; return its path."""
    from PIL import Image

    from stylefeatureeditor.photo.image import to_uint8

    for number, crop in reversed(list(enumerate(to_uint8(pixels), start=1))):
        written = save_picture(Image.fromarray(crop), numbered(path, number), inversion, note)
    return written
