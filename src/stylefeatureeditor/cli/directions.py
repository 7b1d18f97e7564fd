"""`sfe directions`: what can be edited, and directions found or from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.cli.options import (
    Args,
    Commands,
    add_command,
    add_common,
    add_group,
    flag,
    reader,
)
from stylefeatureeditor.cli.output import Progress, print_json, print_table, warn
from stylefeatureeditor.directions.request import FitRequest
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.weights.sources import DEFAULT_MODEL

if TYPE_CHECKING:
    from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry

STRIPS = "strips"  # folder of pictures in the model's
FACES_SHOWN = 4
WEAK = 0.3  # rise of the score from end to end that is no edit


def add_to(commands: Commands) -> None:
    """Add `sfe directions` and its commands."""
    group = add_group(commands, "directions", "list edit directions, find and import more")
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
        add_common(
            parser,
            "--model",
            default=None,
            help="whose directions; ffhq and cars also name those published for these photos. Left "
            f"out: the model {DEFAULT_MODEL} if there is one, else ffhq",
        )
        add_common(parser, "--json")

    importing = add_command(
        group,
        "import",
        import_direction,
        text="add a direction from a file (.pt, .npy, .safetensors) to a model folder",
        example="sfe directions import beard.npy --name beard --range=-10:10 --model my_model\n"
        "sfe directions import pca.pt --component 10 --layers 7:8 --name beard --model my_model",
    )
    importing.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="one vector, one vector per style, or a GANSpace table",
    )
    importing.add_argument("--name", required=True, help="what -e will call it")
    importing.add_argument("--model", metavar="NAME|DIR", required=True, help="the model it is for")
    importing.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="the vector is multiplied by it; 0.5 for InterFaceGAN's published strengths "
        "(%(default)s)",
    )
    importing.add_argument(
        "--component", type=int, metavar="N", help="which component of a GANSpace table, from 0"
    )
    add_common(importing, "--layers")
    importing.add_argument(
        "--range",
        type=reader(
            "two numbers as in -5:5", "([^:]*):([^:]*)", lambda *ends: (*map(float, ends),)
        ),
        default=(-5.0, 5.0),
        metavar="LOW:HIGH",
        help="useful strengths, written --range=-3:3 (-5:5)",
    )
    _add_fit(group)


def list_directions(args: Args) -> int:
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


def show_direction(args: Args) -> int:
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


def import_direction(args: Args) -> int:
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
    return (entry.name, f"{low:g} to {high:g}", entry.help + missing)


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


def _add_fit(group: Commands) -> None:
    """Add `sfe directions fit`."""
    parser = add_command(
        group,
        "fit",
        fit_directions,
        text="find directions: from labelled photos, with a classifier, or without any label\n"
        "Each is stored in the model folder with its useful range; strength 1 is one standard "
        "deviation.\nA strip of pictures is written to its folder `strips`.",
        example="sfe directions fit --model runs/e4e --name smile --data celeba.zip "
        "--labels list_attr_celeba.txt --column Smiling\n"
        "sfe directions fit --model runs/e4e --name smile --classifier runs/attributes "
        "--column Smiling --without gender\n"
        "sfe directions fit --model runs/e4e --name smile --method learned --classifier "
        "runs/attributes --column Smiling --data celeba.zip --per-style\n"
        "sfe directions fit --model runs/e4e --name turn --mirror 1 --data celeba.zip\n"
        "sfe directions fit --model runs/e4e --pca 8\n"
        "sfe directions fit --model runs/e4e --sefa 8 --layers 4:8",
    )
    parser.add_argument(
        "--model", metavar="NAME|DIR", required=True, help="the model, or the run that made it"
    )
    parser.add_argument(
        "--name", help="what -e will call it; for --mirror, --pca and --sefa what it begins with"
    )
    parser.add_argument("--data", nargs="+", metavar="SOURCE", help="photos to find it in")
    add_common(
        parser,
        "--where",
        help="which photos, as split=train or black_frac=<=0.05; may be given again",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="table of attributes, .csv or CelebA's .txt; left out, the one beside the photos",
    )
    parser.add_argument(
        "--column",
        metavar="NAME",
        help="the attribute: a column of the table or a name that the classifier knows; words are "
        "asked for as hair=blond, numbers are split at their median",
    )
    parser.add_argument(
        "--classifier",
        type=Path,
        metavar="NAME|DIR|FILE",
        help="measures the range, and teaches --method learned; without --data it labels generated "
        "faces too",
    )
    flag(parser, "--reverse", "towards those without it: Young becomes old")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="NAME",
        help="directions of the model that the new one leaves alone",
    )
    parser.add_argument(
        "--method",
        choices=("logistic", "svm", "mean", "learned"),
        default="logistic",
        help="boundary, difference of the means for weak encoders, or learned: what --classifier "
        "sees bringing the attribute, and nothing else, without labels (%(default)s)",
    )
    flag(
        parser,
        "--per-style",
        "a vector for each style vector (W+) instead of one for all; needs --data",
    )
    parser.add_argument(
        "--mirror",
        type=int,
        metavar="N",
        help="the N widest components of what mirroring the photos of --data changes in their W+ "
        "codes: of faces, where they look",
    )
    parser.add_argument("--pca", type=int, metavar="N", help="the N widest components of w")
    parser.add_argument("--sefa", type=int, metavar="N", help="the N that G's layers amplify most")
    add_common(parser, "--layers")
    parser.add_argument(
        "--samples", type=int, default=4000, metavar="N", help="generated codes (%(default)s)"
    )
    add_common(parser, "--device")


def fit_directions(args: Args) -> int:
    """Run `sfe directions fit`."""
    request = FitRequest.of(vars(args))
    from stylefeatureeditor.device import find_device
    from stylefeatureeditor.directions.find import POOR, DirectionSearch
    from stylefeatureeditor.directions.labelled import classifier_score, draw_strip, measure_range
    from stylefeatureeditor.runtimes.choose import open_model
    from stylefeatureeditor.training.loss_networks import load_classifier
    from stylefeatureeditor.training.run_folder import model_folder

    folder, device = model_folder(Path(args.model)), find_device(args.device)
    model = open_model(folder, device)
    classifier = load_classifier(args.classifier).to(device) if args.classifier else None
    score = classifier and classifier_score(classifier, request.attribute)
    found, faces = DirectionSearch(request, model, folder, classifier, Progress).find()
    for one in found:
        direction, name = one.direction, one.direction.name
        with Progress(f"measuring {name}"):
            useful = measure_range(model.generator, faces, direction, score)
        one.store(useful, folder)
        strip = draw_strip(model.generator, faces[:FACES_SHOWN], direction, useful, folder / STRIPS)
        note = ""
        if one.accuracy is not None:
            note = f"; {one.accuracy:.0%} of held-out codes lie on the right side"
            if one.accuracy < POOR:
                warn(f"{name}: the boundary tells only {one.accuracy:.0%} apart, chance is 50%")
        print(f"{name}: {useful.low:g} to {useful.high:g}{note}; {strip}")
        if useful.scores is not None:
            low, high = useful.scores
            print(f"  the classifier's median score goes from {low:.0%} to {high:.0%}")
            if high - low < WEAK:
                warn(
                    f"{name} hardly moves the classifier: try --method learned or mean, or train "
                    "longer first"
                )
    return 0
