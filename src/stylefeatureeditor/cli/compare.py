"""`sfe compare`: one photo through several methods, in one picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.options import Args, Commands, add_command, add_common, flag, positive
from stylefeatureeditor.cli.output import Progress, print_json, warn
from stylefeatureeditor.editing.direction_names import check_sizes
from stylefeatureeditor.errors import ConfigError, DirectionError, FaceError, SfeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.evaluation.one_photo import DrawnPhoto
    from stylefeatureeditor.methods.loader import MethodLoader
    from stylefeatureeditor.model import Framing
    from stylefeatureeditor.records import Photo

    Crop = Callable[[int, Framing], Tensor]

ALL = "all"


def add_to(commands: Commands) -> None:
    """Add `sfe compare`."""
    parser = add_command(
        commands,
        "compare",
        compare_photo,
        text="draw a photo's inversion and edits by several methods, a row each\n"
        "`all` takes every method on this machine but w+ and pti, which optimise for minutes:\n"
        "name them beside it. METHOD is as in `sfe evaluate compare`: a method, a model, or\n"
        "METHOD@MODEL.",
        example="sfe compare portrait.jpg --methods all -e smile=2\n"
        "sfe compare portrait.jpg --methods sfe psp hfgi -e smile=2 -e age=2 --difference -o c.png",
    )
    parser.add_argument("photo", metavar="PHOTO", type=Path, help="a photo")
    parser.add_argument(
        "--methods",
        metavar="METHOD",
        nargs="+",
        default=[ALL],
        help="rows, from the top (all)",
    )
    add_common(
        parser,
        "--edit",
        help="a direction and how far to move along it; each given one is a column",
    )
    flag(parser, "--difference", "add maps of what each inversion misses and each edit changes")
    parser.add_argument(
        "--tile", type=positive, default=256, metavar="PIXELS", help="side of a picture (256)"
    )
    parser.add_argument(
        "--steps", type=positive, metavar="N", help="of w+, and of both stages of pti"
    )
    add_common(parser, "--output", metavar="FILE", type=Path, help="PHOTO_methods.png if left out")
    add_common(parser, "--model", "--aligned", "--face", "--device", "--json")


def compare_photo(args: Args) -> int:
    """Run `sfe compare`."""
    for name, strength in args.edit:
        check_sizes(name, [strength])
    import numpy as np

    from stylefeatureeditor.evaluation.one_photo import compare_in_picture
    from stylefeatureeditor.methods.loader import MethodLoader
    from stylefeatureeditor.photo.image import read_photo, save_photo

    output = args.output or args.photo.with_name(f"{args.photo.stem}_methods.png")
    if args.face == ALL:
        raise FaceError("a comparison shows one face: choose it with --face 1, 2 and so on")
    loader = MethodLoader(args.model, args.device, steps=args.steps, progress=Progress)
    named = [word for each in args.methods for word in (each.split(",") if "," in each else [each])]
    words = list(
        dict.fromkeys(w for word in named for w in (loader.everything() if word == ALL else [word]))
    )
    if not words:
        raise ConfigError(
            "there is no method on this machine: `sfe models pull NAME` fetches one that `sfe "
            "models list` shows"
        )
    photo = read_photo(args.photo)
    crop = _cropper(photo, args)
    rows: list[DrawnPhoto] = []
    with Progress("methods", len(words)) as bar:
        for number, word in enumerate(words):
            bar.update(number)
            try:
                rows.append(_row(word, loader, crop, args.edit))
            except SfeError as error:
                if len(words) == 1:
                    raise
                warn(f"{word} is left out: {error}")
    if not rows:
        raise ConfigError("no method could draw the photo; the lines above say why")
    for note in loader.notes:
        warn(note)
    picture = compare_in_picture(rows, differences=args.difference, tile=args.tile)
    save_photo(np.asarray(picture), output, like=replace(photo, alpha=None))
    if args.json:
        keys = ("name", "invert_seconds", "edit_seconds")
        methods = [{key: getattr(row, key) for key in keys} for row in rows]
        print_json({"picture": str(output), "methods": methods})
    else:
        print(output)
    return 0


def _row(
    word: str, loader: MethodLoader, crop: Crop, named: Sequence[tuple[str, float]]
) -> DrawnPhoto:
    """One method's row; its networks are let go afterwards, unless others work on them too."""
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.evaluation.one_photo import draw_photo

    found = loader.entry(word)
    if found is None:
        found = loader.method(word)  # its error names what there is
    editor = Editor(found)
    edits = {
        f"{name} {strength:+g}": (_direction(name, editor, loader), strength)
        for name, strength in named
    }
    row = draw_photo(found, crop(found.size, found.config.framing), edits)
    loader.keep_only(loader.model)
    return row


def _direction(name: str, editor: Editor, loader: MethodLoader) -> EditDirection:
    """A direction of the method's model; one that its folder lacks is taken from --model's."""
    try:
        return editor.direction(name)
    except SfeError:
        base = loader.base()
        if base is None or base is editor.method:
            raise
        direction = type(editor)(base).direction(name)
        own, other = (method.config.generator for method in (editor.method, base))
        if (own.num_styles, own.style_dim) != (other.num_styles, other.style_dim):
            raise DirectionError(
                f"its model does not know {name}, and that of {loader.model} does not fit its codes"
            ) from None
        return direction


def _cropper(photo: Photo, args: Args) -> Crop:
    """Find the photo's face once; return how to cut it for a method."""
    from stylefeatureeditor.photo.align import crop, ffhq_quad, whole_photo_as_face
    from stylefeatureeditor.photo.image import to_tensor, visible
    from stylefeatureeditor.photo.landmarks import choose_face, find_faces, turn_sentence

    if args.aligned:
        return lambda size, _: whole_photo_as_face(photo, size).pixels
    pixels = visible(photo)
    found = find_faces(pixels, all_sizes=args.face != "largest")
    (face,) = choose_face(found, args.face)
    if said := turn_sentence(face.landmarks):
        warn(f"{args.photo}: {said}")

    def cut(size: int, framing: Framing) -> Tensor:
        quad = ffhq_quad(face.landmarks, framing.scale, framing.shift)
        return to_tensor(crop(pixels, quad, size))

    return cut
