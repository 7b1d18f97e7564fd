"""`sfe directions`: what can be edited, and directions found or from elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.cli import fit_directions
from stylefeatureeditor.cli.options import (
    add_command,
    add_json,
    add_layers,
    pair,
)
from stylefeatureeditor.cli.output import print_json, print_table
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.weights.sources import DEFAULT_MODEL

if TYPE_CHECKING:
    from stylefeatureeditor.cli.options import Commands
    from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry


def add_to(commands: Commands) -> None:
    """Add `sfe directions` and its commands."""
    group = commands.add_parser(
        "directions", help="list edit directions, find and import more", allow_abbrev=False
    ).add_subparsers(metavar="COMMAND", required=True, dest="directions_command")

    listing = add_command(
        group,
        "list",
        list_directions,
        text="list what can be edited, with the strengths that give good pictures",
        example="sfe directions list\nsfe directions list --model my_model --json",
    )
    show = add_command(
        group,
        "show",
        show_direction,
        text="show all that is known of a direction",
        example="sfe directions show smile",
    )
    show.add_argument("name", metavar="NAME", help="a direction or one of its other names")
    for parser in (listing, show):
        parser.add_argument(
            "--model",
            metavar="NAME|DIR",
            help="whose directions; ffhq and cars also name those published for these photos. Left "
            f"out: the model {DEFAULT_MODEL} if there is one, else ffhq",
        )
        add_json(parser)

    importing = add_command(
        group,
        "import",
        import_direction,
        text="add a direction from a file (.pt, .npy, .safetensors) to a model folder",
        example="sfe directions import beard.npy --name beard --range=-10:10 --model my_model\n"
        "sfe directions import pca.pt --component 10 --layers 7:8 --name beard --model my_model",
    )
    _add_import_options(importing)
    fit_directions.add_to(group)


def _add_import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="one vector, one vector per style, or a GANSpace table",
    )
    parser.add_argument("--name", required=True, help="what -e will call it")
    parser.add_argument("--model", metavar="NAME|DIR", required=True, help="the model it is for")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="the vector is multiplied by it; 0.5 for InterFaceGAN's published strengths "
        "(%(default)s)",
    )
    parser.add_argument(
        "--component", type=int, metavar="N", help="which component of a GANSpace table, from 0"
    )
    add_layers(parser)
    parser.add_argument(
        "--range",
        type=_range,
        default=(-5.0, 5.0),
        metavar="LOW:HIGH",
        help="useful strengths, written --range=-3:3 (-5:5)",
    )


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(number) for number in pair(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers as in -5:5, got '{text}'") from None
    return low, high


def list_directions(args: argparse.Namespace) -> int:
    """Run `sfe directions list`."""
    directions, folder = _directions_of(args.model)
    if args.json:
        print_json([_row(entry, folder) for entry in directions.entries])
        return 0
    if not directions.entries:
        print("this model has no directions yet; `sfe directions fit` finds some")
    for heading, entries in directions.groups().items():
        print(heading)
        print_table([_columns(entry, folder) for entry in entries], "  ")
    return 0


def show_direction(args: argparse.Namespace) -> int:
    """Run `sfe directions show`."""
    directions, folder = _directions_of(args.model)
    entry = directions.find(args.name)
    if args.json:
        print_json(_row(entry, folder))
        return 0
    print_table([(key.replace("_", " "), _text(v)) for key, v in _row(entry, folder).items()])
    low, high = entry.useful_range
    print(f"\nsfe edit portrait.jpg -e {entry.name}={high / 2:g} -o out.png")
    print(f'sfe edit portrait.jpg --grid "{entry.name}={low:g}:{high:g}:7" -o strip.png')
    return 0


def import_direction(args: argparse.Namespace) -> int:
    """Run `sfe directions import`."""
    from stylefeatureeditor.editing.import_file import direction_from_tensor, entry_for
    from stylefeatureeditor.methods.folder import load_any_config
    from stylefeatureeditor.weights.direction_files import add_own_direction, read_direction_file
    from stylefeatureeditor.weights.local_models import find_model

    folder = find_model(args.model)
    config = load_any_config(folder)
    if not args.file.is_file():
        raise WeightsError(f"there is no file {args.file}; expected a direction's tensors")
    direction = direction_from_tensor(
        read_direction_file(args.file),
        args.name,
        num_styles=config.generator.num_styles,
        style_dim=config.generator.style_dim,
        scale=args.scale,
        component=args.component,
        layers=args.layers,
    )
    add_own_direction(entry_for(direction, args.range), folder, config.catalog)
    print(f"{args.name} is now a direction of {folder}")
    return 0


def _directions_of(model: str | None) -> tuple[Catalog, Path | None]:
    """The directions of a model and its folder; those of a published family have none."""
    from stylefeatureeditor.editing.catalog import load_catalog
    from stylefeatureeditor.editing.direction_names import FAMILIES
    from stylefeatureeditor.methods.folder import load_any_config
    from stylefeatureeditor.weights.direction_files import load_directions
    from stylefeatureeditor.weights.local_models import find_model, local_models

    if model is None:
        model = DEFAULT_MODEL if DEFAULT_MODEL in local_models() else FAMILIES[0]
    if model in FAMILIES and model not in local_models() and not Path(model).is_dir():
        return load_catalog(model), None
    folder = find_model(model)
    return load_directions(folder, load_any_config(folder).catalog), folder


def _columns(entry: CatalogEntry, folder: Path | None) -> tuple[str, ...]:
    from stylefeatureeditor.weights.direction_files import is_usable

    low, high = entry.useful_range
    missing = "" if folder is None or is_usable(entry, folder) else f"  (needs {entry.file})"
    return (entry.name, f"{low:g} to {high:g}", entry.method, entry.help + missing)


def _row(entry: CatalogEntry, folder: Path | None) -> dict[str, Any]:
    from stylefeatureeditor.weights.direction_files import is_usable

    row = entry.to_row()
    if folder is not None:
        row["is_here"] = is_usable(entry, folder)
    return row


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value)) if value else "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
