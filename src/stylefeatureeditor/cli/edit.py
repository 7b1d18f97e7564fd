"""`sfe edit`: photos in, the same photos with their faces edited out."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.batch import (
    CODE_SUFFIXES,
    INVERSION_SUFFIX,
    Job,
    PhotoJobs,
    check_folder,
    check_jobs,
    note_of,
    numbered,
    plan_jobs,
)
from stylefeatureeditor.cli.options import (
    add_backend,
    add_command,
    add_device,
    add_method,
    add_model,
    finite,
    finite_number,
    flag,
    positive,
    reader,
)
from stylefeatureeditor.cli.output import Progress, warn
from stylefeatureeditor.cli.refusals import check_directions, check_mask, check_text
from stylefeatureeditor.editing.direction_names import TEXT_THRESHOLDS, check_sizes
from stylefeatureeditor.errors import ConfigError, FaceError, SfeError
from stylefeatureeditor.files import file_word
from stylefeatureeditor.photo import SESSION_SUFFIX, SUFFIXES
from stylefeatureeditor.weights.local_models import find_model, local_models
from stylefeatureeditor.weights.sources import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stylefeatureeditor.cli.batch import MadeWith, Outcome
    from stylefeatureeditor.cli.options import Commands
    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.editor import Editor, Edits
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.photo.result import EditResult
    from stylefeatureeditor.records import Photo

    OfFaces = dict[int, dict[str | EditDirection, float]]

MAX_GRID = 25
BATCH = 4
NEUTRAL = "a face"


@dataclass(frozen=True)
class Grid:
    """--grid: one direction with `count` strengths from `low` to `high`."""

    name: str
    low: float
    high: float
    count: int

    def ends(self) -> list[tuple[str, float]]:
        """Return the direction with its lowest and its highest strength."""
        return [(self.name, self.low), (self.name, self.high)]

    def strengths(self) -> list[float]:
        """Return the strengths, the ends included."""
        step = (self.high - self.low) / (self.count - 1)
        return [round(self.low + step * number, 6) for number in range(self.count)]


def _strength(name: str, number: str) -> tuple[str, float]:
    return name.strip(), finite(number)


def _grid(name: str, low: str, high: str, count: str) -> Grid:
    made = Grid(name.strip(), finite(low), finite(high), int(finite(count)))
    if not (made.low < made.high and made.count == finite(count) and 2 <= made.count <= MAX_GRID):
        raise ValueError
    return made


NAMED = r"(.*\S.*)="
edit = reader("NAME=STRENGTH as in smile=2", NAMED + "([^=]*)", _strength)
face_edit = reader(
    "NAME=STRENGTH as in smile=2, or FACE:NAME=STRENGTH as in 2:smile=2",
    r"(?:0*([1-9]\d*):)?" + NAMED + "([^=]*)",
    lambda face, *words: (face and int(face), *_strength(*words)),
)


def _prompts(words: str, number: str) -> tuple[str, str, float]:
    neutral, _, target = words.rpartition(">")
    if not target.strip():
        raise ValueError
    return neutral.strip() or NEUTRAL, target.strip(), finite(number)


text_edit = reader("WORDS=STRENGTH as in 'a smiling face=5'", NAMED + "([^=]*)", _prompts)
grid = reader(
    f"NAME=FROM:TO:COUNT as in smile=-2:2:5, with 2 to {MAX_GRID} strengths",
    NAMED + "([^=:]*):([^=:]*):([^=:]*)",
    _grid,
)
which_face: Callable[[str], str | int] = reader(
    "largest, all or a number",
    r"(largest|all|\d+)",
    lambda word: int(word) if word.isdecimal() else word,
)


def add_to(commands: Commands) -> None:
    """Add `sfe edit`."""
    parser = add_command(
        commands,
        "edit",
        edit_photos,
        text="edit the faces of photos\n"
        "A photo comes back at its own size; outside the edited region it keeps every pixel.",
        example="sfe edit portrait.jpg -e smile=2 -e age=-2 -o out.png\n"
        "sfe edit holiday/ -e smile=2 --face all -o smiling/\n"
        "sfe edit two.jpg -e 1:smile=2 -e 2:age=-2 -o two_edited.png\n"
        'sfe edit portrait.jpg --grid "smile=-2:2:5" -o strip.png',
    )
    parser.add_argument(
        "photos",
        metavar="PHOTO",
        nargs="+",
        type=Path,
        help="a photo, an inversion file that `sfe invert` wrote, a folder of both, a session "
        "(.sfe) that the page saved, with the edits it holds, or codes in W or W+ of another tool "
        "(.pt, .npy, .npz)",
    )
    add_edits(
        parser,
        "may be given several times; 2:smile=2 is of the second largest face alone",
        metavar="[FACE:]NAME=STRENGTH",
        read=face_edit,
    )
    parser.add_argument(
        "--text",
        metavar="[NOW >] WORDS=STRENGTH",
        type=text_edit,
        action="append",
        default=[],
        help='an edit in words, as "a smiling face=5", or with what the photo shows before it, '
        f'"a man > a bearded man=5" ("{NEUTRAL}" if left out); may be given several times',
    )
    parser.add_argument(
        "--text-by",
        choices=tuple(TEXT_THRESHOLDS),
        default="styleclip",
        help="what turns words into edits: StyleCLIP's global directions, or DeltaEdit, which "
        "looks at the photo, as its release shows it to CLIP or as CLIP expects (%(default)s)",
    )
    parser.add_argument(
        "--text-threshold",
        type=finite_number,
        metavar="BETA",
        help="channels that have less to do with the words stay; "
        + ", ".join(f"{TEXT_THRESHOLDS[by]} with {by}" for by in ("styleclip", "deltaedit")),
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
        "with a face parser installed also foreground, or regions such as hair+hat; "
        "foreground:0.9 moves the threshold of the background (%(default)s)",
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
    flag(
        parser,
        "--save-parts",
        "also write OUT_aligned.png, OUT_mask.png and OUT_edited.png of each face: the crop before "
        "and after, and where the edit acts",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--grid",
        metavar="NAME=FROM:TO:COUNT",
        type=grid,
        help="write a labelled strip of the crop with several strengths; -e holds for all of them",
    )
    flag(kind, "--compare", "write the photo before and after, side by side")
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=BATCH,
        metavar="N",
        help="of a folder: photos in memory and faces in the networks at a time (%(default)s)",
    )
    add_batch_flags(parser)
    add_device(parser)
    add_backend(parser)


def add_edits(
    parser: argparse.ArgumentParser,
    several: str,
    metavar: str = "NAME=STRENGTH",
    read: Callable[[str], object] | None = None,
) -> None:
    """Add -e; `several` says what giving it more than once does."""
    parser.add_argument(
        "-e",
        "--edit",
        metavar=metavar,
        type=read or edit,
        action="append",
        default=[],
        help=f"a direction and how far to move along it; {several}",
    )


def add_face_options(parser: argparse.ArgumentParser) -> None:
    """Add --aligned and --face."""
    flag(
        parser,
        "--aligned",
        "search no face: the photo, or its middle square, is the crop",
    )
    parser.add_argument(
        "--face",
        metavar="largest|all|N",
        type=which_face,
        default="largest",
        help="which face of the photo; 1 is the largest (%(default)s)",
    )


def add_batch_flags(parser: argparse.ArgumentParser) -> None:
    """Add --recursive and --overwrite."""
    flag(parser, "--recursive", "of a folder: the photos in folders below it too")
    flag(parser, "--overwrite", "in a batch, do photos again whose output is there already")


def edit_photos(args: argparse.Namespace) -> int:
    """Run `sfe edit`: refuse what can be refused without torch, edit, write."""
    if any(path.suffix.lower() == SESSION_SUFFIX for path in args.photos):
        return edit_sessions(args)
    own = [(name, by) for face, name, by in args.edit if face is None]
    own_faces = _by_face(args)
    names = [name for _, name, _ in args.edit] + ([args.grid.name] if args.grid else [])
    words = [(f"{neutral} > {target}", strength) for neutral, target, strength in args.text]
    _check_edits(args)
    ends = args.grid.ends() if args.grid else []
    for name, strength in (*(edit[1:] for edit in args.edit), *words, *ends):
        check_sizes(name, [strength])
    ending = "_grid" if args.grid else "_compare" if args.compare else "_edited"
    plan = plan_jobs(
        args.photos,
        args.output,
        ending=ending,
        suffixes=SUFFIXES,
        with_inversions=True,
        recursive=args.recursive,
    )
    if args.method is None or args.model != DEFAULT_MODEL:  # a method may bring its own model
        check_directions(args.model, names)
    check_mask(args.mask)
    if args.text:
        check_text(args.model, args.text_by)
    plan = plan.read_ahead(
        aligned=args.aligned, all_faces=args.face != "largest" or bool(own_faces)
    )
    editor = open_editor(args)
    edits: dict[str | EditDirection, float] = dict(own)
    for neutral, target, strength in args.text:
        direction = editor.text_direction(
            target, neutral=neutral, beta=args.text_threshold, by=args.text_by
        )
        edits[direction] = strength
    for some in (edits, *own_faces.values(), *({name: by} for name, by in ends)):
        for sentence in editor.warnings(some):
            warn(sentence)
    others = [name for name in names if name not in edits]
    moved = [*editor.resolve(edits), *map(editor.direction, others)]
    settings = {
        "edits": {
            **{name if face is None else f"{face}:{name}": by for face, name, by in args.edit},
            **dict(words),
        },
        "directions": " ".join(direction.fingerprint for direction in moved),
        "grid": args.grid and vars(args.grid),
        "mask": file_word(args.mask),
        "blend": None if args.grid else args.blend or editor.model.config.blend,
        **common_settings(args, editor),
    }
    if args.text:
        settings["text_by"] = args.text_by
    left = plan.left(settings, overwrite=args.overwrite)
    if own_faces:
        return plan.report(_faces_edited(left, editor, edits, own_faces, args, settings), left)
    make = _strips if args.grid else _edited
    return plan.report(make(left, editor, edits, args, settings), left)


def _by_face(args: argparse.Namespace) -> OfFaces:
    """The edits that name a face."""
    own_faces: OfFaces = {}
    for face, name, by in args.edit:
        if face is not None:
            own_faces.setdefault(face, {})[name] = by
    if own_faces and args.grid:
        raise ConfigError("a strip shows one face: choose it with --face, not with FACE:NAME")
    return own_faces


def _check_edits(args: argparse.Namespace) -> None:
    edits = [(face, name) for face, name, _ in args.edit]
    edits += [(None, args.grid.name)] if args.grid else []
    prompts = [" > ".join(words) for *words, _ in args.text]
    if not edits and not prompts:
        raise ConfigError("nothing to edit: give -e NAME=STRENGTH; `sfe directions list` has names")
    twice = {name for face, name in edits if edits.count((face, name)) > 1}
    twice |= {words for words in prompts if prompts.count(words) > 1}
    if twice:
        raise ConfigError(f"{min(twice)} is given twice; one strength per direction")


def open_editor(args: argparse.Namespace) -> Editor:
    """Return the editor of `sfe edit` and `sfe invert`; this brings torch."""
    from stylefeatureeditor.editor import Editor

    with Progress("loading the model"):
        return Editor.from_pretrained(
            args.model,
            device=args.device,
            method=args.method,
            backend=args.backend,
            precision=args.precision,
        )


def common_settings(args: argparse.Namespace, editor: Editor) -> MadeWith:
    """Return what `sfe edit` and `sfe invert` both note of how an output was made."""
    return {
        "face": str(args.face),
        "aligned": args.aligned,
        "model": editor.method.fingerprint,
        "precision": args.precision,
    }


def _edited(
    jobs: list[Job], editor: Editor, edits: Edits, args: argparse.Namespace, settings: MadeWith
) -> Iterator[Outcome]:
    """Edit photos, --batch-size at a time, and write the output of each."""

    def read(job: Job) -> Path | Photo | Inversion | SfeError:
        try:
            return read_source(job.photo, editor, args, job.content)
        except SfeError as error:
            return error

    for first in range(0, len(jobs), args.batch_size):
        group = jobs[first : first + args.batch_size]
        notes = {job: note_of(settings, job.photo) for job in group}
        sources = {job: read(job) for job in group}
        outcomes: dict[Job, str | SfeError] = {
            job: source for job, source in sources.items() if isinstance(source, SfeError)
        }
        known = {job: s for job, s in sources.items() if not isinstance(s, SfeError)}
        readable = list(known)
        results = editor.edit_batch(
            list(known.values()),
            edits,
            batch_size=args.batch_size,
            mask=args.mask,
            blend=args.blend,
            face=args.face,
            aligned=args.aligned,
            on_error=lambda place, error: outcomes.update({readable[place]: error}),  # noqa: B023
        )
        for result in results:  # of the first photo that has neither failed nor been written
            job = next(job for job in readable if job not in outcomes)
            save = partial(
                _save,
                result=result,
                is_pair=args.compare,
                with_parts=args.save_parts,
                note=notes[job],
            )
            outcomes[job] = job.attempt(save)
        yield from ((job, outcomes[job]) for job in group)


def _faces_edited(
    jobs: list[Job],
    editor: Editor,
    edits: dict[str | EditDirection, float],
    own_faces: OfFaces,
    args: argparse.Namespace,
    settings: MadeWith,
) -> Iterator[Outcome]:
    """Edit photos face by face: `edits` those of --face, `own_faces` each its own."""
    from stylefeatureeditor.records import Photo

    whole = argparse.Namespace(**{**vars(args), "face": "all"})

    def make(job: Job) -> str:
        note = note_of(settings, job.photo)
        source = read_source(job.photo, editor, whole, job.content)
        if isinstance(source, (Path, Photo)):
            source = editor.invert(source, face="all", aligned=args.aligned)
        chosen = {"all": range(1, len(source) + 1), "largest": [1]}.get(args.face, [args.face])
        faces = {face: dict(edits) for face in chosen if edits}
        for face, own in own_faces.items():
            faces[face] = {**faces.get(face, {}), **own}
        masks = dict.fromkeys(faces, args.mask)
        result = editor.edit_faces(source, faces, masks=masks, blend=args.blend)
        return _save(
            job, result=result, is_pair=args.compare, with_parts=args.save_parts, note=note
        )

    return ((job, job.attempt(make)) for job in jobs)


def edit_sessions(args: argparse.Namespace) -> int:
    """Write the photos of saved sessions as the page left them."""
    from stylefeatureeditor.photo.session_file import load_session

    own = args.edit or args.text or args.grid or args.mask != "none" or args.face != "largest"
    other = (
        args.aligned
        or args.blend
        or not all(path.suffix.lower() == SESSION_SUFFIX for path in args.photos)
    )
    if own or other:
        raise ConfigError("a session brings its own edits: give session files alone, without -e")
    sessions = [(path, load_session(path)) for path in args.photos]
    edited = [
        (path, number, photo)
        for path, session in sessions
        for number, photo in enumerate(session.photos, start=1)
        if any(done.edits for done in photo.faces.values())
    ]
    if not edited:
        raise ConfigError("no photo of this session has an edit: there is nothing to do")
    photos, output = {}, args.output
    for path, number, photo in edited:
        stem = path.stem if len(edited) == 1 else f"{path.stem}_{number}_{Path(photo.name).stem}"
        folder = path.parent if output is None else Path(output)
        photos[Job(path, folder / f"{stem}_edited{SUFFIXES[0]}")] = photo
    if len(edited) > 1 and output is not None:
        check_folder(output, SUFFIXES)
    elif output is not None and not output.endswith("/") and not Path(output).is_dir():
        photos = {Job(edited[0][0], Path(output)): edited[0][2]}
    check_jobs(list(photos), SUFFIXES)
    models = {session.model for _, session in sessions}
    if args.model == DEFAULT_MODEL:
        if len(models) > 1 or not models <= local_models().keys():
            made_with = " and ".join(sorted(models))
            raise ConfigError(f"made with {made_with}: name the model to use with --model")
        args.model = models.pop()
    find_model(args.model)
    editor = open_editor(args)
    settings = {"session": True, "model": editor.method.fingerprint}

    def make(job: Job) -> str:
        result = editor.edit_saved(photos[job])
        note = note_of(settings, job.photo)
        return _save(
            job, result=result, is_pair=args.compare, with_parts=args.save_parts, note=note
        )

    plan = PhotoJobs(tuple(photos), len(photos) > 1)
    return plan.report(((job, job.attempt(make)) for job in photos), list(photos))


def _save(job: Job, *, result: EditResult, is_pair: bool, with_parts: bool, note: str) -> str:
    """Write the output of one photo and return its path."""
    from stylefeatureeditor.photo.image import save_picture

    if with_parts:
        for number, parts in enumerate(result.parts(), start=1):
            path = numbered(job.output, number)
            for name, picture in parts.items():
                save_picture(picture, path.with_name(f"{path.stem}_{name}.png"), note)
    if is_pair:
        return str(save_picture(result.comparison(), job.output, note))
    if result.blend == "none":
        return save_crops(result, job.output, note)
    return str(result.save(job.output, note=note))


def _strips(
    jobs: list[Job], editor: Editor, edits: Edits, args: argparse.Namespace, settings: MadeWith
) -> Iterator[Outcome]:
    """Write the strip of each photo: its crop, and what the strengths of --grid make of it."""
    from stylefeatureeditor.directions.strip import strip_of
    from stylefeatureeditor.photo.image import save_picture
    from stylefeatureeditor.records import Photo

    def make(job: Job) -> str:
        note = note_of(settings, job.photo)
        source = read_source(job.photo, editor, args, job.content)
        if isinstance(source, (Path, Photo)):
            source = editor.invert(source, face=args.face, aligned=args.aligned)
        name, strengths = args.grid.name, args.grid.strengths()
        strip = strip_of(editor, source, name, strengths, edits=edits, mask=args.mask)
        return str(save_picture(strip, job.output, note))

    return ((job, job.attempt(make)) for job in jobs)


def read_source(
    path: Path, editor: Editor, args: argparse.Namespace, content: Photo | None = None
) -> Path | Photo | Inversion:
    """Return a photo, its path, or the inversion that a file holds, on the editor's device.

    Raises:
        WeightsError: the inversion file is damaged.
        ShapeError: it was made by another model.
        FaceError: it does not hold the face that --face numbers.
    """
    suffix = path.suffix.lower()
    if suffix in CODE_SUFFIXES:
        known = editor.from_codes(path)
        return known if args.face == "all" else _row(known, path, args.face)
    if suffix != INVERSION_SUFFIX:
        return content or path
    from stylefeatureeditor.weights.inversion_file import load_inversion

    inversion = load_inversion(path).map(lambda tensor: tensor.to(editor.method.device))
    editor.method.take(inversion)
    if isinstance(args.face, str):
        return inversion  # with all the faces it was made of
    return _row(inversion, path, args.face)


def _row(inversion: Inversion, path: Path, face: str | int) -> Inversion:
    number = 1 if isinstance(face, str) else face
    if not 1 <= number <= len(inversion):
        raise FaceError(f"{path} holds {len(inversion)} of a photo's faces, not face {number}")
    return inversion[number - 1]


def save_crops(result: EditResult, path: Path, note: str) -> str:
    """Write the crop of each face, that of `path` last, when all others are there; return `path`.

    Args:
        result: of B faces.
        path: of face 1; the others lie beside it.
        note: kept in each file.
    """
    from stylefeatureeditor.photo.image import save_picture

    for number, crop in reversed(list(enumerate(result.crops, start=1))):
        written = save_picture(crop, numbered(path, number), note)
    return str(written)
