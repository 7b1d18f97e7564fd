"""The Dockerfile against the tree: what it copies is there, what it starts is a command of ours."""

from __future__ import annotations

import json
import re
import shlex
from fnmatch import fnmatch
from pathlib import Path

import pytest

from stylefeatureeditor.cli.main import build_parser
from stylefeatureeditor.weights.configs import tomllib

ROOT = Path(__file__).parents[1]
LINES = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text("utf-8")).splitlines()


def instructions(name: str) -> list[str]:
    """The rest of each line of an instruction."""
    return [line.strip().split(maxsplit=1)[1] for line in LINES if line.split()[:1] == [name]]


def copied() -> list[str]:
    """What is copied from the tree."""
    words = [shlex.split(line) for line in instructions("COPY")]
    return [name for line in words if not line[0].startswith("--from") for name in line[:-1]]


def test_what_is_copied_is_there_and_not_ignored():
    rules = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    assert copied()
    for name in copied():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in rules
    assert "*" in rules  # nothing else gets in, such as photos and models that lie around
    assert not any(
        fnmatch("out/photo.png", rule.removeprefix("!")) for rule in rules if "!" in rule
    )


def test_the_wheel_is_built_from_all_that_it_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    assert needed <= set(copied())
    (install,) = (line for line in instructions("RUN") if "/wheels/*.whl" in line)
    assert "-c /tmp/constraints.txt" in install
    extras = re.search(r"\[([\w,]+)\]\"", install)[1].split(",")
    assert set(extras) <= set(project["project"]["optional-dependencies"])
    (python,) = (line for line in instructions("ARG") if line.startswith("PYTHON="))
    versions = [line.rsplit(" ")[-1] for line in project["project"]["classifiers"]]
    assert python.removeprefix("PYTHON=") in versions


def test_a_wheel_for_cpus_is_taken_unless_another_is_asked_for():
    assert "DEVICE=cpu" in instructions("ARG")
    (torch,) = (line for line in instructions("RUN") if line.endswith("torch"))
    assert torch.startswith('if [ "$DEVICE" = cpu ]; then torch="--index-url ')


@pytest.mark.parametrize("extra", [[], ["--model", "m", "--queue", "3"]])
def test_what_starts_is_a_command_of_ours_and_what_is_asked_for_its_health(extra):
    (entry,), (words,) = instructions("ENTRYPOINT"), instructions("CMD")[-1:]
    assert json.loads(entry) == ["sfe"]
    args = build_parser().parse_args([*json.loads(words), *extra])
    assert (args.command, args.host) == ("serve", "0.0.0.0")
    assert str(args.port) in instructions("EXPOSE")
    (health,) = instructions("HEALTHCHECK")
    *_, program = json.loads(health[health.index("CMD ") + 4 :])
    compile(program, "health", "exec")
    assert f"http://127.0.0.1:{args.port}/health" in program


def test_it_runs_as_a_user_without_rights():
    (user,) = instructions("USER")
    assert any(f"useradd --create-home {user}" in line for line in instructions("RUN"))
    started = [line.split()[0] for line in LINES if line[:1].isalpha()]
    assert started.index("USER") > len(started) - 1 - started[::-1].index("RUN")
