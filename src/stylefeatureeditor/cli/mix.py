"""`sfe mix`: two photos, what lies between them, and what one takes from the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.edit import add_face_options, open_editor, read_source
from stylefeatureeditor.cli.options import (
    add_backend,
    add_command,
    add_device,
    add_layers,
    add_method,
    add_model,
    positive,
)
from stylefeatureeditor.cli.refusals import check_directions
from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.weights.local_models import find_model
from stylefeatureeditor.weights.sources import DEFAULT_MODEL

if TYPE_CHECKING:
    import argparse

    from PIL import Image
    from torch import Tensor

    from stylefeatureeditor.cli.options import Commands
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.inversion.record import Inversion

STILLS, FRAMES = 5, 25


def add_to(commands: Commands) -> None:
    """Add `sfe mix`."""
    parser = add_command(
        commands,
        "mix",
        mix,
        text="go from one photo to another, or give one what the other has\n"
        "Without --layers and --like: the way from A to B, as a strip, or as an animation if OUT\n"
        "ends in .gif, .webp or .mp4. With them: photo A, edited.",
        example="sfe mix anna.jpg ben.jpg -o way.png\n"
        "sfe mix anna.jpg ben.jpg -o way.gif\n"
        "sfe mix anna.jpg ben.jpg --layers 0:3 -o turned_as_ben.png\n"
        "sfe mix anna.jpg ben.jpg --like smile -o smiling_as_ben.png",
    )
    for letter, text in (("A", "a photo or an inversion file"), ("B", "another")):
        parser.add_argument(f"photo_{letter.lower()}", metavar=letter, type=Path, help=text)
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, required=True, help="the picture to write"
    )
    what = parser.add_mutually_exclusive_group()
    add_layers(what)
    what.add_argument(
        "--like",
        metavar="NAME",
        help="a direction: A gets as much of it as B has, and keeps the rest",
    )
    parser.add_argument(
        "--steps",
        metavar="N",
        type=positive,
        help=f"pictures on the way, both ends included ({STILLS}; {FRAMES} of an animation)",
    )
    add_model(parser)
    add_method(parser)
    add_face_options(parser)
    add_device(parser)
    add_backend(parser)


def mix(args: argparse.Namespace) -> int:
    """Run `sfe mix`."""
    if args.method is None or args.model != DEFAULT_MODEL:  # a method may bring its own model
        find_model(args.model)
    for path in (args.photo_a, args.photo_b):
        if not path.is_file():
            raise PhotoError(f"there is no photo {path}")
    if args.face == "all":
        raise ConfigError("two photos are mixed a face at a time: --face largest, or a number")
    if args.like and (args.method is None or args.model != DEFAULT_MODEL):
        check_directions(args.model, [args.like])
    editor = open_editor(args)
    from stylefeatureeditor.directions.mix import between, strength_like, toward
    from stylefeatureeditor.photo.animation import ANIMATIONS, save_animation
    from stylefeatureeditor.photo.contact_sheet import draw_strip
    from stylefeatureeditor.photo.image import save_picture

    a, b = (_inverted(path, editor, args) for path in (args.photo_a, args.photo_b))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    if args.like or args.layers:
        move = editor.direction(args.like) if args.like else toward(a, b, args.layers)
        strength = strength_like(a, b, move) if args.like else 1.0
        print(editor.edit(a, {move: strength}).save(args.output))
        return 0
    is_animation = args.output.suffix.lower() in ANIMATIONS
    steps = max(2, args.steps or (FRAMES if is_animation else STILLS))
    shares = [number / (steps - 1) for number in range(steps)]
    pictures = [_picture(pixels, a) for pixels in between(editor, a, b, shares)]
    if is_animation:
        print(save_animation([*pictures, *pictures[-2:0:-1]], args.output))
    else:
        labels = [f"{share:.0%}" for share in shares]
        strip = draw_strip(list(zip(labels, pictures, strict=True)))
        print(save_picture(strip, args.output))
    return 0


def _inverted(path: Path, editor: Editor, args: argparse.Namespace) -> Inversion:
    from stylefeatureeditor.records import Photo

    source = read_source(path, editor, args)
    if isinstance(source, (Path, Photo)):
        return editor.invert(source, face=args.face, aligned=args.aligned)
    return source if len(source) == 1 else source[0]


def _picture(pixels: Tensor, a: Inversion) -> Image.Image:
    from stylefeatureeditor.photo.result import EditResult

    return EditResult(pixels, a, blend="none").crop
