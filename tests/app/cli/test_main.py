from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest

from stylefeatureeditor import __version__
from stylefeatureeditor.app.cli.main import build_parser

TRAIN = {"--config", "--data", "--help", "--out", "--preset", "--resume"}
PARTS = {"--attributes", "--discriminator", "--identity", "--model", "--tune-from"}

# Every option of every command. A new one is entered here, in the README and in the CHANGELOG.
OPTIONS = {
    "sfe": {"--help", "--version"},
    "sfe edit": {
        "--aligned",
        "--backend",
        "--batch-size",
        "--blend",
        "--compare",
        "--crop-only",
        "--device",
        "--edit",
        "--face",
        "--grid",
        "--help",
        "--mask",
        "--method",
        "--model",
        "--output",
        "--overwrite",
        "--precision",
        "--text",
        "photos",
    },
    "sfe invert": {
        "--aligned",
        "--backend",
        "--device",
        "--face",
        "--help",
        "--method",
        "--model",
        "--output",
        "--overwrite",
        "--precision",
        "photos",
    },
    "sfe export": {
        "--format",
        "--help",
        "--output",
        "--overwrite",
        "--photos",
        "--precision",
        "model",
    },
    "sfe compare": {
        "--aligned",
        "--device",
        "--difference",
        "--edit",
        "--face",
        "--help",
        "--json",
        "--methods",
        "--model",
        "--output",
        "--steps",
        "--tile",
        "photo",
    },
    "sfe app": {"--browser", "--device", "--help", "--host", "--model", "--port"},
    "sfe directions": {"--help"},
    "sfe directions list": {"--help", "--json", "--model"},
    "sfe directions show": {"--help", "--json", "--model", "name"},
    "sfe directions import": {
        "--component",
        "--help",
        "--layers",
        "--model",
        "--name",
        "--range",
        "--scale",
        "file",
    },
    "sfe directions fit": {
        "--classifier",
        "--column",
        "--data",
        "--device",
        "--help",
        "--labels",
        "--layers",
        "--method",
        "--model",
        "--name",
        "--per-style",
        "--pca",
        "--reverse",
        "--samples",
        "--sefa",
        "--where",
        "--without",
    },
    "sfe train": {"--help"},
    "sfe train generator": {*TRAIN, "--grow-from", "--size"},
    "sfe train e4e": {*TRAIN, *PARTS, "--generator"},
    "sfe train inverter": {*TRAIN, *PARTS, "--ablation", "--generator"},
    "sfe train editor": {*TRAIN, *PARTS, "--ablation"},
    "sfe train attributes": {*TRAIN, "--labels"},
    "sfe models": {"--help"},
    "sfe models list": {"--help", "--json"},
    "sfe models pull": {"--help", "--yes", "name"},
    "sfe models convert": {
        "--catalog",
        "--directions",
        "--e4e",
        "--generator",
        "--half",
        "--help",
        "--ir-se50",
        "--iresnet50",
        "--method",
        "--name",
        "--output",
        "--overwrite",
        "--sfe",
        "files",
    },
    "sfe models info": {"--help", "--json", "model"},
    "sfe evaluate": {"--help"},
    "sfe evaluate inversion": {
        "--batch-size",
        "--classifier",
        "--device",
        "--help",
        "--json",
        "--limit",
        "--model",
        "--output",
        "--seed",
        "--steps",
        "--where",
        "--method",
        "data",
    },
    "sfe evaluate editing": {
        "--batch-size",
        "--classifier",
        "--device",
        "--help",
        "--json",
        "--limit",
        "--model",
        "--output",
        "--seed",
        "--steps",
        "--where",
        "--attributes",
        "--edit",
        "--method",
        "data",
    },
    "sfe evaluate compare": {
        "--batch-size",
        "--classifier",
        "--device",
        "--help",
        "--json",
        "--limit",
        "--model",
        "--output",
        "--seed",
        "--steps",
        "--where",
        "--attributes",
        "--data",
        "--edit",
        "--size",
        "entries",
    },
    "sfe doctor": {"--help", "--json"},
}


def walk(parser: argparse.ArgumentParser):
    """Yield every parser under one, itself included."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from walk(inner)


def options(parser: argparse.ArgumentParser) -> set[str]:
    """The long names of a parser's options, and its positional arguments."""
    return {
        action.option_strings[-1] if action.option_strings else action.dest
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction)
    }


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


def test_no_option_appears_or_goes_unnoticed():
    assert {parser.prog: options(parser) for parser in walk(build_parser())} == OPTIONS


@pytest.mark.parametrize("command", OPTIONS)
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
from stylefeatureeditor.app.cli.main import main
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
