"""`sfe directions fit`: find edit directions of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.options import add_command, add_device, add_layers, row_rule
from stylefeatureeditor.cli.output import Progress, warn
from stylefeatureeditor.directions.request import FitRequest

if TYPE_CHECKING:
    import argparse

    from stylefeatureeditor.cli.options import Commands

STRIPS = "strips"  # folder of pictures in the model's
FACES_SHOWN = 4
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
    request = FitRequest.of(vars(args))
    from stylefeatureeditor.device import find_device
    from stylefeatureeditor.directions.find import POOR, DirectionSearch
    from stylefeatureeditor.directions.labelled import classifier_score, draw_strip, measure_range
    from stylefeatureeditor.training.loss_networks import load_classifier
    from stylefeatureeditor.training.parts import model_folder
    from stylefeatureeditor.weights.checkpoint import load_model

    folder, device = model_folder(Path(args.model)), find_device(args.device)
    model = load_model(folder).to(device)
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
