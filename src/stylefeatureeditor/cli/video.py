"""`sfe video`: a video in, the same video with its faces edited out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from stylefeatureeditor.cli.edit import open_editor, warn_of_ranges
from stylefeatureeditor.cli.options import (
    NAMED,
    Args,
    Commands,
    add_command,
    add_common,
    finite,
    positive,
    reader,
)
from stylefeatureeditor.cli.output import Progress
from stylefeatureeditor.cli.refusals import check_edits, check_mask, check_model
from stylefeatureeditor.errors import DependencyError, VideoError

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
    add_common(
        parser,
        "--edit",
        metavar="NAME=STRENGTH[@SECOND,...]",
        type=course,
        help="a direction and how far to move along it; with times, straight lines between them; "
        "may be given several times",
    )
    add_common(
        parser,
        "--output",
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
    add_common(parser, "--model", "--method")
    add_common(parser, "--face", help="which face of each shot; 1 is the largest (%(default)s)")
    add_common(parser, "--mask", help="as for `sfe edit`, smoothed over time (%(default)s)")
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
    add_common(parser, "--batch-size", help="frames in the networks at a time (%(default)s)")
    add_common(parser, "--device", "--backend", "--precision")


def edit_a_video(args: Args) -> int:
    """Run `sfe video`: refuse what can be refused without torch, edit, write."""
    output = _check(args)
    editor = open_editor(args)
    warn_of_ranges(editor, *({name: by} for name, points in args.edit for _, by in points))
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


def _check(args: Args) -> Path:
    """Refuse what can be refused without torch; return what is written."""
    edits = [(None, name, [by for _, by in points]) for name, points in args.edit]
    check_edits(edits, "one course of strengths per direction")
    is_film = not args.video.is_dir() and args.video.suffix.lower() not in (".gif", ".webp")
    check_video(args.video, needs_pyav=is_film or not args.preview)
    check_model(args, [name for name, _ in args.edit])
    check_mask(args.mask)
    ending = "_preview.png" if args.preview else "_edited.mp4"
    output = args.output or args.video.with_name(args.video.stem + ending)
    if args.preview and output.suffix.lower() != ".png":
        raise VideoError(f"a preview is a picture: {output} must end in .png")
    return output
