"""docs/cli.md, written from the parser of `sfe`.

    python docs/site/cli_page.py docs/cli.md

`make docs` runs it; a test compares the page with the parser.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from dataclasses import fields
from pathlib import Path

import tyro

from stylefeatureeditor.cli import train
from stylefeatureeditor.cli.main import build_parser
from stylefeatureeditor.training import presets

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
FIRST = ("--data", "--out", "--config", "--preset", "--resume")


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
    actions = parser._actions
    if parser.get_default("takes_settings"):
        actions = training_flags(name.split()[-1])
    shown = [a for a in actions if a.help != argparse.SUPPRESS and "--help" not in a.option_strings]
    lines += [f"- {words(action)}: {meaning(action, parser)}" for action in shown]
    example = (parser.epilog or "").removeprefix("example:").strip("\n")
    lines += ["", "<!-- parsed: examples of the help -->"]
    lines += ["```sh", *(line.removeprefix("  ") for line in example.splitlines()), "```", ""]
    return "\n".join(lines)


def training_flags(phase: str) -> list[argparse.Action]:
    """Return the flags of `sfe train PHASE` that have no dot: its words, and some settings."""
    run = {
        "generator": lambda: presets.generator_run("small", 64),
        "e4e": lambda: presets.e4e_run("paper"),
        "inverter": lambda: presets.inverter_run("paper"),
        "editor": lambda: presets.editor_run("paper"),
        "attributes": lambda: presets.attributes_run("small"),
    }[phase]()
    words = train.words_type(phase)
    kind = train.options_type(words, type(run))
    settings = {f.name: getattr(run, f.name) for f in fields(run) if f.name != "inputs"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        default = kind(words=words(), **settings)
        parser = tyro.extras.get_parser(kind, default=default, **train.reading())
    flags = [a for a in parser._actions if a.option_strings and "." not in a.option_strings[0]]
    return sorted(flags, key=lambda action: action.option_strings[0] not in FIRST)


def words(action: argparse.Action) -> str:
    """Return how an argument is written."""
    value = action.metavar or ("|".join(action.choices) if action.choices else action.dest.upper())
    value = str(value).removeprefix("none|").strip("{}").replace(",", "|")  # tyro's way
    value = "SOURCE" if value.startswith("[STR") else value
    value += " ..." if action.nargs in ("+", "*") else ""
    if not action.option_strings:
        return f"`{value}`"
    more = "" if action.nargs == 0 else f" {value}"
    return ", ".join(f"`{option}{more}`" for option in action.option_strings)


def meaning(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Return an argument's help as one line."""
    text = re.sub(r"\.? \(default: [^)]*\)$", "", (action.help or "").replace("\n", " "))
    return text % {**vars(action), "prog": parser.prog}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), "utf-8")
