from __future__ import annotations

import difflib
import re
from importlib.resources import files

import stylefeatureeditor as sfe
from inventory import FILE, command_lines, inventory, python_lines
from stylefeatureeditor.cli.main import build_parser


def test_no_public_name_parameter_or_flag_appears_or_goes_unnoticed():
    known, now = FILE.read_text(encoding="utf-8").splitlines(), inventory().splitlines()
    changes = [
        line
        for line in difflib.unified_diff(known, now, "inventory.txt", "the code", lineterm="", n=0)
        if not line.startswith("@@")
    ]
    assert not changes, (
        "\n".join(changes) + "\nif this is meant: python tests/inventory.py, and see "
        "'Versions' in CONTRIBUTING.md for what it asks of the CHANGELOG and the version"
    )


def test_the_inventory_sees_names_parameters_and_flags():
    lines = list(python_lines())
    assert any(line.startswith("Editor.edit(photo, edits, *, ") for line in lines)
    assert "WeightsError(SfeError, ValueError)" in lines
    assert any(line.startswith("Photo(pixels, alpha=") for line in lines)
    assert {line.partition("(")[0].partition(".")[0] for line in lines} == set(sfe.__all__)
    commands = dict(line.split(": ", 1) for line in command_lines(build_parser(), "sfe"))
    assert commands["sfe"] == "--version"
    assert "-e|--edit" in commands["sfe edit"] or "-e" in commands["sfe edit"]
    assert "sfe models pull" in commands


def test_the_inventory_sees_a_new_flag_and_a_new_choice():
    parser = build_parser()
    before = list(command_lines(parser, "sfe"))
    parser.add_argument("--new", choices=("a", "b"))
    assert set(command_lines(parser, "sfe")) - set(before) == {"sfe: --version --new={a,b}"}


def test_the_package_says_that_it_is_typed():
    assert files("stylefeatureeditor").joinpath("py.typed").is_file()


def test_the_version_is_a_semantic_one():
    assert re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((a|b|rc)\d+)?", sfe.__version__)
