"""`sfe evaluate video`: how steady edits of a video are."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.options import Args, Commands, add_command, add_common
from stylefeatureeditor.cli.output import Progress, print_json, print_table, warn
from stylefeatureeditor.cli.refusals import check_directions
from stylefeatureeditor.cli.video import check_video
from stylefeatureeditor.editing.direction_names import check_sizes
from stylefeatureeditor.errors import FaceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor

    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.video.measures import Steadiness
    from stylefeatureeditor.video.reading import Frame

HEADS = ("", "frames", "TL-ID", "TG-ID", "warp x 1000", "flicker")


def add_to(commands: Commands) -> None:
    """Add `sfe evaluate video`."""
    parser = add_command(
        commands,
        "video",
        measure_videos,
        text="how steady edits of a video are\n"
        "TL-ID and TG-ID: likeness of neighbouring frames and of all, over the source's (1 is as\n"
        "steady); warp: what moves against the source's optical flow; flicker: second difference\n"
        "of the edit over time, in levels. Encoding flickers too: the source, encoded once more,\n"
        "is the floor. With -e, every frame edited by itself stands beside them, encoded too.",
        example="sfe evaluate video in.mp4 out.mp4\nsfe evaluate video in.mp4 out.mp4 -e smile=2",
    )
    parser.add_argument("source", metavar="SOURCE", type=Path, help="the video before the edit")
    parser.add_argument("edited", metavar="EDITED", type=Path, nargs="+", help="edits of it")
    add_common(
        parser,
        "--edit",
        help="a direction and how far to move along it; edits every frame by itself, "
        "for comparison",
    )
    add_common(parser, "--face", metavar="largest|N", help="which face of each shot (%(default)s)")
    add_common(parser, "--model", "--device", "--json")


def measure_videos(args: Args) -> int:
    """Run `sfe evaluate video`."""
    _check(args)
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.model import Framing
    from stylefeatureeditor.video.measures import measure
    from stylefeatureeditor.video.reading import open_clip
    from stylefeatureeditor.video.tracks import scan, smooth
    from stylefeatureeditor.video.writing import encoded_again

    clip = open_clip(args.source)
    with Progress("finding faces", clip.expected) as bar:
        found = scan(clip.frames(), float(clip.rate), progress=bar.update)
    tracks = smooth(found, float(clip.rate), Framing()).of(args.face)
    identity = _identity(args.device)

    def measured(name: str, frames: Iterable[Frame]) -> None:
        with Progress(name):
            results[name] = measure(clip.frames(), frames, tracks, identity)

    results: dict[str, Steadiness] = {}
    measured("source, encoded again", encoded_again(clip.frames(), clip))
    for path in args.edited:
        measured(str(path), open_clip(path).frames())
    if args.edit:
        editor = Editor.from_pretrained(args.model, device=args.device)
        alone = _one_by_one(editor, clip.frames(), dict(args.edit), args.face)
        measured("frame by frame", encoded_again(alone, clip))
    if args.json:
        print_json({name: asdict(result) for name, result in results.items()})
        return 0
    table: list[tuple[str, ...]] = [HEADS]
    for name, result in results.items():
        first, *numbers = asdict(result).values()
        words = ["-" if number is None else f"{number:.4f}" for number in numbers]
        table.append((name, str(first), *words))
    print_table(table)
    if any(result.warp is None for result in results.values()):
        warn('warp needs OpenCV, run `pip install "stylefeatureeditor[flow]"`')
    return 0


def _check(args: Args) -> None:
    for path in (args.source, *args.edited):
        check_video(path)
    for name, strength in args.edit:
        check_sizes(name, [strength])
    if args.face == "all":
        raise FaceError("one face is measured: choose it with --face 1, 2 and so on")
    if args.edit:
        check_directions(args.model, [name for name, _ in args.edit])


def _identity(device: str) -> Callable[[Tensor], Tensor]:
    """CurricularFace or ArcFace if one is on this machine, else dlib's."""
    from stylefeatureeditor.device import find_device
    from stylefeatureeditor.evaluation.measures import find_networks
    from stylefeatureeditor.metrics.dlib_identity import load_dlib_identity
    from stylefeatureeditor.weights.local_models import files_folder

    place = find_device(device)
    networks = find_networks(files_folder(), place)
    network = networks.identity or networks.arcface or load_dlib_identity().to(place)
    return lambda pixels: network.features(pixels.to(place)).cpu()


def _one_by_one(
    editor: Editor, frames: Iterable[Frame], edits: Mapping[str, float], face: str | int
) -> Iterator[Frame]:
    """Frames as `sfe edit` edits them; one whose face it does not find stays as it is."""
    import numpy as np

    for frame in frames:
        pixels = frame.pixels
        for result in editor.edit_batch(
            [frame.pixels],
            edits,
            face=face,  # type: ignore[arg-type]  # "largest" or a number
            on_error=lambda *_: None,
        ):
            pixels = np.asarray(result.photo)
        yield replace(frame, pixels=pixels)
