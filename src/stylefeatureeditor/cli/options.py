"""What the commands share on the command line: the parser, common options, the model they name."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, NoReturn

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.weights.sources import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    Run = Callable[[argparse.Namespace], int]


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


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add --model."""
    parser.add_argument(
        "--model",
        metavar="NAME|DIR",
        default=DEFAULT_MODEL,
        help="a name that `sfe models list` shows, or a model folder (%(default)s)",
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


def add_layers(parser: argparse.ArgumentParser) -> None:
    """Add --layers."""
    parser.add_argument(
        "--layers",
        type=layer_range,
        metavar="FROM:TO",
        help="style vectors it moves, TO not included; all if left out",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="write JSON")


def device(text: str) -> str:
    """Read a device's name."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"expected auto, cpu, cuda, cuda:N or mps, got '{text}'")
    return text


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got '{text}'")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    """Split "a:b" at its only colon."""
    first, colon, second = text.partition(":")
    if not colon or ":" in second:
        raise argparse.ArgumentTypeError(f"expected two numbers as in 1:2, got '{text}'")
    return first, second


def layer_range(text: str) -> tuple[int, int]:
    """Read "a:b", style vectors from a up to b."""
    first, end = pair(text)
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"expected two whole numbers as in 0:7, got '{text}'")
    return int(first), int(end)


def row_rule(text: str) -> tuple[str, str]:
    """Read COLUMN=RULE, a rule on the table beside the photos."""
    column, equals, rule = text.partition("=")
    if not equals or not column or not rule:
        raise argparse.ArgumentTypeError(f"expected COLUMN=RULE as in split=test, got '{text}'")
    return column, rule
