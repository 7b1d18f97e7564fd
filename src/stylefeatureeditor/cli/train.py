"""`sfe train`: every phase, from a folder of images to a working editor.

A phase's settings are one dataclass (`InverterRun` and the like). tyro makes the flags and their
help of it, beside those of `Words`; a file of --config fills the same fields.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, fields, make_dataclass, replace
from io import StringIO
from pathlib import Path  # noqa: TC003 (fields' types are read)
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin, get_type_hints

from stylefeatureeditor.cli.options import Args, Commands, add_command, add_group
from stylefeatureeditor.errors import ConfigError, DependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


STOPPED = 130  # as after Ctrl-C: the run is saved, but not done
LAUNCH = "accelerate launch --num_processes 4 -m stylefeatureeditor train"
COMMANDS = {  # what each does, and an example
    "generator": (
        "train StyleGAN2, from nothing or grown from a run of half the size",
        "sfe train generator --data faces.zip --out runs/g64 --size 64\n"
        "sfe train generator --data faces.zip --out runs/g128 --size 128 --grow-from runs/g64",
    ),
    "e4e": (
        "train the encoder E whose codes can be edited",
        "sfe train e4e --data faces.zip --out runs/e4e --generator runs/g64",
    ),
    "inverter": (
        "phase 1: train the Inverter, which redraws photos",
        "sfe train inverter --data faces.zip --out runs/inverter --model runs/e4e\n"
        f"{LAUNCH} inverter --data faces.zip --out runs/inverter --model runs/e4e",
    ),
    "editor": (
        "phase 2: train the Feature Editor; what it leaves is a whole model",
        "sfe train editor --data faces.zip --out runs/editor --model runs/inverter\n"
        "sfe edit portrait.jpg -e smile=2 --model runs/editor/model",
    ),
    "attributes": (
        "train a classifier of attributes: it finds directions and judges edits",
        "sfe train attributes --data celeba.zip --out runs/attributes\n"
        "sfe train attributes --data photos/ --labels list_attr_celeba.txt --out runs/attributes",
    ),
}


def add_to(commands: Commands) -> None:
    """Add `sfe train` and its commands; their words are for tyro, which `train` calls."""
    group = add_group(commands, "train", "train every part on your own images", metavar="PHASE")
    for phase, (text, example) in COMMANDS.items():
        parser = add_command(group, phase, train, text=text, example=example, add_help=False)
        parser.set_defaults(takes_settings=True)


def train(args: Args) -> int:
    """Run `sfe train PHASE`."""
    phase, first = args.train_command, int(os.environ.get("RANK", "0")) == 0
    asked = options(phase, args.settings)
    if asked is None:
        return 0
    words, run = asked
    if words.out is None:
        raise ConfigError("say where to write the run: --out DIR")
    if first:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    result = job(phase)(run, words.out, resume=words.resume)
    if first and result.finished:
        print(words.out / "model")
    elif first:
        print(f"stopped after step {result.step}; the same command with --resume goes on")
    return 0 if result.finished else STOPPED


def job(phase: str) -> Callable[..., Any]:
    """Return the function that trains a phase."""
    from stylefeatureeditor.training import attributes, e4e, feature_editor, generator, inverter

    jobs: dict[str, Callable[..., Any]] = {
        "generator": generator.train_generator,
        "e4e": e4e.train_e4e,
        "inverter": inverter.train_inverter,
        "editor": feature_editor.train_editor,
        "attributes": attributes.train_attributes,
    }
    return jobs[phase]


# --- from words to a run ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a command takes beside the settings of its run.

    Attributes:
        out: folder of the run.
        config: settings, .toml, .yaml or .json: they change the preset, the flags change both.
        resume: go on from the last checkpoint in --out.
        data: folders, zip files or tar shards of images.
    """

    out: Path | None = None
    config: Path | None = None
    resume: bool = False
    data: tuple[str, ...] = ()


def options(phase: str, args: Sequence[str]) -> tuple[Any, Any] | None:
    """Return the words and the run that a command line asks for; None if it asked for help.

    The preset depends on the model that the run starts from, and so on some of the words: they are
    read first, then all of them once more over the preset and the file.
    """
    from stylefeatureeditor.training.loop import LoopConfig
    from stylefeatureeditor.weights.configs import changed, read_mapping

    early = early_type(words_type(phase))
    found, rest = _parse(early, args, phase, return_unknown_args=True, add_help=False)
    words, asks_help = found.words, "--help" in rest or "-h" in rest
    whole = dict(read_mapping(words.config)) if words.config else {}
    inputs = _inputs(words, whole.pop("inputs", {}))
    loop = changed(LoopConfig(), whole.get("loop", {}), "settings.loop")
    in_file = whole.get("loop", {})
    steps = found.steps or (loop.steps if "steps" in in_file else None)
    batch = found.batch or (loop.batch_size if "batch_size" in in_file else None)
    run = changed(_preset(phase, words, inputs, steps, batch, asks_help=asks_help), whole)
    if words.data:
        run = changed(run, {"data": {"source": list(words.data)}})
    if getattr(words, "identity", None):
        from stylefeatureeditor.training.presets import compared_by

        run = compared_by(run, words.identity)
    if getattr(words, "augment", None):
        run = changed(run, {"training": {"augment": words.augment}})

    run = parsed_over(run, words, ["--help"] if asks_help else args, phase)
    if run is None:
        return None
    return words, run if inputs is None else replace(run, inputs=inputs)


def parsed_over(run: Any, words: Any, args: Sequence[str], phase: str) -> Any:
    """Return a run changed by the flags of a command line; None if that asks for help."""
    names = [f.name for f in fields(run) if f.name != "inputs"]  # those are among the words
    kind = options_type(type(words), type(run))
    default = kind(words=words, **{name: getattr(run, name) for name in names})
    found = _parse(kind, args, phase, default=default)
    return found and replace(run, **{name: getattr(found, name) for name in names})


def words_type(phase: str) -> Any:
    """Return `Words` with what a phase adds, as a dataclass."""
    from stylefeatureeditor.training.presets import ABLATIONS, PRESETS
    from stylefeatureeditor.training.run_folder import Inputs

    def choice(names: Sequence[str], text: str) -> Any:
        return Annotated[Literal[tuple(names)] | None, _tyro().conf.arg(help=text)]

    asked = "settings to start from; left out, the one that suits the size"
    added: list[Any] = [("preset", choice(PRESETS[phase], asked), None)]
    if phase in ABLATIONS:
        text = "change the preset as in Table 3"
        added += [("ablation", choice(tuple(ABLATIONS[phase]), text), None)]
    if phase == "generator":
        text = "side of the images in pixels"
        added += [("size", Annotated[int, _tyro().conf.arg(help=text)], 64)]
        text = "what D sees of a small set, as --training.augment"
        added += [("augment", choice(("none", "ada", "diff"), text), None)]
    if phase in ("generator", "attributes"):
        return make_dataclass("Words", added, bases=(Words,), frozen=True, kw_only=True)
    text = "identity features of the loss: dlib comes with pip, moco is for other things than faces"
    added += [("identity", choice(("arcface", "dlib", "moco"), text), None)]
    return make_dataclass("Words", added, bases=(Words, Inputs), frozen=True, kw_only=True)


def early_type(words: Any) -> Any:
    """Return the dataclass of what must be known before there is a preset."""
    conf = _tyro().conf
    steps, batch = (Annotated[int, conf.arg(name=f"loop.{n}")] for n in ("steps", "batch_size"))
    whole = [("words", Annotated[words, conf.arg(name="")], words())]
    whole += [("steps", steps, 0), ("batch", batch, 0)]
    return make_dataclass("Early", whole, frozen=True, kw_only=True)


def options_type(words: Any, run: type) -> Any:
    """Return the dataclass of all flags: the words, and the fields of a run by their names."""
    hints = get_type_hints(run)
    flag_from = _tyro().conf.arg(name="from")  # which cannot be a field's name
    settings = [
        (f.name, Annotated[hints[f.name], flag_from] if f.name == "start" else hints[f.name])
        for f in fields(run)
        if f.name != "inputs"
    ]
    whole = [("words", Annotated[words, _tyro().conf.arg(name="")]), *settings]
    about = {"__doc__": run.__doc__}
    return make_dataclass("Options", whole, namespace=about, frozen=True, kw_only=True)


def _inputs(words: Any, in_file: Any) -> Any:
    """Return the networks that words and file name; None for a phase that reads none."""
    from stylefeatureeditor.training.run_folder import Inputs
    from stylefeatureeditor.weights.configs import changed

    if not isinstance(words, Inputs):
        return None
    inputs = changed(Inputs(), in_file, "settings.inputs")
    given = {f.name: getattr(words, f.name) for f in fields(Inputs) if getattr(words, f.name)}
    if given.keys() & {"model", "generator"}:  # the file may have named the other
        given = {"model": None, "generator": None, **given}
    return replace(inputs, **given)


def _preset(
    phase: str, words: Any, inputs: Any, steps: int | None, batch: int | None, *, asks_help: bool
) -> Any:
    """Return the run that the words begin with."""
    from stylefeatureeditor.training import presets
    from stylefeatureeditor.training.run_folder import open_start, own_strengths

    ablation = getattr(words, "ablation", None)
    if phase == "generator":
        name = words.preset or presets.default_preset(phase, words.size)
        return presets.generator_run(name, words.size, batch)
    if phase == "attributes":
        return presets.attributes_run(words.preset or "small")
    model, name, directions = None, words.preset or "paper", None
    if not asks_help:
        if phase == "editor" and inputs.model is None:
            raise ConfigError(
                "say which model to start from: --model DIR, the run of `sfe train inverter`"
            )
        start = open_start(inputs.model, inputs.generator)
        generator = start.generator.config
        known = None if start.model is None else start.model.config
        name = words.preset or presets.default_preset(phase, generator.size)
        model = presets.model_config(name, generator, known)
        if phase == "editor":
            start.need("inverter", *(() if ablation == "without-e4e" else ("e4e",)))
            if model.catalog is None or name in presets.STEPS:
                directions = own_strengths(start.folder)
    if phase == "e4e":
        return presets.e4e_run(name, model, steps)
    if phase == "inverter":
        return presets.inverter_run(name, model, ablation, steps)
    return presets.editor_run(name, model, directions, ablation, steps)


# --- tyro -------------------------------------------------------------------------------------


def _tyro() -> Any:
    try:
        import tyro
    except ImportError as error:
        raise DependencyError(
            "training needs tyro: run `pip install 'stylefeatureeditor[train]'`"
        ) from error
    return tyro


def reading() -> dict[str, Any]:
    """Return how tyro reads our dataclasses: an optional part shows the fields it has."""
    tyro = _tyro()
    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(_plain_values)
    return {"config": (tyro.conf.AvoidSubcommands,), "registry": registry}


def _parse(kind: Any, args: Sequence[str], phase: str, **more: Any) -> Any:
    """Return what tyro makes of words, or None after it has printed the help."""
    told = StringIO()
    text, example = COMMANDS[phase]
    try:
        with redirect_stderr(told):
            return _tyro().cli(
                kind,
                args=list(args),
                prog=f"sfe train {phase}",
                description="\n\n".join([f"{text}; example:", *example.splitlines()]),
                **reading(),
                **more,
            )
    except SystemExit as end:
        if not end.code:
            return None
        said = _sentence(told.getvalue())
        see = " See" if said.endswith("?") else "; see"
        raise ConfigError(f"{said}{see} `sfe train {phase} --help`") from None


def _plain_values(info: Any) -> Any:
    """Return how a flag's words are read where tyro's way differs from a file's."""
    kind = info.type
    if kind is int:
        return _rule("INT", 1, lambda words: _whole(words[0]), int, lambda value: [str(value)])
    if kind is type(None):
        return _rule("none", 1, lambda _: None, kind, lambda _: ["none"], choices=("none",))
    if get_origin(kind) is not dict:
        return None
    of_text = kind.__args__[1] is str  # else several numbers
    return _rule(
        "NAME=RULE" if of_text else "NAME=NUMBER,...",
        "*",
        lambda words: dict(_named(word, of_text=of_text) for word in words),
        dict,
        lambda value: [
            f"{name}={item if of_text else ','.join(map(str, item))}"
            for name, item in value.items()
        ],
    )


def _rule(metavar: str, nargs: Any, read: Any, kind: type, write: Any, **more: Any) -> Any:
    return _tyro().constructors.PrimitiveConstructorSpec(
        nargs=nargs,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: type(value) is kind,
        str_from_instance=write,
        **more,
    )


def _whole(word: str) -> int:
    """Return 100000 for "100000" and "1e5"."""
    with suppress(ValueError):
        return int(word)
    with suppress(ValueError, OverflowError):
        if float(word).is_integer():
            return int(float(word))
    raise ValueError(f"expected a whole number, got {word!r}")


def _named(word: str, *, of_text: bool) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not name or not equals:
        raise ValueError(f"expected NAME=VALUE, got {word!r}")
    return name, value if of_text else tuple(map(float, value.split(",")))


def _sentence(box: str) -> str:
    """Return the message in a box of tyro's, and the flags that it thinks were meant."""
    lines = [line.strip(" │╰╯") for line in box.splitlines()]
    lines = lines[1:] if lines[0].startswith("╭") else lines[2:]  # its title
    parts: list[list[str]] = [[]]
    for line in filter(None, lines):
        if line.strip("─-"):
            parts[-1].append(line)
        else:
            parts.append([])
    said = " ".join(parts[0]).rstrip(".")
    guesses = next((part for part in parts if part and part[0].startswith("Perhaps")), [])
    near = [line.split()[0] for line in guesses if line.startswith("--")]
    return f"{said}; did you mean {' or '.join(near[:3])}?" if near else said
