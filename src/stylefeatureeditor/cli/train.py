"""`sfe train`: every phase, from a folder of images to a working editor."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.cli.options import add_command
from stylefeatureeditor.errors import ConfigError, DependencyError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from stylefeatureeditor.cli.options import Commands
    from stylefeatureeditor.training.parts import Start
    from stylefeatureeditor.training.presets import Inputs

STOPPED = 130  # as after Ctrl-C: the run is saved, but not done
PRESETS = {  # the same names as in training/recipes.py, which is slow to import
    "generator": ("standard", "small", "tiny"),
    "e4e": ("paper", "psp", "cars", "small", "tiny"),
    "inverter": ("paper", "released", "cars", "cars-released", "small", "tiny"),
    "editor": ("paper", "released", "cars", "cars-released", "small", "tiny"),
    "attributes": ("small", "tiny"),
}
ABLATIONS = {
    "inverter": ("without-fuser", "coarser-layer"),
    "editor": ("without-inversion-loss", "without-e4e", "few-directions"),
}
SETTINGS = (
    "every other setting is a flag of its own, such as --loop.steps 5000; after this page --help "
    "lists them all"
)
LAUNCH = "accelerate launch --num_processes 4 -m stylefeatureeditor train"


def add_to(commands: Commands) -> None:
    """Add `sfe train` and its commands."""
    group = commands.add_parser(
        "train", help="train every part on your own images", allow_abbrev=False
    ).add_subparsers(metavar="PHASE", required=True, dest="train_command")

    generator = _add_phase(
        group,
        "generator",
        text="train StyleGAN2, from nothing or grown from a run of half the size",
        example="sfe train generator --data faces.zip --out runs/g64 --size 64\n"
        "sfe train generator --data faces.zip --out runs/g128 --size 128 --grow-from runs/g64",
    )
    generator.add_argument(
        "--size", type=int, default=64, metavar="PX", help="side of the images (%(default)s)"
    )
    generator.add_argument(
        "--grow-from", type=Path, metavar="RUN", help="folder of a run of half the size"
    )

    e4e = _add_phase(
        group,
        "e4e",
        text="train the encoder E whose codes can be edited",
        example="sfe train e4e --data faces.zip --out runs/e4e --generator runs/g64",
    )
    inverter = _add_phase(
        group,
        "inverter",
        text="phase 1: train the Inverter, which redraws photos",
        example="sfe train inverter --data faces.zip --out runs/inverter --model runs/e4e\n"
        f"{LAUNCH} inverter --data faces.zip --out runs/inverter --model runs/e4e",
    )
    editor = _add_phase(
        group,
        "editor",
        text="phase 2: train the Feature Editor; what it leaves is a whole model",
        example="sfe train editor --data faces.zip --out runs/editor --model runs/inverter\n"
        "sfe edit portrait.jpg -e smile=2 --model runs/editor/model",
    )
    for parser in (e4e, inverter, editor):
        _add_parts(parser, only_model=parser is editor)

    attributes = _add_phase(
        group,
        "attributes",
        text="train a classifier of attributes: it finds directions and judges edits",
        example="sfe train attributes --data celeba.zip --out runs/attributes\n"
        "sfe train attributes --data photos/ --labels list_attr_celeba.txt --out runs/attributes",
    )
    attributes.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="table of attributes, .csv or CelebA's .txt; left out, the one beside the images",
    )


def _add_phase(group: Commands, name: str, *, text: str, example: str) -> argparse.ArgumentParser:
    def run(args: argparse.Namespace) -> int:
        return train(args, name)

    parser = add_command(
        group, name, run, text=f"{text}\n{SETTINGS}", example=example, add_help=False
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this page and all settings")
    parser.set_defaults(takes_settings=True, parser=parser)
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="SOURCE",
        help="folders, zip files or tar shards of images",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings: .toml, .yaml or .json"
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS[name],
        help="settings to start from; left out, the one that suits the size",
    )
    if name in ABLATIONS:
        parser.add_argument(
            "--ablation", choices=ABLATIONS[name], help="change the preset as in Table 3"
        )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in --out"
    )
    return parser


def _add_parts(parser: argparse.ArgumentParser, *, only_model: bool) -> None:
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="model or run to start from: what it has is kept"
    )
    if not only_model:
        parser.add_argument(
            "--generator",
            type=Path,
            metavar="DIR|FILE",
            help="the generator to start from, in place of --model: a run, our file, .pt or .pkl",
        )
    parser.add_argument(
        "--discriminator",
        type=Path,
        metavar="DIR|FILE",
        help="its discriminator; left out, the one that lies beside, else a fresh one",
    )
    parser.add_argument(
        "--attributes",
        type=Path,
        metavar="NAME|DIR|FILE",
        help="attribute classifier for losses that have a weight for its features or ask it about "
        "edits",
    )
    parser.add_argument(
        "--tune-from",
        type=Path,
        metavar="DIR",
        help="model or run whose network of this phase is trained on; left out, a fresh one",
    )
    parser.add_argument(
        "--identity",
        choices=("arcface", "moco"),
        help="identity features of the loss, moco for other things than faces; left out, the "
        "preset's",
    )


def train(args: argparse.Namespace, phase: str) -> int:
    """Run `sfe train PHASE`."""
    if args.help:
        return _show_help(args, phase)
    if args.out is None:
        raise ConfigError("say where to write the run: --out DIR")
    if int(os.environ.get("RANK", "0")) == 0:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)

    from stylefeatureeditor.training import jobs

    if phase == "generator":
        result = jobs.train_generator(_generator_settings(args), args.out, resume=args.resume)
    elif phase == "attributes":
        result = jobs.train_attributes(_attributes_settings(args), args.out, resume=args.resume)
    else:
        inputs, steps = _early(args)
        start = _start(inputs, phase)
        settings = replace(_method_settings(args, phase, start, steps), inputs=inputs)
        job: Callable[..., Any] = getattr(jobs, f"train_{phase}")
        result = job(settings, start, args.out, resume=args.resume)
    if int(os.environ.get("RANK", "0")) == 0:
        if not result.finished:
            print(f"stopped after step {result.step}; the same command with --resume goes on")
        else:
            print(args.out / "model")
    return 0 if result.finished else STOPPED


def _generator_settings(args: argparse.Namespace) -> Any:
    from stylefeatureeditor.training import recipes

    name = args.preset or recipes.default_preset("generator", args.size)
    return _changed(recipes.generator_run(name, args.size), args)


def _attributes_settings(args: argparse.Namespace) -> Any:
    from stylefeatureeditor.training import recipes

    return _changed(recipes.attributes_run(args.preset or "small"), args)


def _early(args: argparse.Namespace) -> tuple[Inputs, int | None]:
    """Return what is needed before there is a preset: the networks to read, and the steps.

    The schedules of small presets are shares of the steps; None leaves them to the preset.
    """
    from stylefeatureeditor.training.config import from_mapping, parse_flags, read_mapping
    from stylefeatureeditor.training.presets import E4eRun

    run, steps = E4eRun(), None
    given = [read_mapping(args.config)] if args.config else []
    for values in [*given, parse_flags(run, _joined(args.settings))]:
        run = from_mapping(run, {key: values[key] for key in ("inputs", "loop") if key in values})
        if "steps" in values.get("loop", {}):
            steps = run.loop.steps
    named: dict[str, Path | None] = {
        name: path for name in vars(run.inputs) if (path := getattr(args, name, None))
    }
    if named.keys() & {"model", "generator"}:  # the file may have named the other
        named = {"model": None, "generator": None, **named}
    return replace(run.inputs, **named), steps


def _start(inputs: Inputs, phase: str) -> Start:
    from stylefeatureeditor.training.parts import open_start

    if phase == "editor" and inputs.model is None:
        raise ConfigError(
            "say which model to start from: --model DIR, the run of `sfe train inverter`"
        )
    return open_start(inputs.model, inputs.generator)


def _method_settings(args: argparse.Namespace, phase: str, start: Start, steps: int | None) -> Any:
    from stylefeatureeditor.training import recipes
    from stylefeatureeditor.training.parts import own_strengths

    generator = start.generator.config
    name = args.preset or recipes.default_preset(phase, generator.size)
    known = None if start.model is None else start.model.config
    config = recipes.model_config(name, generator, known)
    settings: Any
    if phase == "e4e":
        settings = recipes.e4e_run(name, config, steps)
    elif phase == "inverter":
        settings = recipes.inverter_run(name, config, args.ablation, steps)
    else:
        start.need("inverter", *(() if args.ablation == "without-e4e" else ("e4e",)))
        published = config.catalog is not None and name not in ("small", "tiny")
        directions = {} if published else own_strengths(start.folder)
        settings = recipes.editor_run(name, config, directions, args.ablation, steps)
    return _changed(settings, args)


def _changed(settings: Any, args: argparse.Namespace) -> Any:
    """Apply --config, then options that stand for a setting, then the dotted flags."""
    from stylefeatureeditor.training.config import load_config
    from stylefeatureeditor.training.presets import compared_by

    settings = load_config(settings, args.config)
    if args.data:
        settings = replace(settings, data=replace(settings.data, source=tuple(args.data)))
    if getattr(args, "identity", None):
        settings = compared_by(settings, args.identity)
    for name in ("grow_from", "labels"):
        if getattr(args, name, None):
            settings = replace(settings, **{name: getattr(args, name)})
    return load_config(settings, None, _joined(args.settings))


def _joined(words: Sequence[str]) -> list[str]:
    """Check that what the parser did not know are settings: --a.b."""
    for word in words:
        if word.startswith("--") and "." not in word:
            raise ConfigError(f"there is no option {word}; settings have a dot, as --loop.steps")
    return list(words)


def _show_help(args: argparse.Namespace, phase: str) -> int:
    """Print the options, then the settings with the values they have so far."""
    from stylefeatureeditor.training import recipes
    from stylefeatureeditor.training.config import load_config

    args.parser.print_help()
    print("\nsettings:\n", flush=True)
    size = getattr(args, "size", None) or 1024
    name = args.preset or recipes.default_preset(phase, size)
    settings: Any
    if phase == "generator":
        settings = recipes.generator_run(name, size)
    elif phase == "attributes":
        settings = recipes.attributes_run(name)
    else:
        in_small = name in ("small", "tiny")
        side = 64 if in_small else 512 if name.startswith("cars") else 1024
        generator = recipes.generator_run(name if in_small else "standard", side)
        config = recipes.model_config(name, generator.training.network)
        settings = {
            "e4e": lambda: recipes.e4e_run(name, config),
            "inverter": lambda: recipes.inverter_run(name, config, args.ablation),
            "editor": lambda: recipes.editor_run(
                name, config, {"smile": (-2.0, 2.0)}, args.ablation
            ),
        }[phase]()
    try:
        with suppress(SystemExit):
            load_config(settings, args.config, ["--help"], prog=f"sfe train {phase}")
    except DependencyError as error:
        print(error)
    return 0
