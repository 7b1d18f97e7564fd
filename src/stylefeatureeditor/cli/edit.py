"""`sfe edit`: photos in, the same photos with their faces edited out."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.cli.batch import (
    CODE_SUFFIXES,
    INVERSION_SUFFIX,
    Job,
    MadeWith,
    Maker,
    Outcome,
    expanded,
    note_of,
    numbered,
    plan_jobs,
)
from stylefeatureeditor.cli.cluster import add_ray, check_ray, run_on_ray
from stylefeatureeditor.cli.options import (
    NAMED,
    Args,
    Commands,
    add_command,
    add_common,
    chosen_face,
    finite,
    finite_number,
    flag,
    positive,
    reader,
)
from stylefeatureeditor.cli.output import Progress, warn
from stylefeatureeditor.cli.refusals import check_edits, check_mask, check_model, check_text
from stylefeatureeditor.editing.direction_names import TEXT_THRESHOLDS, check_sizes
from stylefeatureeditor.errors import ConfigError, FaceError, SfeError
from stylefeatureeditor.files import file_word
from stylefeatureeditor.photo import SESSION_SUFFIX, SUFFIXES
from stylefeatureeditor.records import FaceBox
from stylefeatureeditor.weights.local_models import find_model, local_models
from stylefeatureeditor.weights.sources import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.editor import Editor, Edits
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.photo.result import EditResult
    from stylefeatureeditor.records import Photo

    Strengths = dict[str | EditDirection, float]

MAX_GRID = 25
NEUTRAL = "a face"


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


def _grid(name: str, low: str, high: str, count: str) -> Grid:
    made = Grid(name.strip(), finite(low), finite(high), int(finite(count)))
    if not (made.low < made.high and made.count == finite(count) and 2 <= made.count <= MAX_GRID):
        raise ValueError
    return made


def _prompts(words: str, number: str) -> tuple[str, str, float]:
    neutral, _, target = words.rpartition(">")
    if not target.strip():
        raise ValueError
    return neutral.strip() or NEUTRAL, target.strip(), finite(number)


face_edit = reader(
    "NAME=STRENGTH as in smile=2, or FACE:NAME=STRENGTH as in 2:smile=2",
    r"(?:0*([1-9]\d*):)?" + NAMED + "([^=]*)",
    lambda face, name, by: (face and int(face), name.strip(), finite(by)),
)
text_edit = reader("WORDS=STRENGTH as in 'a smiling face=5'", NAMED + "([^=]*)", _prompts)
grid = reader(
    f"NAME=FROM:TO:COUNT as in smile=-2:2:5, with 2 to {MAX_GRID} strengths",
    NAMED + "([^=:]*):([^=:]*):([^=:]*)",
    _grid,
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
        "(.pt, .npy, .npz); with --ray also a manifest",
    )
    add_common(
        parser,
        "--edit",
        metavar="[FACE:]NAME=STRENGTH",
        type=face_edit,
        help="a direction and how far to move along it; may be given several times; 2:smile=2 is "
        "of the second largest face alone",
    )
    parser.add_argument(
        "--edits",
        metavar="FILE",
        type=Path,
        help="looks, a table of directions and strengths each (TOML, YAML or JSON), as "
        "[older] with age = 2 below it; each photo is written once for each, to OUT/LOOK/",
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
    add_common(
        parser,
        "--output",
        help="a file for one photo, replaced if it is there; a folder for several; "
        "PHOTO_edited.png if left out",
    )
    add_common(parser, "--model", "--method", "--aligned", "--face", "--face-box")
    add_common(
        parser,
        "--mask",
        help="where the edit may act: the face, a picture (white = may change), or everywhere; "
        "with a face parser installed also foreground, or regions such as hair+hat; "
        "foreground:0.9 moves the threshold of the background (%(default)s)",
    )
    blend = parser.add_mutually_exclusive_group()
    blend.add_argument(
        "--blend",
        choices=("feather", "residual", "poisson", "none"),
        help="how the crop returns: in place of the photo's, as a difference, in place with its "
        "colour fitted at the border, or not at all; "
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
    parser.add_argument(
        "--tile",
        type=positive,
        metavar="PIXELS",
        help="side of a picture of --grid; the crop's, at most 512, if left out",
    )
    flag(kind, "--compare", "write the photo before and after, side by side")
    add_common(
        parser,
        "--batch-size",
        help="of a folder: photos in memory and faces in the networks at a time (%(default)s)",
    )
    add_common(parser, "--recursive", "--overwrite", "--device", "--backend", "--precision")
    add_ray(parser)


def edit_photos(args: Args) -> int:
    """Run `sfe edit`: refuse what can be refused without torch, edit, write."""
    args.photos, args.face = expanded(args.photos), chosen_face(args)
    check_ray(args)
    if args.tile and not args.grid:
        raise ConfigError("--tile goes with --grid")
    if any(path.suffix.lower() == SESSION_SUFFIX for path in args.photos):
        return edit_sessions(args)
    if args.edits:
        return edit_looks(args)
    ends = _ends(args)
    _check(args, ends)
    plan = partial(
        plan_jobs,
        args.photos,
        args.output,
        ending="_grid" if args.grid else "_compare" if args.compare else "_edited",
        suffixes=SUFFIXES,
        with_inversions=True,
        recursive=args.recursive,
    )
    jobs = None if args.ray else plan()
    check_model(args, [name for _, name, _ in args.edit] + [name for name, _ in ends[:1]])
    check_mask(args.mask)
    if args.text:
        check_text(args.model, args.text_by)
    if jobs is None:
        return run_on_ray(args, plan, open_edits)
    several = args.face != "largest" or any(face for face, *_ in args.edit)
    jobs = jobs.read_ahead(aligned=args.aligned, all_faces=several)
    return jobs.run(open_edits(args), overwrite=args.overwrite)


def _ends(args: Args) -> list[tuple[Any, float]]:
    return [(args.grid.name, end) for end in (args.grid.low, args.grid.high)] if args.grid else []


def open_edits(args: Args) -> Maker:
    """Open the model of `sfe edit` and return what edits with it."""
    by_face: dict[int | None, Strengths] = {None: {}}  # None: of the faces that --face chooses
    for face, name, by in args.edit:
        by_face.setdefault(face, {})[name] = by
    ends = _ends(args)
    names = [name for _, name, _ in args.edit] + [name for name, _ in ends[:1]]
    editor = open_editor(args)
    edits = by_face.pop(None)
    for neutral, target, by in args.text:
        direction = editor.text_direction(
            target, neutral=neutral, beta=args.text_threshold, by=args.text_by
        )
        edits[direction] = by
    warn_of_ranges(editor, edits, *by_face.values(), *({name: by} for name, by in ends))
    others = [name for name in names if name not in edits]
    moved = [*editor.resolve(edits), *map(editor.direction, others)]
    settings = {
        "edits": {
            **{name if face is None else f"{face}:{name}": by for face, name, by in args.edit},
            **{f"{neutral} > {target}": by for neutral, target, by in args.text},
        },
        "directions": " ".join(direction.fingerprint for direction in moved),
        "grid": args.grid and vars(args.grid),
        **({"tile": args.tile} if args.tile else {}),
        **({"compare": True} if args.compare else {}),
        "mask": file_word(args.mask),
        "blend": None if args.grid else args.blend or editor.model.config.blend,
        **common_settings(args, editor),
    }
    if args.text:
        settings["text_by"] = args.text_by

    def strip(job: Job) -> str:
        """Write the crop, and what the strengths of --grid make of it."""
        from stylefeatureeditor.directions.strip import strip_of
        from stylefeatureeditor.photo.image import save_picture

        note = note_of(settings, job.photo)
        source = inverted(job.photo, editor, args, content=job.content)
        name, strengths = args.grid.name, args.grid.strengths()
        picture = strip_of(
            editor, source, name, strengths, edits=edits, mask=args.mask, side=args.tile
        )
        return str(save_picture(picture, job.output, note))

    def faces(job: Job) -> str:
        """Edit face by face: some have edits of their own."""
        note = note_of(settings, job.photo)
        source = inverted(job.photo, editor, args, face="all", content=job.content)
        chosen = {"all": range(1, len(source) + 1), "largest": [1]}.get(args.face, [args.face])
        each = {face: edits for face in chosen if edits}
        each |= {face: {**each.get(face, {}), **own} for face, own in by_face.items() if face}
        masks = dict.fromkeys(each, args.mask)
        return _save(
            job, editor.edit_faces(source, each, masks=masks, blend=args.blend), args, note
        )

    if args.grid or by_face:
        each = strip if args.grid else faces
        return Maker(settings, lambda jobs: ((job, job.attempt(each)) for job in jobs))
    return Maker(settings, lambda jobs: _edited(jobs, editor, edits, args, settings))


def _check(args: Args, ends: list[tuple[str, float]]) -> None:
    """Refuse edits that are none, twice there, or too large."""
    if args.face_box and any(face is not None for face, *_ in args.edit):
        raise ConfigError("a box shows one face: leave the number of FACE:NAME out")
    if args.grid and any(face is not None for face, *_ in args.edit):
        raise ConfigError("a strip shows one face: choose it with --face, not with FACE:NAME")
    given = [(face, name, [by]) for face, name, by in args.edit]
    given += [(None, args.grid.name, [by for _, by in ends])] if ends else []
    given += [(0, f"{neutral} > {target}", [by]) for neutral, target, by in args.text]
    check_edits(given, "one strength per direction")


def warn_of_ranges(editor: Editor, *edits: Mapping[str | EditDirection, float]) -> None:
    """Tell of each strength that is outside its direction's useful range, once."""
    for sentence in dict.fromkeys(said for some in edits for said in editor.warnings(some)):
        warn(sentence)


def open_editor(args: Args) -> Editor:
    """Return the editor that the common options mean; this brings torch."""
    from stylefeatureeditor.editor import Editor

    with Progress("loading the model"):
        return Editor.from_pretrained(
            args.model,
            device=args.device,
            method=args.method,
            backend=args.backend,
            precision=args.precision,
        )


def common_settings(args: Args, editor: Editor) -> MadeWith:
    """Return what `sfe edit` and `sfe invert` both note of how an output was made."""
    return {
        "face": str(args.face),
        "aligned": args.aligned,
        "model": editor.method.fingerprint,
        "precision": args.precision,
    }


def _edited(
    jobs: list[Job], editor: Editor, edits: Edits, args: Args, settings: MadeWith
) -> Iterator[Outcome]:
    """Edit photos, --batch-size at a time, and write the output of each."""

    def read(job: Job) -> Path | Photo | Inversion | SfeError:
        try:
            return read_source(job.photo, editor, args.face, job.content)
        except SfeError as error:
            return error

    for first in range(0, len(jobs), args.batch_size):
        group = jobs[first : first + args.batch_size]
        notes = {job: note_of(settings, job.photo) for job in group}
        found = {job: read(job) for job in group}
        outcomes: dict[Job, str | SfeError] = {
            job: source for job, source in found.items() if isinstance(source, SfeError)
        }
        sources = {job: s for job, s in found.items() if not isinstance(s, SfeError)}
        readable = list(sources)
        results = editor.edit_batch(
            list(sources.values()),
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
            outcomes[job] = job.attempt(lambda job: _save(job, result, args, notes[job]))  # noqa: B023
        yield from ((job, outcomes[job]) for job in group)


def read_looks(path: Path) -> dict[str, Strengths]:
    """Return the edits of each look of a file.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
        DependencyError: it is YAML, and pyyaml is not installed.
    """
    from stylefeatureeditor.weights.configs import read_mapping

    looks: dict[str, Strengths] = {}
    for name, edits in read_mapping(path).items():
        if not re.fullmatch(r"\w[\w .+-]*", str(name)):
            raise ConfigError(f"{path}: a look names a folder, and {name!r} can be none")
        values = edits.values() if isinstance(edits, dict) else ()
        if not values or not all(isinstance(by, (int, float)) for by in values):
            raise ConfigError(f"{path}: the look {name} should be a table such as smile = 2")
        check_sizes(name, values)
        looks[str(name)] = {str(direction): float(by) for direction, by in edits.items()}
    if not looks:
        raise ConfigError(f"{path} holds no look: write [older], and age = 2 below it")
    return looks


def edit_looks(args: Args) -> int:
    """Write each photo once for each look of --edits; it is inverted once."""
    if args.edit or args.text or args.grid or args.ray:
        raise ConfigError("--edits says all that is edited: leave -e, --text, --grid and --ray out")
    if args.output is None or Path(args.output).suffix.lower() in SUFFIXES:
        raise ConfigError("--edits makes a folder for each look: name the folder of all with -o")
    looks = read_looks(args.edits)
    plans = {
        look: plan_jobs(
            args.photos,
            f"{args.output}/{look}/",
            ending="",
            suffixes=SUFFIXES,
            with_inversions=True,
            recursive=args.recursive,
        )
        for look in looks
    }
    check_model(args, [str(name) for edits in looks.values() for name in edits])
    check_mask(args.mask)
    editor = open_editor(args)
    warn_of_ranges(editor, *looks.values())
    todo: dict[Job, tuple[Strengths, str]] = {}
    for look, edits in looks.items():
        settings = {
            "edits": edits,
            "directions": " ".join(each.fingerprint for each in editor.resolve(edits)),
            "mask": file_word(args.mask),
            "blend": args.blend or editor.model.config.blend,
            **({"compare": True} if args.compare else {}),
            **common_settings(args, editor),
        }
        left = plans[look].left(settings, overwrite=args.overwrite)
        todo |= {job: (edits, note_of(settings, job.photo)) for job in left}
    every = [
        job for same in zip(*(plan.jobs for plan in plans.values()), strict=True) for job in same
    ]
    plan = replace(plans[next(iter(looks))], jobs=tuple(every), several=True, what="pictures")

    def outcomes() -> Iterator[Outcome]:
        for photo, jobs in groupby((job for job in every if job in todo), lambda job: job.photo):
            try:
                source = inverted(photo, editor, args)
            except SfeError as error:
                yield from ((job, error) for job in jobs)
                continue

            def make(job: Job, source: Inversion = source) -> str:
                edits, note = todo[job]
                result = editor.edit(source, edits, mask=args.mask, blend=args.blend)
                return _save(job, result, args, note)

            yield from ((job, job.attempt(make)) for job in jobs)

    return plan.report(outcomes(), list(todo))


def edit_sessions(args: Args) -> int:
    """Write the photos of saved sessions as the page left them."""
    from stylefeatureeditor.photo.session_file import load_session

    own = args.edit or args.text or args.grid or args.mask != "none" or args.face != "largest"
    own = own or args.aligned or args.blend or args.edits or args.ray
    if own or not all(path.suffix.lower() == SESSION_SUFFIX for path in args.photos):
        raise ConfigError("a session brings its own edits: give session files alone, without -e")
    sessions = [(path, load_session(path)) for path in dict.fromkeys(args.photos)]
    edited = [
        (path, number, photo)
        for path, session in sessions
        for number, photo in enumerate(session.photos, start=1)
        if any(done.edits for done in photo.faces.values())
    ]
    if not edited:
        raise ConfigError("no photo of this session has an edit: there is nothing to do")
    named = {}  # a job is called after its session, in which several photos are counted
    for path, number, photo in edited:
        name = f"{path.stem}_{number}_{Path(photo.name).stem}{path.suffix}"
        named[path if len(edited) == 1 else path.with_name(name)] = path, photo
    plan = plan_jobs(list(named), args.output, ending="_edited", suffixes=SUFFIXES)
    models = {session.model for _, session in sessions}
    if args.model == DEFAULT_MODEL:
        if len(models) > 1 or not models <= local_models().keys():
            made_with = " and ".join(sorted(models))
            raise ConfigError(f"made with {made_with}: name the model to use with --model")
        args.model = models.pop()
    find_model(args.model)
    editor = open_editor(args)
    settings = {"session": True, "model": editor.method.fingerprint}

    jobs = {replace(job, photo=named[job.photo][0]): named[job.photo][1] for job in plan.jobs}

    def make(job: Job) -> str:
        return _save(job, editor.edit_saved(jobs[job]), args, note_of(settings, job.photo))

    return plan.report(((job, job.attempt(make)) for job in jobs), list(jobs))


def _save(job: Job, result: EditResult, args: Args, note: str) -> str:
    """Write the output of one photo and return its path."""
    from stylefeatureeditor.photo.image import save_picture

    if args.save_parts:
        for number, parts in enumerate(result.parts(), start=1):
            path = numbered(job.output, number)
            for name, picture in parts.items():
                save_picture(picture, path.with_name(f"{path.stem}_{name}.png"), note)
    if args.compare:
        return str(save_picture(result.comparison(), job.output, note))
    if result.blend == "none":
        return save_crops(result, job.output, note)
    return str(result.save(job.output, note=note))


def read_source(
    path: Path, editor: Editor, face: str | int | FaceBox, content: Photo | None = None
) -> Path | Photo | Inversion:
    """Return a photo, its path, or the inversion that a file holds, on the editor's device."""
    suffix = path.suffix.lower()
    if isinstance(face, FaceBox) and suffix in (*CODE_SUFFIXES, INVERSION_SUFFIX):
        raise FaceError(f"{path} has its face already: a box is for photos")
    if suffix in CODE_SUFFIXES:
        known = editor.from_codes(path)
        return known if face == "all" else _row(known, path, face)
    if suffix != INVERSION_SUFFIX:
        return content or path
    from stylefeatureeditor.weights.inversion_file import load_inversion

    inversion = load_inversion(path).map(lambda tensor: tensor.to(editor.method.device))
    editor.method.take(inversion)
    # without a number it keeps all the faces it was made of
    return _row(inversion, path, face) if isinstance(face, int) else inversion


def inverted(
    path: Path,
    editor: Editor,
    args: Args,
    *,
    face: str | int | None = None,
    content: Photo | None = None,
) -> Inversion:
    """Return the inversion of what `read_source` finds; `face` stands in for --face."""
    from stylefeatureeditor.records import Photo

    which: Any = args.face if face is None else face
    source = read_source(path, editor, which, content)
    if isinstance(source, (Path, Photo)):
        return editor.invert(source, face=which, aligned=args.aligned)
    return source


def _row(inversion: Inversion, path: Path, face: str | int | FaceBox) -> Inversion:
    number = face if isinstance(face, int) else 1
    if not 1 <= number <= len(inversion):
        raise FaceError(f"{path} holds {len(inversion)} of a photo's faces, not face {number}")
    return inversion[number - 1]


def save_crops(result: EditResult, path: Path, note: str) -> str:
    """Write the crops, that of face 1 to `path` and last, the others beside it; return `path`."""
    from stylefeatureeditor.photo.image import save_picture

    for number, crop in reversed(list(enumerate(result.crops, start=1))):
        written = save_picture(crop, numbered(path, number), note)
    return str(written)
