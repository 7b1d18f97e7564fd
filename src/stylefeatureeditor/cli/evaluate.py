"""`sfe evaluate`: the paper's tables, on anyone's images."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli import evaluate_video
from stylefeatureeditor.cli.options import (
    Args,
    Commands,
    add_command,
    add_common,
    add_group,
    positive,
)
from stylefeatureeditor.cli.output import Progress, warn
from stylefeatureeditor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stylefeatureeditor.data.images import ImageSet
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.evaluation.edit_words import EditWords
    from stylefeatureeditor.evaluation.report_tables import Report
    from stylefeatureeditor.evaluation.results import MethodResult
    from stylefeatureeditor.evaluation.runner import Evaluation
    from stylefeatureeditor.methods.loader import MethodLoader

    Work = tuple[str, Callable[[Evaluation], MethodResult]]

PAPER_TABLES = ("faces", "ablations", "cars")  # of evaluation/report.py
METHOD_WORDS = "sfe, sfe-without-h, e4e, w+, pti, or one that `sfe models list` shows, as psp"
DEFAULT_FOLDER = Path("evaluation")
TITLES = {"inversion": "Inversion", "editing": "Editing", "compare": "Comparison"}


def add_to(commands: Commands) -> None:
    """Add `sfe evaluate` and its commands."""
    group = add_group(commands, "evaluate", "measure inversion and editing")
    inversion = add_command(
        group,
        "inversion",
        evaluate,
        text="how well photos are redrawn (Tables 1 and 2 of the paper)\n"
        "A second run with the same -o goes on where the first one stopped.",
        example="sfe evaluate inversion faces.zip --where split=test -o tables\n"
        "torchrun --nproc_per_node 2 -m stylefeatureeditor evaluate inversion faces/",
    )
    inversion.set_defaults(edit=[], attributes=None)
    editing = add_command(
        group,
        "editing",
        evaluate,
        text="how real edited photos look (Sec. 4.3 of the paper)\n"
        "FID between photos that have an attribute and edited photos that had it not.\n"
        "--images takes photos that were edited elsewhere instead.",
        example='sfe evaluate editing faces.zip --attributes faces.zip --edit "smile=-" '
        '--edit "age=+"\nsfe evaluate editing faces/ --edit rotation=5',
    )
    compare = add_command(
        group,
        "compare",
        evaluate,
        text="several models, methods, or folders of images made elsewhere, in one table\n"
        "ENTRY is a method, a model (ours or a compared method's), METHOD@MODEL, or a folder of\n"
        "images named like the photos;\n"
        "LABEL=FOLDER gives a folder another name.",
        example="sfe evaluate compare sfe e4e pti --data faces/ --edit smile=- --attributes a.csv\n"
        "sfe evaluate compare faces my_model other_tool=results/ --data faces/",
    )
    evaluate_video.add_to(group)
    photos = "aligned photos: a folder, zip or tar"
    inversion.set_defaults(size=None)
    for parser in (editing, compare):
        parser.add_argument(
            "--size", type=int, metavar="PIXELS", help="side of the photos; a model's, or 1024"
        )
    for parser in (inversion, editing):
        parser.add_argument("data", metavar="DATA", help=photos)
        parser.add_argument(
            "--method",
            metavar="NAME",
            action="append",
            help=f"{METHOD_WORDS}; may be given several times; left out, what --model holds",
        )
    editing.add_argument(
        "--images",
        metavar="[LABEL=]FOLDER",
        action="append",
        default=[],
        help="photos that another tool edited, named like those without the attribute; of --edit "
        "the attribute and the sign count; may be given several times, in place of --method",
    )
    compare.add_argument("entries", metavar="ENTRY", nargs="+", help="what takes part")
    compare.add_argument("--data", metavar="DATA", required=True, help=photos)
    for parser in (inversion, editing, compare):
        parser.add_argument(
            "--steps",
            type=_steps,
            action="append",
            default=[],
            metavar="[METHOD=]N",
            help="of w+, and of both stages of pti, or of one as in pti=100; may be given several "
            "times; their own schedules if left out",
        )
        if parser is not inversion:
            parser.add_argument(
                "--attributes",
                metavar="FILE",
                help="a table of attributes: .csv, CelebA's .txt, or images that bring one; DATA "
                "if left out",
            )
            add_common(
                parser,
                "--edit",
                type=str,
                metavar="NAME[:ATTRIBUTE]=STRENGTH",
                help='a direction with a number or a sign, such as "smile=-"; may be given '
                "several times",
            )
        add_common(
            parser,
            "--where",
            help="take only photos whose row of the table says so, such as split=test or "
            '"black_frac=<=0.05"; may be given several times',
        )
        parser.add_argument(
            "--metrics",
            nargs="+",
            metavar="NAME",
            help="what is measured, such as l2 lpips id fid; lec, of edits alone, only if named; "
            "all else whose network is here if left out",
        )
        parser.add_argument("--limit", type=positive, metavar="N", help="take the first N photos")
        parser.add_argument(
            "--classifier", type=Path, metavar="FILE", help="an attribute classifier: judges edits"
        )
        add_common(
            parser,
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
        add_common(parser, "--batch-size", default=8, help="photos at a time (8)")
        parser.add_argument(
            "--seed", type=int, default=0, help="of intervals, subsets and random choices (0)"
        )
        add_common(parser, "--model", "--device", "--json")


def evaluate(args: Args) -> int:
    """Run the three commands of `sfe evaluate`."""
    from stylefeatureeditor.data.images import open_images
    from stylefeatureeditor.device import best_device
    from stylefeatureeditor.evaluation.edit_words import edit_tasks, parse_edit
    from stylefeatureeditor.evaluation.editing import LEC, evaluate_edit
    from stylefeatureeditor.evaluation.inversion import evaluate_inversion
    from stylefeatureeditor.evaluation.measures import find_networks, named_alone, standard_suite
    from stylefeatureeditor.evaluation.report import make_report
    from stylefeatureeditor.evaluation.runner import Evaluation, Processes
    from stylefeatureeditor.methods.loader import MethodLoader
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
    from stylefeatureeditor.weights.local_models import files_folder

    words = [parse_edit(text) for text in args.edit]
    if args.evaluate_command == "editing" and not words:
        raise ConfigError('say which edits to measure, as in --edit "smile=-"')
    processes = Processes.of_accelerate(cpu=args.device == "cpu")
    device = args.device
    if device == "auto":
        device = processes.device or best_device()
    networks = find_networks(files_folder(), device)
    classifier = None
    if args.classifier is not None:
        classifier = AttributeClassifier.load(args.classifier).to(device)
    loader = MethodLoader(
        args.model,
        str(device),
        lpips=networks.lpips,
        classifier=classifier,
        steps={word: count for given in args.steps for word, count in given.items()},
        progress=Progress,
    )
    lec = LEC in (args.metrics or ())
    if lec and not words:
        raise ConfigError("lec is a metric of edits: give --edit")
    editors, folders = _entries(args, loader)
    if words and not editors and args.evaluate_command != "editing":
        raise ConfigError(
            "--edit is for methods and models, but all entries are folders, whose images are "
            "compared with the photos as they are: leave it out, or name a method"
        )
    size = args.size or _shared_size(loader)
    photos = open_images(args.data, size, dict(args.where), memory_gib=0, limit=args.limit)
    suite = standard_suite(size, networks, classifier)
    evaluation = Evaluation(
        folder=args.output,
        photos=photos,
        suite=named_alone(suite, args.metrics),
        batch_size=args.batch_size,
        device=device,
        processes=processes,
        seed=args.seed,
    )
    images = _work_on_images(args, folders, words, photos)
    tasks = edit_tasks(words, editors, args.data, args.attributes, photos.names)
    work: list[Work] = []
    if args.evaluate_command != "editing":
        methods = [editor.method for editor in editors]
        work += [(method.name, partial(evaluate_inversion, method)) for method in methods]
    work += images
    work += [
        (
            f"{method.name} {task.name}",
            partial(evaluate_edit, method, task, values=values, judge=classifier, lec=lec),
        )
        for method, task, values in tasks
    ]
    results = []
    for name, measured_by in work:
        with Progress(name) as bar:
            shown = replace(evaluation, progress=lambda _, done, total: bar.update(done, total))
            results.append(measured_by(shown))
    if processes.rank == 0:
        notes = [
            *loader.notes,
            *(
                f"{task.name}: {word.direction} at strength {task.strength:g}."
                for (_, task, _), word in zip(tasks, cycle(words), strict=False)
            ),
        ]
        command = shlex.join(["sfe", *sys.argv[1:]])
        title = TITLES[args.evaluate_command]
        _show(args, make_report(title, command, results, evaluation, notes, args.paper))
    return 0


def _work_on_images(
    args: Args, folders: list[tuple[str, Path]], words: list[EditWords], photos: ImageSet
) -> list[Work]:
    """What is to do for folders of images that other tools redrew, or edited."""
    from stylefeatureeditor.evaluation.edit_words import split_for_images
    from stylefeatureeditor.evaluation.editing import evaluate_edited_images
    from stylefeatureeditor.evaluation.inversion import evaluate_images
    from stylefeatureeditor.evaluation.photo_sets import match_by_name

    names, size = photos.names, photos.size
    if args.evaluate_command != "editing":
        found = [(name, match_by_name(folder, names, size)) for name, folder in folders]
        return [(name, partial(evaluate_images, name, images)) for name, images in found]
    work: list[Work] = []
    for word in words if folders else ():
        title, sides = split_for_images(word, args.data, args.attributes, names)
        for name, folder in folders:
            images = match_by_name(folder, names, size, sides[1].tolist())
            measure = partial(evaluate_edited_images, name, title, images, sides)
            work.append((f"{name} {title}", measure))
    return work


def _entries(args: Args, loader: MethodLoader) -> tuple[list[Editor], list[tuple[str, Path]]]:
    """The editors of the methods, and the named folders, that the words of a user mean."""
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.weights.local_models import find_model

    images = getattr(args, "images", ())
    if images:
        if args.method:
            raise ConfigError("--images were edited already: leave --method out")
        pairs = [word.rpartition("=") for word in images]
        return [], [(label or Path(place).name, Path(place)) for label, _, place in pairs]
    if args.evaluate_command != "compare":
        words = dict.fromkeys(args.method or (None,))
        return [Editor(loader.method(word)) for word in words], []
    editors, folders = [], []
    for word in args.entries:
        label, equals, place = word.partition("=")
        found = None if equals else loader.entry(word)
        if found is not None:
            editors.append(Editor(found))
        elif equals:
            folders.append((label, Path(place)))
        elif Path(word).exists():
            folders.append((Path(word).name, Path(word)))
        else:
            find_model(word)  # its error names what there is
    names = Counter([editor.method.name for editor in editors] + [name for name, _ in folders])
    twice = sorted(name for name, times in names.items() if times > 1)
    if twice:
        raise ConfigError(f"two entries are called {twice[0]}; write LABEL=FOLDER for one")
    return editors, folders


def _shared_size(loader: MethodLoader) -> int:
    sizes = sorted(loader.sizes())
    if len(sizes) > 1:
        raise ConfigError(
            f"the models draw {' and '.join(map(str, sizes))} px; compare models of one size"
        )
    return sizes[0] if sizes else 1024


def _show(args: Args, report: Report) -> None:
    """Write the report, show its table, and say on stderr what is missing from it."""
    from stylefeatureeditor.evaluation.report import to_json, to_markdown, write_report

    written = write_report(report, args.output)
    for sentence in report.left_out:
        warn(sentence)
    for row in report.results:
        if row.errors:
            warn(f"{row.method}: {len(row.errors)} not measured, first: {row.errors[0]}")
    if args.json:
        print(to_json(report), end="")
    else:
        print(to_markdown(report))
        print(f"{written['html']}")


def _steps(text: str) -> dict[str, int]:
    """Read N, or METHOD=N."""
    from stylefeatureeditor.methods.loader import FITTED

    method, _, number = text.rpartition("=")
    if method not in ("", *FITTED):
        raise argparse.ArgumentTypeError(
            f"only {' and '.join(FITTED)} take steps, as in pti=100, got '{text}'"
        )
    return dict.fromkeys([method] if method else FITTED, positive(number))
