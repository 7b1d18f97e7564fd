"""What the commands share on the command line: the parser and the options that several have."""

from __future__ import annotations

import argparse
import re
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.records import FaceBox
from stylefeatureeditor.weights.sources import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")
Args = argparse.Namespace
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
NAMED = r"(.*\S.*)="  # how an edit begins


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence; options are written in full."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError instead of printing the usage and leaving the interpreter."""
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def add_group(commands: Commands, name: str, text: str, metavar: str = "COMMAND") -> Commands:
    """Return what the commands of a group, such as `sfe models`, are added to."""
    group = commands.add_parser(name, help=text, allow_abbrev=False)
    return group.add_subparsers(metavar=metavar, required=True, dest=f"{name}_command")


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[Args], int],
    *,
    text: str,
    example: str,
    add_help: bool = True,
) -> argparse.ArgumentParser:
    """Return the parser of a new command."""
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    parser = commands.add_parser(
        name,
        help=text.splitlines()[0],
        description=text,
        epilog=f"example:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=add_help,
    )
    parser.set_defaults(run=run)
    return parser


def reader(expected: str, pattern: str, make: Callable[..., Value]) -> Callable[[str], Value]:
    """Return what reads the text of an argument.

    Args:
        expected: what a text that cannot be read is told to be.
        pattern: of the whole text.
        make: gets the groups of the pattern; ValueError says that they mean nothing.
    """

    def read(text: str) -> Value:
        match = re.fullmatch(pattern, text, re.DOTALL)
        try:
            if match:
                return make(*match.groups())
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"expected {expected}, got '{text}'")

    return read


def finite(text: str) -> float:
    """Return a number; ValueError for text, infinity and NaN."""
    number = float(text)
    if not isfinite(number):
        raise ValueError
    return number


def _layers(first: str, end: str) -> tuple[int, int]:
    if not int(first) < int(end):
        raise ValueError
    return int(first), int(end)


device = reader("auto, cpu, cuda, cuda:N or mps", r"(auto|cpu|mps|cuda(?::\d+)?)", str)
finite_number = reader("a number", "(.*)", finite)
positive = reader("a whole number of at least 1", r"(0*[1-9]\d*)", int)
whole = reader("a whole number", r"(\d+)", int)
layer_range = reader("two whole numbers as in 0:7", r"(\d+):(\d+)", _layers)
strength = reader(
    "NAME=STRENGTH as in smile=2", NAMED + "([^=]*)", lambda name, by: (name.strip(), finite(by))
)
which_face: Callable[[str], str | int] = reader(
    "largest, all or a number",
    r"(largest|all|\d+)",
    lambda word: int(word) if word.isdecimal() else word,
)
row_rule = reader("COLUMN=RULE as in split=test", r"([^=]+)=(.+)", lambda *words: words)


MODEL = "a name that `sfe models list` shows, or a model folder"
COMMON: dict[str, dict[str, Any]] = {
    "--model": {
        "metavar": "NAME|DIR",
        "default": DEFAULT_MODEL,
        "help": "a name that `sfe models list` shows, a model folder, or ORG/NAME[@REVISION] of "
        "the Hugging Face Hub (%(default)s)",
    },
    "--method": {
        "metavar": "NAME",
        "help": "another method: sfe-without-h, e4e, w+ or pti on the networks of --model, or one "
        "that `sfe models list` shows, such as psp; left out, the one that --model holds",
    },
    "--device": {
        "type": device,
        "default": "auto",
        "metavar": "auto|cpu|cuda|mps",
        "help": "where the networks run; auto takes the fastest there is (%(default)s)",
    },
    "--backend": {
        "choices": ("torch", "onnx", "openvino"),
        "default": "torch",
        "help": "what runs the networks; onnx and openvino need `sfe export` first (%(default)s)",
    },
    "--precision": {
        "choices": ("float32", "bfloat16", "float16", "int8"),
        "default": "float32",
        "help": "of the networks' convolutions; the others are faster and less exact (%(default)s)",
    },
    "--host": {
        "default": "127.0.0.1",
        "help": "address to listen on; others than %(default)s are warned of",
    },
    "--layers": {
        "type": layer_range,
        "metavar": "FROM:TO",
        "help": "style vectors it moves, TO not included; all if left out",
    },
    "--json": {"action": "store_true", "help": "write JSON"},
    "--edit": {"metavar": "NAME=STRENGTH", "type": strength, "action": "append", "default": []},
    "--output": {"metavar": "OUT"},
    "--aligned": {
        "action": "store_true",
        "help": "search no face: the photo, or its middle square, is the crop",
    },
    "--face": {
        "metavar": "largest|all|N",
        "type": which_face,
        "default": "largest",
        "help": "which face of the photo; 1 is the largest (%(default)s)",
    },
    "--face-box": {
        "nargs": 4,
        "type": finite_number,
        "metavar": ("LEFT", "TOP", "WIDTH", "HEIGHT"),
        "help": "in place of --face where none is found: pixels around brows, chin and cheeks; "
        "with --aligned the crop itself, of a face or anything else",
    },
    "--mask": {"metavar": "face|FILE|none", "default": "none"},
    "--where": {"metavar": "COLUMN=RULE", "type": row_rule, "action": "append", "default": []},
    "--batch-size": {"type": positive, "default": 4, "metavar": "N"},
    "--recursive": {
        "action": "store_true",
        "help": "of a folder: the photos in folders below it too",
    },
    "--overwrite": {
        "action": "store_true",
        "help": "in a batch, do photos again whose output is there already",
    },
}
SHORT = {"--edit": ("-e",), "--output": ("-o",)}


def add_common(parser: argparse._ActionsContainer, *names: str, **changed: Any) -> None:
    """Add options of `COMMON`; `changed` says what differs here."""
    for name in names:
        parser.add_argument(*SHORT.get(name, ()), name, **{**COMMON[name], **changed})


def chosen_face(args: Args) -> str | int | FaceBox:
    """Return what --face and --face-box say together.

    Raises:
        ConfigError: both are given.
    """
    if args.face_box is None:
        return args.face
    if args.face != "largest":
        raise ConfigError("a box says which face: leave --face out")
    return FaceBox(*args.face_box)


def flag(parser: argparse._ActionsContainer, name: str, text: str) -> None:
    """Add an option that is on or off; `text` says what it does."""
    parser.add_argument(name, action="store_true", help=text)
