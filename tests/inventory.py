"""tests/inventory.txt: every public name, parameter and flag; none comes or goes unnoticed.

    python tests/inventory.py       writes the file anew, after a change that is meant

Public is what `stylefeatureeditor.__all__` names, its classes' methods and fields without a leading
underscore, and the words of the command line. CONTRIBUTING.md says what a change of them asks for.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stylefeatureeditor as sfe
from stylefeatureeditor.cli.main import build_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).with_name("inventory.txt")


def inventory() -> str:
    """Return the content of the file as the code has it now."""
    return "\n".join([*python_lines(), "", *command_lines(build_parser(), "sfe")]) + "\n"


def python_lines() -> Iterator[str]:
    """Return the public names with their parameters; a default is shown as `=`."""
    for name in sorted(sfe.__all__):
        thing = getattr(sfe, name)
        if not inspect.isclass(thing):
            yield f"{name}{_parameters(thing)}"
        elif issubclass(thing, Exception):
            yield f"{name}({', '.join(base.__name__ for base in thing.__bases__)})"
        else:
            yield f"{name}{_parameters(thing)}"
            yield from (f"{name}.{member}" for member in sorted(_members(thing)))


def command_lines(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    """Return every command with its words and flags."""
    words, inner, actions = [], [], parser._actions
    if parser.get_default("takes_settings"):
        actions = _cli_page().training_flags(name.split()[-1])
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):
            inner = sorted(action.choices.items())
        elif not isinstance(action, argparse._HelpAction):
            shown = "|".join(action.option_strings) or str(action.metavar or action.dest)
            metavar = str(action.metavar)  # tyro's choices are a set: their order is here
            choices = f"={metavar[5:]}" if metavar.startswith("none|{") else ""
            if action.choices and not choices:
                choices = f"={{{','.join(map(str, action.choices))}}}"
            words.append(f"{shown}{choices}")
    if words:
        yield f"{name}: {' '.join(words)}"
    for word, command in inner:
        yield from command_lines(command, f"{name} {word}")


def _cli_page() -> Any:
    path = Path(__file__).parents[1] / "docs" / "site" / "cli_page.py"
    spec = importlib.util.spec_from_file_location("cli_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _members(thing: type) -> Iterator[str]:
    """Public methods, properties and fields of a class that this package defines."""
    fields = {field.name for field in dataclasses.fields(thing)} if _is_record(thing) else set()
    own = {
        name: value
        for base in reversed(thing.__mro__)
        if base.__module__.startswith("stylefeatureeditor")
        for name, value in vars(base).items()
    }
    for name, value in own.items():
        if name.startswith("_") or name in fields:
            continue
        function = getattr(value, "__func__", value)
        yield f"{name}{_parameters(function)}" if inspect.isfunction(function) else name


def _is_record(thing: type) -> bool:
    return dataclasses.is_dataclass(thing)


def _parameters(function: Any) -> str:
    shown, keyword_only = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            shown.append("*")
        default = "" if parameter.default is parameter.empty else "="
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        keyword_only |= star == "*"
        shown.append(f"{star}{parameter.name}{default}")
    return f"({', '.join(name for name in shown if name not in ('self', 'cls'))})"


if __name__ == "__main__":
    FILE.write_text(inventory(), encoding="utf-8")
