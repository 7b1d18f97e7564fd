"""`sfe edit`: photos in, the same photos with their faces edited out."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.batch import make_plan, one_by_one, run_plan
from stylefeatureeditor.cli.edit_record import Settings, file_word
from stylefeatureeditor.cli.edit_work import draw_one_strip, edit_all
from stylefeatureeditor.cli.options import (
    add_backend,
    add_command,
    add_device,
    add_method,
    add_model,
    positive,
)
from stylefeatureeditor.cli.output import Progress, warn
from stylefeatureeditor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stylefeatureeditor.cli.options import Commands
    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.editor import Editor

MAX_GRID = 25
BATCH = 4


@dataclass(frozen=True)
class Grid:
    """--grid: one direction with `count` strengths from `low` to `high`."""

    name: str
    low: float
    high: float
    count: int

    def strengths(self) -> list[float]:
        """Return the strengths, the ends included."""
        step = (self.high - self.low) / (self.count - 1)
        return [round(self.low + step * number, 6) for number in range(self.count)]


def add_to(commands: Commands) -> None:
    """Add `sfe edit`."""
    parser = add_command(
        commands,
        "edit",
        edit_photos,
        text="edit the faces of photos\n"
        "A photo comes back at its own size; outside the edited region it keeps every pixel.",
        example="sfe edit portrait.jpg -e smile=2 -e age=-3 -o out.png\n"
        "sfe edit holiday/ -e smile=2 --face all -o smiling/\n"
        'sfe edit portrait.jpg --grid "smile=-3:3:7" -o strip.png',
    )
    parser.add_argument(
        "photos",
        metavar="PHOTO",
        nargs="+",
        type=Path,
        help="a photo, an inversion file that `sfe invert` wrote, or a folder of both",
    )
    add_edits(parser, "may be given several times")
    parser.add_argument(
        "--text",
        metavar="WORDS=STRENGTH",
        type=text_edit,
        action="append",
        default=[],
        help='an edit in words, as "a smiling face=5"; may be given several times, beside -e',
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="a file for one photo, replaced if it is there; a folder for several; "
        "PHOTO_edited.png if left out",
    )
    add_model(parser)
    add_method(parser)
    add_face_options(parser)
    parser.add_argument(
        "--mask",
        metavar="face|FILE|none",
        default="none",
        help="where the edit may act: the face, a picture (white = may change), or everywhere; "
        "with a face parser installed also foreground, or regions such as hair+hat (%(default)s)",
    )
    blend = parser.add_mutually_exclusive_group()
    blend.add_argument(
        "--blend",
        choices=("feather", "residual", "none"),
        help="how the crop returns: in place of the photo's, as a difference, or not at all; "
        "the model's preference if left out",
    )
    blend.add_argument(
        "--crop-only",
        action="store_const",
        const="none",
        dest="blend",
        help="write the crop instead of the photo, a file per face; the same as --blend none",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--grid",
        metavar="NAME=FROM:TO:COUNT",
        type=grid,
        help="write a labelled strip of the crop with several strengths; -e holds for all of them",
    )
    kind.add_argument(
        "--compare", action="store_true", help="write the photo before and after, side by side"
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=BATCH,
        metavar="N",
        help="of a folder: photos in memory and faces in the networks at a time (%(default)s)",
    )
    add_overwrite(parser)
    add_device(parser)
    add_backend(parser)


def add_edits(parser: argparse.ArgumentParser, several: str) -> None:
    """Add -e; `several` says what giving it more than once does."""
    parser.add_argument(
        "-e",
        "--edit",
        metavar="NAME=STRENGTH",
        type=edit,
        action="append",
        default=[],
        help=f"a direction and how far to move along it; {several}",
    )


def add_face_options(parser: argparse.ArgumentParser) -> None:
    """Add --aligned and --face."""
    parser.add_argument(
        "--aligned", action="store_true", help="the photo is a square aligned crop already"
    )
    parser.add_argument(
        "--face",
        metavar="largest|all|N",
        type=which_face,
        default="largest",
        help="which face of the photo; 1 is the largest (%(default)s)",
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add --overwrite."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="in a batch, do photos again whose output is there already",
    )


def edit(text: str) -> tuple[str, float]:
    """Read NAME=STRENGTH."""
    name, _, number = text.rpartition("=")
    strength = _number(number)
    if not name.strip() or strength is None:
        raise argparse.ArgumentTypeError(f"expected NAME=STRENGTH as in smile=2, got '{text}'")
    return name.strip(), strength


def text_edit(text: str) -> tuple[str, float]:
    """Read WORDS=STRENGTH."""
    words, _, number = text.rpartition("=")
    strength = _number(number)
    if not words.strip() or strength is None:
        raise argparse.ArgumentTypeError(
            f"expected WORDS=STRENGTH as in 'a smiling face=5', got '{text}'"
        )
    return words.strip(), strength


def grid(text: str) -> Grid:
    """Read NAME=FROM:TO:COUNT."""
    name, _, span = text.rpartition("=")
    parts = [_number(part) for part in span.split(":")]
    if name.strip() and len(parts) == 3 and None not in parts:
        low, high, count = (part for part in parts if part is not None)
        if low < high and count == int(count) and 2 <= count <= MAX_GRID:
            return Grid(name.strip(), low, high, int(count))
    raise argparse.ArgumentTypeError(
        f"expected NAME=FROM:TO:COUNT as in smile=-3:3:7, with 2 to {MAX_GRID} strengths, "
        f"got '{text}'"
    )


def which_face(text: str) -> str | int:
    """Read largest, all or a number."""
    if text in ("largest", "all"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected largest, all or a number, got '{text}'")
    return int(text)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def edit_photos(args: argparse.Namespace) -> int:
    """Run `sfe edit`."""
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.photo.image import SUFFIXES

    edits = _edits(args)
    ending = "_grid" if args.grid else "_compare" if args.compare else "_edited"
    plan = make_plan(
        args.photos, args.output, ending=ending, suffixes=SUFFIXES, with_inversions=True
    )
    with Progress("loading the model"):
        editor = Editor.from_pretrained(
            args.model,
            device=args.device,
            method=args.method,
            backend=args.backend,
            precision=args.precision,
        )
        edits.update({editor.text_direction(words): by for words, by in args.text})
    editor.resolve({**edits, **({args.grid.name: 0.0} if args.grid else {})})
    ends = ({args.grid.name: args.grid.low}, {args.grid.name: args.grid.high}) if args.grid else ()
    for some in (edits, *ends):
        for sentence in editor.warnings(some):
            warn(sentence)
    moved = [*editor.resolve(edits), *([editor.direction(args.grid.name)] if args.grid else [])]
    settings = _settings(args, editor, moved)
    if args.grid:
        work = one_by_one(lambda job: draw_one_strip(job, editor, edits, args, settings))
    else:
        work = partial(edit_all, editor=editor, edits=edits, args=args, settings=settings)
    return run_plan(plan, work, overwrite=args.overwrite, settings=settings)


def _settings(args: argparse.Namespace, editor: Editor, moved: Sequence[EditDirection]) -> Settings:
    """What decides how an output looks, but for the photo."""
    blend = None if args.grid else args.blend or editor.model.config.blend
    return Settings(
        {
            "edits": {**dict(args.edit), **dict(args.text)},
            "directions": " ".join(direction.fingerprint for direction in moved),
            "grid": args.grid and vars(args.grid),
            "mask": file_word(args.mask),
            "blend": blend,
            "face": str(args.face),
            "aligned": args.aligned,
            "model": editor.method.fingerprint,
            "precision": args.precision,
        }
    )


def _edits(args: argparse.Namespace) -> dict[str | EditDirection, float]:
    """The edits of -e; those of --text are checked only: they need the model."""
    edits: dict[str | EditDirection, float] = dict(args.edit)
    names = [name for name, _ in args.edit] + ([args.grid.name] if args.grid else [])
    prompts = [words for words, _ in args.text]
    if not names + prompts:
        raise ConfigError("nothing to edit: give -e NAME=STRENGTH; `sfe directions list` has names")
    twice = {name for some in (names, prompts) for name in some if some.count(name) > 1}
    if twice:
        raise ConfigError(f"{min(twice)} is given twice; one strength per direction")
    return edits
