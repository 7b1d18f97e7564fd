"""`sfe video`: a video in, the same video with its faces edited out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.edit import NAMED, open_editor, which_face
from stylefeatureeditor.cli.options import (
    add_backend,
    add_command,
    add_device,
    add_method,
    add_model,
    finite,
    positive,
    reader,
)
from stylefeatureeditor.cli.output import Progress, warn
from stylefeatureeditor.cli.refusals import check_directions, check_mask
from stylefeatureeditor.editing.direction_names import check_sizes
from stylefeatureeditor.errors import ConfigError, DependencyError, VideoError
from stylefeatureeditor.weights.sources import DEFAULT_MODEL

if TYPE_CHECKING:
    import argparse

    from stylefeatureeditor.cli.options import Commands

    Course = tuple[tuple[float, float], ...]  # (second, strength)


def _course(name: str, text: str) -> tuple[str, Course]:
    if "@" not in text:
        return name.strip(), ((0.0, finite(text)),)
    points = []
    for word in text.split(","):
        strength, _, second = word.strip().partition("@")
        points.append((finite(second.removesuffix("s")), finite(strength)))
    times = [second for second, _ in points]
    if times != sorted(set(times)) or times[0] < 0:
        raise ValueError
    return name.strip(), tuple(points)


course = reader(
    "NAME=STRENGTH as in smile=2, or strengths at rising times as in smile=0@0s,2@1s",
    NAMED + "([^=]*)",
    _course,
)
rate = reader("frames a second as in 25 or 30000/1001", r"(0*[1-9]\d*(?:/0*[1-9]\d*)?)", Fraction)


def _amount(text: str) -> float:
    number = finite(text)
    if not 0 <= number <= 100:
        raise ValueError
    return number


amount = reader("a number from 0 to 100", r"(.*)", _amount)


def add_to(commands: Commands) -> None:
    """Add `sfe video`."""
    parser = add_command(
        commands,
        "video",
        edit_a_video,
        text="edit the faces of a video\n"
        "Sound, subtitles, chapters and times stay; outside the edited region the picture stays\n"
        "too, but is encoded once more. The same command goes on where an interrupted one stopped.",
        example="sfe video in.mp4 -e smile=2 -o out.mp4\n"
        'sfe video in.mp4 -e "smile=0@0s,2@1s" --preview 8 -o strip.png\n'
        "sfe video frames/ --rate 25 -e age=-2 -o out.gif",
    )
    parser.add_argument(
        "video", metavar="VIDEO", type=Path, help="a film, a GIF or WebP, or a folder of frames"
    )
    parser.add_argument(
        "-e",
        "--edit",
        metavar="NAME=STRENGTH[@SECOND,...]",
        type=course,
        action="append",
        default=[],
        help="a direction and how far to move along it; with times, straight lines between them; "
        "may be given several times",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        help=".mp4, .mov, .mkv, .webm, .gif, .webp, or a folder for PNG frames; "
        "VIDEO_edited.mp4 if left out",
    )
    parser.add_argument(
        "--preview",
        type=positive,
        metavar="N",
        help="edit N frames only, into one picture, OUT.png: the crops before and after",
    )
    add_model(parser)
    add_method(parser)
    parser.add_argument(
        "--face",
        metavar="largest|all|N",
        type=which_face,
        default="largest",
        help="which face of each shot; 1 is the largest (%(default)s)",
    )
    parser.add_argument(
        "--mask",
        metavar="face|FILE|none",
        default="none",
        help="as for `sfe edit`, smoothed over time (%(default)s)",
    )
    parser.add_argument(
        "--blend",
        choices=("feather", "residual"),
        help="as for `sfe edit`; the model's preference if left out",
    )
    parser.add_argument(
        "--steady",
        type=amount,
        default=1.0,
        metavar="FRAMES",
        help="smooth the edit over so many frames of 1/25 s, against flicker; 0 lets each frame "
        "have its own (%(default)s)",
    )
    parser.add_argument(
        "--every",
        type=positive,
        default=5,
        metavar="N",
        help="look for faces in every N-th frame, and follow them in between (%(default)s)",
    )
    parser.add_argument("--codec", choices=("h264", "hevc", "vp9"), help="h264; vp9 in a .webm")
    parser.add_argument(
        "--quality",
        type=int,
        metavar="CRF",
        help="of the codec: smaller is better, and larger files; 17 for h264",
    )
    parser.add_argument("--rate", type=rate, metavar="FPS", help="frames a second of a folder (25)")
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=4,
        metavar="N",
        help="frames in the networks at a time (%(default)s)",
    )
    add_device(parser)
    add_backend(parser)


def edit_a_video(args: argparse.Namespace) -> int:
    """Run `sfe video`: refuse what can be refused without torch, edit, write."""
    output = _check(args)
    args.aligned = False
    editor = open_editor(args)
    for name, points in args.edit:
        said = [s for _, strength in points for s in editor.warnings({name: strength})]
        for sentence in dict.fromkeys(said):
            warn(sentence)
    from stylefeatureeditor.video.editing import edit_video

    with Progress(args.video.name, pace="frames") as bar:

        def tell(stage: str, done: int, total: int | None) -> None:
            if stage != bar.label:
                bar.begin(stage, done)
            bar.update(done, total or 0)

        written = edit_video(
            editor,
            args.video,
            dict(args.edit),
            output,
            face=args.face,
            mask=args.mask,
            blend=args.blend,
            steady=args.steady,
            codec=args.codec,
            quality=args.quality,
            rate=args.rate,
            every=args.every,
            batch_size=args.batch_size,
            preview=args.preview,
            progress=tell,
        )
        bar.say(str(written))
    return 0


def check_video(path: Path, *, needs_pyav: bool = True) -> None:
    """Raise VideoError if a video is not there, DependencyError if PyAV is needed and is not."""
    from importlib.util import find_spec

    if not path.exists():
        raise VideoError(f"there is no file {path}")
    if needs_pyav and find_spec("av") is None:
        raise DependencyError('video needs PyAV, run `pip install "stylefeatureeditor[video]"`')


def _check(args: argparse.Namespace) -> Path:
    """Refuse what can be refused without torch; return what is written."""
    names = [name for name, _ in args.edit]
    if not names:
        raise ConfigError("nothing to edit: give -e NAME=STRENGTH; `sfe directions list` has names")
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{name} is given twice; one course of strengths per direction")
    for name, points in args.edit:
        check_sizes(name, [strength for _, strength in points])
    is_film = not args.video.is_dir() and args.video.suffix.lower() not in (".gif", ".webp")
    check_video(args.video, needs_pyav=is_film or not args.preview)
    if args.method is None or args.model != DEFAULT_MODEL:
        check_directions(args.model, names)
    check_mask(args.mask)
    ending = "_preview.png" if args.preview else "_edited.mp4"
    output = args.output or args.video.with_name(args.video.stem + ending)
    if args.preview and output.suffix.lower() != ".png":
        raise VideoError(f"a preview is a picture: {output} must end in .png")
    return output
