from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest

from stylefeatureeditor import __version__
from stylefeatureeditor.cli.main import build_parser


def walk(parser: argparse.ArgumentParser):
    """Yield every parser under one, itself included."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from walk(inner)


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m stylefeatureeditor` as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "stylefeatureeditor", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("command", [parser.prog for parser in walk(build_parser())])
def test_every_command_has_help_with_an_example(command, sfe):
    words = command.split()[1:]
    ran = sfe(*words, "--help")
    assert ran.code == 0
    assert f"usage: {command}" in ran.out
    is_group = command in ("sfe directions", "sfe models", "sfe train", "sfe evaluate")
    assert is_group or command in ran.out.partition("example:")[2]


def test_every_option_has_help():
    for parser in walk(build_parser()):
        for action in parser._actions:
            is_group = isinstance(action, argparse._SubParsersAction)
            assert is_group or action.help, f"{parser.prog} {action.dest}"


def test_no_words_show_the_help(sfe):
    ran = sfe()
    assert (ran.code, ran.err) == (0, "")
    assert "edit the faces of photos" in ran.out


def test_version(sfe):
    assert sfe("--version").out == f"sfe {__version__}\n"


def test_help_and_mistakes_import_nothing_heavy():
    program = """
import sys
from stylefeatureeditor.cli.main import main
main(["edit", "--help"])
main(["edit", "photo.png", "-e", "smile"])
heavy = {"torch", "numpy", "PIL", "safetensors"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_a_mistake_leaves_the_interpreter_with_2():
    ran = run("edit", "nothing.png", "-e", "smile=1")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr == "sfe: there is no file nothing.png\n"


@pytest.mark.parametrize("words", [("edit", "x" * 300, "-e", "a=1"), ("models", "info", "x" * 300)])
def test_a_path_that_the_system_refuses_is_one_sentence(words, sfe):
    ran = sfe(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("sfe: ")
    assert ran.err.endswith("File name too long\n")
    assert ran.err.count("\n") == 1


def test_an_interrupt_ends_with_130_and_no_half_file(aligned, model, sfe, monkeypatch):
    def interrupted(_image, file, *_args, **_options):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("PIL.Image.Image.save", interrupted)
    before = set(aligned.parent.iterdir())
    ran = sfe("edit", aligned, "--aligned", "-e", "smile=1", "--model", model)
    assert (ran.code, ran.err) == (130, "sfe: interrupted\n")
    assert set(aligned.parent.iterdir()) == before


def test_an_interrupt_while_commands_are_imported_is_told_as_any_other(sfe, monkeypatch):
    class Finder:
        def find_spec(self, name, *_):
            if name == "stylefeatureeditor.cli.edit":
                raise KeyboardInterrupt

    monkeypatch.delattr("stylefeatureeditor.cli.edit")
    monkeypatch.delitem(sys.modules, "stylefeatureeditor.cli.edit")
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    ran = sfe("--version")
    assert (ran.code, ran.err) == (130, "sfe: interrupted\n")


@pytest.mark.parametrize("words", [("--help",), ("directions", "list")])
def test_a_reader_that_leaves_early_is_no_error(words):
    process = subprocess.Popen(
        [sys.executable, "-m", "stylefeatureeditor", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()  # long before it can write
    complaint = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert complaint == b""
