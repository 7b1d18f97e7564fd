"""`sfe directions fit`: find edit directions of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli import fit_ways as ways
from stylefeatureeditor.cli.options import add_command, add_device, add_layers, row_rule
from stylefeatureeditor.cli.output import Progress, warn
from stylefeatureeditor.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from torch import Tensor

    from stylefeatureeditor.cli.fit_ways import Found
    from stylefeatureeditor.cli.options import Commands
    from stylefeatureeditor.directions.labelled import Score, UsefulRange
    from stylefeatureeditor.editing.direction import LinearDirection
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
    from stylefeatureeditor.model import Model

STRIPS = "strips"  # folder of pictures in the model's
FACES_MEASURED, FACES_SHOWN, STRENGTHS_SHOWN = 24, 4, 7
CALM = 0.7  # truncation of the faces that are shown
WEAK = 0.3  # rise of the score from end to end that is no edit


def add_to(group: Commands) -> None:
    """Add `sfe directions fit`."""
    parser = add_command(
        group,
        "fit",
        fit,
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
    parser.add_argument(
        "--where",
        type=row_rule,
        action="append",
        default=[],
        metavar="COLUMN=RULE",
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
    parser.add_argument(
        "--reverse", action="store_true", help="towards those without it: Young becomes old"
    )
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
    parser.add_argument(
        "--per-style",
        action="store_true",
        help="a vector for each style vector (W+) instead of one for all; needs --data",
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
    add_layers(parser)
    parser.add_argument(
        "--samples", type=int, default=4000, metavar="N", help="generated codes (%(default)s)"
    )
    add_device(parser)


def fit(args: argparse.Namespace) -> int:
    """Run `sfe directions fit`."""
    _check(args)
    from stylefeatureeditor.device import find_device
    from stylefeatureeditor.directions.labelled import classifier_score, measure_range
    from stylefeatureeditor.runtimes.choose import open_model
    from stylefeatureeditor.training.loss_networks import load_classifier
    from stylefeatureeditor.training.run_folder import model_folder

    folder = model_folder(Path(args.model))
    target = find_device(args.device)
    model = open_model(folder, target)
    score: Score | None = None
    classifier: AttributeClassifier | None = None
    if args.classifier:
        classifier = load_classifier(args.classifier).to(target)
        score = classifier_score(classifier, args.column, reverse=args.reverse)
    if args.pca is not None or args.sefa is not None:
        found, faces = ways.unlabelled(args, model), None
    elif args.method == "learned":
        found, faces = ways.learned(args, model, folder, classifier)
    elif args.mirror is not None:
        found, faces = ways.mirrored(args, model, folder)
    elif args.data:
        found, faces = ways.from_photos(args, model, folder)
    else:
        assert score is not None
        found, faces = ways.from_classifier(args, model, folder, score), None
    if faces is None:
        faces = _generated_faces(model)
    faces = faces[:: max(1, len(faces) // FACES_MEASURED)]
    for one in found:
        with Progress(f"measuring {one.direction.name}"):
            useful = measure_range(model.generator, faces[:FACES_MEASURED], one.direction, score)
        _store(folder, one, useful)
        strip = _draw(folder, model, faces[:FACES_SHOWN], one.direction, useful)
        print(f"{one.direction.name}: {useful.low:g} to {useful.high:g}{one.note}; {strip}")
        _say_scores(one, useful)
    return 0


def _say_scores(found: Found, useful: UsefulRange) -> None:
    if useful.scores is None:
        return
    low, high = useful.scores
    print(f"  the classifier's median score goes from {low:.0%} to {high:.0%}")
    if high - low < WEAK:
        warn(
            f"{found.direction.name} hardly moves the classifier: try --method learned or mean, or "
            "train longer first"
        )


def _check(args: argparse.Namespace) -> None:
    labelled = bool(args.classifier or (args.data and args.mirror is None))
    unlabelled = [given is not None for given in (args.pca, args.sefa, args.mirror)]
    ways = [*unlabelled, labelled]
    if ways.count(True) != 1 or (args.data and (args.pca or args.sefa)):
        raise ConfigError(
            "say how to find directions: --data with labels, --classifier, --mirror with --data, "
            "--pca or --sefa"
        )
    if any(unlabelled) and (
        args.column or args.reverse or args.without or args.labels or args.per_style
    ):
        raise ConfigError(
            "--column, --reverse, --without, --labels and --per-style are of directions with an "
            "attribute, not of --mirror, --pca and --sefa"
        )
    if args.mirror is not None and not args.data:
        raise ConfigError("--mirror needs photos: say which with --data")
    if args.method == "learned" and not args.classifier:
        raise ConfigError("a direction is learned from a classifier: pass --classifier")
    if labelled and not (args.name and args.column):
        raise ConfigError("a direction from labels needs --name and --column")
    if args.labels and (args.method == "learned" or not args.data):
        raise ConfigError("--labels are of photos with --data, and --method learned reads none")
    if args.samples < FACES_MEASURED:
        raise ConfigError(f"--samples must be at least {FACES_MEASURED}, got {args.samples}")
    if args.per_style and not args.data:
        raise ConfigError("generated codes have one style for all layers: --per-style needs --data")


def _generated_faces(model: Model) -> Tensor:
    """Codes of faces that G draws well, (n, N, D)."""
    from stylefeatureeditor.directions.labelled import mapped_codes

    codes = mapped_codes(model.generator, FACES_MEASURED, seed=1)
    mean = model.generator.latent_avg.cpu()
    return (mean + CALM * (codes - mean))[:, None].repeat(1, model.config.generator.num_styles, 1)


def _store(folder: Path, found: Found, useful: UsefulRange) -> None:
    from dataclasses import replace

    from stylefeatureeditor.editing.import_file import entry_for
    from stylefeatureeditor.weights.checkpoint import load_config
    from stylefeatureeditor.weights.direction_files import (
        load_directions,
        load_own_directions,
        save_own_directions,
    )

    entry = replace(
        entry_for(found.direction, useful.ends, help_text=found.help),
        method=found.method,
        attribute=found.attribute,
    )
    load_directions(folder, load_config(folder).catalog).with_entry(entry)  # refuses a name in use
    save_own_directions(load_own_directions(folder).with_entry(entry), folder)


def _draw(
    folder: Path, model: Model, faces: Tensor, direction: LinearDirection, useful: UsefulRange
) -> Path:
    """Write the strip of a direction; return its file."""
    import numpy as np
    from PIL import Image

    from stylefeatureeditor.directions.labelled import strip_rows
    from stylefeatureeditor.photo.contact_sheet import draw_grid
    from stylefeatureeditor.photo.image import save_photo, to_uint8

    third = STRENGTHS_SHOWN // 2
    strengths = [useful.low * step / third for step in range(third, 0, -1)]
    strengths += [useful.high * step / third for step in range(third + 1)]
    rows = strip_rows(model.generator, faces, direction, strengths)
    tiles = [[Image.fromarray(tile) for tile in to_uint8(row)] for row in rows]
    labels = [f"{strength:+.2g}" if strength else "0" for strength in strengths]
    (folder / STRIPS).mkdir(exist_ok=True)
    picture = np.asarray(draw_grid(labels, tiles))
    return save_photo(picture, folder / STRIPS / f"{direction.name}.png")
