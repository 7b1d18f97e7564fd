"""`sfe mix`: two photos, what lies between them, and what one takes from the other."""

from __future__ import annotations

from pathlib import Path

from stylefeatureeditor.cli.edit import inverted, open_editor
from stylefeatureeditor.cli.options import Args, Commands, add_command, add_common, positive
from stylefeatureeditor.cli.refusals import check_model
from stylefeatureeditor.errors import ConfigError, PhotoError

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
    add_common(parser, "--output", type=Path, required=True, help="the picture to write")
    what = parser.add_mutually_exclusive_group()
    add_common(what, "--layers")
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
    add_common(parser, "--model", "--method", "--aligned", "--face")
    add_common(parser, "--device", "--backend", "--precision")


def mix(args: Args) -> int:
    """Run `sfe mix`."""
    for path in (args.photo_a, args.photo_b):
        if not path.is_file():
            raise PhotoError(f"there is no photo {path}")
    if args.face == "all":
        raise ConfigError("two photos are mixed a face at a time: --face largest, or a number")
    check_model(args, [args.like] if args.like else [])
    editor = open_editor(args)
    from stylefeatureeditor.directions.mix import between, strength_like, toward
    from stylefeatureeditor.photo.animation import ANIMATIONS, save_animation
    from stylefeatureeditor.photo.contact_sheet import draw_strip
    from stylefeatureeditor.photo.image import save_picture
    from stylefeatureeditor.photo.result import EditResult

    found = [inverted(path, editor, args) for path in (args.photo_a, args.photo_b)]
    a, b = (one if len(one) == 1 else one[0] for one in found)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    if args.like or args.layers:
        move = editor.direction(args.like) if args.like else toward(a, b, args.layers)
        strength = strength_like(a, b, move) if args.like else 1.0
        print(editor.edit(a, {move: strength}).save(args.output))
        return 0
    is_animation = args.output.suffix.lower() in ANIMATIONS
    steps = max(2, args.steps or (FRAMES if is_animation else STILLS))
    shares = [number / (steps - 1) for number in range(steps)]
    way = between(editor, a, b, shares)
    pictures = [EditResult(pixels, a, blend="none").crop for pixels in way]
    if is_animation:
        print(save_animation([*pictures, *pictures[-2:0:-1]], args.output))
    else:
        labels = [f"{share:.0%}" for share in shares]
        strip = draw_strip(list(zip(labels, pictures, strict=True)))
        print(save_picture(strip, args.output))
    return 0
