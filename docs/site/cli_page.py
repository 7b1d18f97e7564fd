"""docs/cli.md, written from the parser of `sfe`.

    python docs/site/cli_page.py docs/cli.md

`make docs` runs it; a test compares the page with the parser.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stylefeatureeditor.cli.main import build_parser

INTRO = """# Command line

<!-- written by docs/site/cli_page.py from the parser: change the help there, then `make docs` -->

Every command has `--help` with an example. Results go to stdout, progress, warnings and errors to
stderr. The exit code is 0 when all is done, 2 after a mistake that is told in one sentence, and
130 after Ctrl-C.
"""
SETTINGS = """
Every setting of the run is a flag of its own, such as `--loop.steps`; `--help` lists them with
their values, and [Training and evaluation](api_training.md) says what they mean.
"""


def page() -> str:
    """Return the page."""
    parts = [INTRO]
    for name, parser in commands(build_parser()):
        parts.append(section(name, parser))
    return "\n".join(parts)


def commands(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    """Return "sfe edit", "sfe models pull", ... with their parsers, without groups of commands."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        return [(parser.prog, parser)]
    return [found for group in groups for one in group.choices.values() for found in commands(one)]


def section(name: str, parser: argparse.ArgumentParser) -> str:
    """Return the text of one command."""
    text = (parser.description or "").strip()
    first, _, rest = text.partition("\n")
    lines = [f"## {name}", "", first[:1].upper() + first[1:] + ".", ""]
    if parser.get_default("takes_settings"):
        lines += [SETTINGS.strip(), ""]
    elif rest:
        lines += [rest[:1].upper() + rest[1:], ""]
    shown = [a for a in parser._actions if a.help != argparse.SUPPRESS and a.dest != "help"]
    lines += [f"- {words(action)}: {meaning(action, parser)}" for action in shown]
    example = (parser.epilog or "").removeprefix("example:").strip("\n")
    lines += ["", "<!-- parsed: examples of the help -->"]
    lines += ["```sh", *(line.removeprefix("  ") for line in example.splitlines()), "```", ""]
    return "\n".join(lines)


def words(action: argparse.Action) -> str:
    """Return how an argument is written."""
    value = action.metavar or ("|".join(action.choices) if action.choices else action.dest.upper())
    value += " ..." if action.nargs in ("+", "*") else ""
    if not action.option_strings:
        return f"`{value}`"
    more = "" if action.nargs == 0 else f" {value}"
    return ", ".join(f"`{option}{more}`" for option in action.option_strings)


def meaning(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Return an argument's help as one line."""
    text = (action.help or "").replace("\n", " ")
    return text % {**vars(action), "prog": parser.prog}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), "utf-8")
