"""What the commands share on the command line: the parser, common options, the model they name."""

from __future__ import annotations

import argparse
import re
from math import isfinite
from typing import TYPE_CHECKING, NoReturn, TypeVar

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.weights.sources import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    Run = Callable[[argparse.Namespace], int]

Value = TypeVar("Value")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence; options are written in full."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError instead of printing the usage and leaving the interpreter."""
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def add_command(
    commands: Commands, name: str, run: Run, *, text: str, example: str, add_help: bool = True
) -> argparse.ArgumentParser:
    """Return the parser of a new command.

    Args:
        commands: what it is added to.
        name: what the user types.
        run: does the work and returns the exit code.
        text: what it does, one line; more lines only show in its own help.
        example: one or several command lines for the end of its help.
        add_help: False for a command that makes its own --help.
    """
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
row_rule = reader("COLUMN=RULE as in split=test", r"([^=]+)=(.+)", lambda *words: words)


def flag(parser: argparse._ActionsContainer, name: str, text: str) -> None:
    """Add an option that is on or off; `text` says what it does."""
    parser.add_argument(name, action="store_true", help=text)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add --model."""
    parser.add_argument(
        "--model",
        metavar="NAME|DIR",
        default=DEFAULT_MODEL,
        help="a name that `sfe models list` shows, a model folder, or ORG/NAME[@REVISION] of the "
        "Hugging Face Hub (%(default)s)",
    )


def add_method(parser: argparse.ArgumentParser) -> None:
    """Add --method."""
    parser.add_argument(
        "--method",
        metavar="NAME",
        help="another method: sfe-without-h, e4e, w+ or pti on the networks of --model, or one "
        "that `sfe models list` shows, such as psp; left out, the one that --model holds",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument(
        "--device",
        type=device,
        default="auto",
        metavar="auto|cpu|cuda|mps",
        help="where the networks run; auto takes the fastest there is (%(default)s)",
    )


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add --backend and --precision."""
    parser.add_argument(
        "--backend",
        choices=("torch", "onnx", "openvino"),
        default="torch",
        help="what runs the networks; onnx and openvino need `sfe export` first (%(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "float16", "int8"),
        default="float32",
        help="of the networks' convolutions; the others are faster and less exact (%(default)s)",
    )


def add_layers(parser: argparse._ActionsContainer) -> None:
    """Add --layers."""
    parser.add_argument(
        "--layers",
        type=layer_range,
        metavar="FROM:TO",
        help="style vectors it moves, TO not included; all if left out",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    flag(parser, "--json", "write JSON")
