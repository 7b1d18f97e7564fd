"""`sfe evaluate`: the paper's tables, on anyone's images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.bench import Bench
from stylefeatureeditor.cli.options import (
    add_command,
    add_device,
    add_json,
    add_model,
    positive,
    row_rule,
)
from stylefeatureeditor.errors import ConfigError

if TYPE_CHECKING:
    from stylefeatureeditor.cli.options import Commands
    from stylefeatureeditor.evaluation.edit_words import EditWords

PAPER_TABLES = ("faces", "ablations", "cars")  # of evaluation/report.py
METHOD_WORDS = "sfe, sfe-without-h, e4e, w+, pti, or one that `sfe models list` shows, as psp"
DEFAULT_FOLDER = Path("evaluation")


def add_to(commands: Commands) -> None:
    """Add `sfe evaluate` and its commands."""
    group = commands.add_parser(
        "evaluate", help="measure inversion and editing", allow_abbrev=False
    ).add_subparsers(metavar="COMMAND", required=True, dest="evaluate_command")

    inversion = add_command(
        group,
        "inversion",
        evaluate_inversion,
        text="how well photos are redrawn (Tables 1 and 2 of the paper)\n"
        "A second run with the same -o goes on where the first one stopped.",
        example="sfe evaluate inversion faces.zip --where split=test -o tables\n"
        "torchrun --nproc_per_node 2 -m stylefeatureeditor evaluate inversion faces/",
    )
    inversion.add_argument("data", metavar="DATA", help="aligned photos: a folder, zip or tar")
    _add_methods(inversion)
    _add_common(inversion)

    editing = add_command(
        group,
        "editing",
        evaluate_editing,
        text="how real edited photos look (Sec. 4.3 of the paper)\n"
        "FID between photos that have an attribute and edited photos that had it not.",
        example='sfe evaluate editing faces.zip --attributes faces.zip --edit "smile=-" '
        '--edit "age=+"\nsfe evaluate editing faces/ --edit rotation=5',
    )
    editing.add_argument("data", metavar="DATA", help="aligned photos: a folder, zip or tar")
    _add_methods(editing)
    _add_edits(editing)
    _add_common(editing)

    compare = add_command(
        group,
        "compare",
        compare_methods,
        text="several models, methods, or folders of images made elsewhere, in one table\n"
        "ENTRY is a method, a model (ours or a compared method's), METHOD@MODEL, or a folder of\n"
        "images named like the photos;\n"
        "LABEL=FOLDER gives a folder another name.",
        example="sfe evaluate compare sfe e4e pti --data faces/ --edit smile=- --attributes a.csv\n"
        "sfe evaluate compare faces my_model other_tool=results/ --data faces/",
    )
    compare.add_argument("entries", metavar="ENTRY", nargs="+", help="what takes part")
    compare.add_argument(
        "--data", metavar="DATA", required=True, help="aligned photos: a folder, zip or tar"
    )
    compare.add_argument(
        "--size", type=int, metavar="PIXELS", help="side of the photos; a model's, or 1024"
    )
    _add_steps(compare)
    _add_edits(compare)
    _add_common(compare)


def _add_methods(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method",
        metavar="NAME",
        action="append",
        help=f"{METHOD_WORDS}; may be given several times; left out, what --model holds",
    )
    _add_steps(parser)


def _add_steps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--steps",
        type=_steps,
        action="append",
        default=[],
        metavar="[METHOD=]N",
        help="of w+, and of both stages of pti, or of one as in pti=100; may be given several "
        "times; their own schedules if left out",
    )


def _add_edits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--attributes",
        metavar="FILE",
        help="a table of attributes: .csv, CelebA's .txt, or images that bring one; DATA if left "
        "out",
    )
    parser.add_argument(
        "-e",
        "--edit",
        metavar="NAME[:ATTRIBUTE]=STRENGTH",
        action="append",
        default=[],
        help='a direction with a number or a sign, such as "smile=-"; may be given several times',
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--where",
        metavar="COLUMN=RULE",
        type=row_rule,
        action="append",
        default=[],
        help="take only photos whose row of the table says so, such as split=test or "
        '"black_frac=<=0.05"; may be given several times',
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="take the first N photos")
    parser.add_argument(
        "--classifier", type=Path, metavar="FILE", help="an attribute classifier: judges edits"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help="tables, values of each image as CSV (and Parquet, where pyarrow is installed), "
        "pictures; a second run goes on from what is there (%(default)s)",
    )
    parser.add_argument(
        "--paper",
        choices=(*PAPER_TABLES, "none"),
        default="faces",
        help="the table of the paper whose rows stand beside those that are run (faces)",
    )
    parser.add_argument(
        "--batch-size", type=positive, default=8, metavar="N", help="photos at a time (8)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of intervals, subsets and random choices (0)"
    )
    add_model(parser)
    add_device(parser)
    add_json(parser)


def evaluate_inversion(args: argparse.Namespace) -> int:
    """Run `sfe evaluate inversion`."""
    bench = Bench(args)
    methods = bench.methods(args.method)
    return bench.finish(bench.inversions(methods), "Inversion")


def evaluate_editing(args: argparse.Namespace) -> int:
    """Run `sfe evaluate editing`."""
    words = _edit_words(args)
    if not words:
        raise ConfigError('say which edits to measure, as in --edit "smile=-"')
    bench = Bench(args)
    methods = bench.methods(args.method)
    return bench.finish(bench.edits(bench.tasks(methods, words)), "Editing")


def compare_methods(args: argparse.Namespace) -> int:
    """Run `sfe evaluate compare`."""
    from stylefeatureeditor.evaluation.compare import match_by_name
    from stylefeatureeditor.evaluation.inversion import evaluate_images

    words = _edit_words(args)
    bench = Bench(args)
    methods, folders = bench.entries(args.entries)
    if words and not methods:
        raise ConfigError(
            "--edit is for methods and models, but all entries are folders, whose images are "
            "compared with the photos as they are: leave it out, or name a method"
        )
    plan = bench.plan
    found = [(name, match_by_name(f, plan.photos.names, plan.photos.size)) for name, f in folders]
    tasks = bench.tasks(methods, words) if words and methods else []
    results = bench.inversions(methods)
    results += [evaluate_images(name, images, plan) for name, images in found]
    results += bench.edits(tasks)
    return bench.finish(results, "Comparison")


def _edit_words(args: argparse.Namespace) -> list[EditWords]:
    from stylefeatureeditor.evaluation.edit_words import parse_edit

    return [parse_edit(text) for text in args.edit]


def _steps(text: str) -> dict[str, int]:
    """Read N, or METHOD=N."""
    from stylefeatureeditor.methods.loader import FITTED

    method, _, number = text.rpartition("=")
    if method not in ("", *FITTED):
        raise argparse.ArgumentTypeError(
            f"only {' and '.join(FITTED)} take steps, as in pti=100, got '{text}'"
        )
    return dict.fromkeys([method] if method else FITTED, positive(number))
