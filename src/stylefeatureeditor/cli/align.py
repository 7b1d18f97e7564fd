"""`sfe align`: faces cut out of photos, upright, as FFHQ cuts them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.cli.batch import Job, expanded, note_of, numbered, plan_jobs
from stylefeatureeditor.cli.options import (
    Args,
    Commands,
    add_command,
    add_common,
    chosen_face,
    positive,
)
from stylefeatureeditor.photo import SUFFIXES

if TYPE_CHECKING:
    from stylefeatureeditor.cli.batch import MadeWith
    from stylefeatureeditor.errors import SfeError
    from stylefeatureeditor.records import FaceBox


def add_to(commands: Commands) -> None:
    """Add `sfe align`."""
    parser = add_command(
        commands,
        "align",
        align_photos,
        text="cut the faces out of photos, upright, as FFHQ cuts them\n"
        "What training and `sfe evaluate` take; `sfe edit --aligned` edits such a crop.",
        example="sfe align portrait.jpg -o crop.png\n"
        "sfe align holiday/ --face all -o crops/ --workers 4",
    )
    parser.add_argument(
        "photos", metavar="PHOTO", nargs="+", type=Path, help="a photo or a folder of photos"
    )
    add_common(
        parser,
        "--output",
        help="a file for one photo, a folder for several; PHOTO_aligned.png if left out",
    )
    parser.add_argument(
        "--size", type=positive, default=1024, metavar="PIXELS", help="side of the crops (1024)"
    )
    parser.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="processes for several photos (1)"
    )
    add_common(parser, "--face", "--face-box", "--recursive", "--overwrite")


def align_photos(args: Args) -> int:
    """Run `sfe align`."""
    args.face = chosen_face(args)
    plan = plan_jobs(
        expanded(args.photos),
        args.output,
        ending="_aligned",
        suffixes=SUFFIXES,
        recursive=args.recursive,
    )
    settings = {"face": str(args.face), "size": args.size}
    left = plan.left(settings, overwrite=args.overwrite)
    cut = partial(_cut, settings, args.face, args.size)
    if args.workers == 1 or len(left) < 2:
        return plan.report(((job, cut(job)) for job in left), left)
    with ProcessPoolExecutor(min(args.workers, len(left)), get_context("spawn")) as pool:
        return plan.report(zip(left, pool.map(cut, left), strict=True), left)


def _cut(settings: MadeWith, face: str | int | FaceBox, size: int, job: Job) -> str | SfeError:
    return job.attempt(partial(_write, settings, face, size))


def _write(settings: MadeWith, face: Any, size: int, job: Job) -> str:
    """Write the crops, that of face 1 to the job's output, and return its path."""
    from stylefeatureeditor.editor import align
    from stylefeatureeditor.photo.image import read_photo, save_picture, to_picture, to_uint8

    photo = read_photo(job.photo)
    note = note_of(settings, job.photo)
    for number, found in reversed([*enumerate(align(photo, face=face, size=size), start=1)]):
        picture = to_picture(to_uint8(found.pixels)[0], photo)
        written = save_picture(picture, numbered(job.output, number), note)
    return str(written)
