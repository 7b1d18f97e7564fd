"""README and docs: what they tell a reader to type is run here, or at least read by the parser.

A block of commands runs on tiny models (`docs_world.py`), in the order of its page. One that cannot
run offline, or not in seconds, stands below a comment `<!-- parsed: why -->`.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

import stylefeatureeditor as sfe
from docs_world import make_world
from stylefeatureeditor.cli import serve
from stylefeatureeditor.cli.main import build_parser, main
from stylefeatureeditor.cli.train import parsed_over, words_type
from stylefeatureeditor.data.image_sources import name_column, parse_csv
from stylefeatureeditor.training import presets
from stylefeatureeditor.web import api
from stylefeatureeditor.weights.configs import changed, tomllib
from stylefeatureeditor.weights.direction_files import load_own_directions

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
)
MADE_BY_SCRIPTS = {"RESULTS.md", "PERFORMANCE.md", "RELIABILITY.md"}
BLOCK = re.compile(
    r"(?:^<!-- parsed: (?P<why>[^\n]+) -->\n)?^```(?P<kind>\w+)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ENDLESS = ("app", "serve", "train")
# Where they are not ours to name: pip's, make's and accelerate's.
FOREIGN_FLAGS = {"--extra-index-url", "--num_processes", "--machine_rank", "--install"}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    kind: str
    text: str
    parsed_only: bool

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command; comments, line ends and variables are the shell's."""
        lines = self.text.replace("\\\n", " ").splitlines()
        words = [re.sub(r"^(?:[A-Z_]+=\S* )+", "", line) for line in lines]
        return [found for found in (shlex.split(line, comments=True) for line in words) if found]


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    found = BLOCK.finditer(read(page))
    return [Block(b["kind"], b["text"], parsed_only=b["why"] is not None) for b in found]


# --- every command is one that there is ---


def check_sfe(words: list[str]) -> None:
    """Let the real parsers read the words after `sfe`."""
    if "--help" in words:
        assert main(words) == 0
        return
    args, rest = build_parser().parse_known_args(words)
    if getattr(args, "takes_settings", False):
        phase = args.train_command
        run = {
            "generator": lambda: presets.generator_run("small", 64),
            "attributes": lambda: presets.attributes_run("small"),
            "e4e": lambda: presets.e4e_run("paper"),
            "inverter": lambda: presets.inverter_run("paper"),
            "editor": lambda: presets.editor_run("paper"),
        }[phase]()
        parsed_over(run, words_type(phase)(), rest, phase)
    else:
        assert not rest, f"unknown words: {rest}"


def check_make(words: list[str]) -> None:
    targets = re.search(r"^\.PHONY: (.+)$", read("Makefile"), re.MULTILINE)[1].split()
    assert {word for word in words if "=" not in word} <= set(targets)


def check_pip(words: list[str]) -> None:
    assert words[:3] == ["install", "-c", "constraints.txt"]
    extras = re.fullmatch(r"\.\[([\w,]+)\]", words[3])[1].split(",")
    known = read("pyproject.toml").split("[project.optional-dependencies]")[1]
    for extra in extras:
        assert f"\n{extra} = [" in known


def check_bash(words: list[str]) -> None:
    script = ROOT / words[0]
    subprocess.run(["bash", "-n", script], check=True)
    if words[1:]:
        assert f"bash {words[0]} " in script.read_text("utf-8")  # its usage, in its head
        usage = re.search(rf"^#\s+bash {re.escape(words[0])} (.+)$", script.read_text(), re.M)[1]
        assert len(usage.split()) == len(words) - 1


def check_python(words: list[str]) -> None:
    """A script of the repository and its options, or a module and its."""
    path = "/".join(words[1].split(".")) + ".py" if words[0] == "-m" else words[0]
    source = (ROOT / path).read_text("utf-8")
    for flag in (word for word in words if word.startswith("--")):
        assert re.search(rf"{flag}\b(?!-)", source)


def check_accelerate(words: list[str]) -> None:
    from accelerate.commands.launch import launch_command_parser

    assert words[0] == "launch"
    check_launched(launch_command_parser().parse_args(words[1:]))


def check_torchrun(words: list[str]) -> None:
    from torch.distributed.run import get_args_parser

    check_launched(get_args_parser().parse_args(words))


def check_launched(args: object) -> None:
    assert args.module
    assert args.training_script == "stylefeatureeditor"
    check_sfe(args.training_script_args)


def check_pre_commit(words: list[str]) -> None:
    assert words == ["install"]
    assert (ROOT / ".pre-commit-config.yaml").is_file()


def check_curl(words: list[str]) -> None:
    """A form for `sfe serve`: fields that it takes."""
    assert f"http://127.0.0.1:{serve.PORT}/edit" in words
    fields = [word.split("=", 1) for flag, word in pairwise(words) if flag == "-F"]
    assert {"photo", "edits"} <= {name for name, _ in fields}
    for name, text in fields:
        assert re.fullmatch(api.FIELDS[name].get("pattern", "@.+"), text)


def check_docker(words: list[str]) -> None:
    """Arguments that the Dockerfile has, and a command of ours after the image's name."""
    if "--build-arg" in words:
        name = words[words.index("--build-arg") + 1].split("=")[0]
        assert re.search(rf"^ARG {name}=", read("Dockerfile"), re.M)
    if words[0] == "run" and words[-1] != "sfe":
        check_sfe(words[words.index("sfe") + 1 :])


CHECKS = {
    "curl": check_curl,
    "docker": check_docker,
    "sfe": check_sfe,
    "make": check_make,
    "pip": check_pip,
    "bash": check_bash,
    "python": check_python,
    "accelerate": check_accelerate,
    "torchrun": check_torchrun,
    ".venv/bin/pre-commit": check_pre_commit,
}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_every_block_of_a_page_is_understood(page):
    for block in blocks(page):
        if block.kind == "sh":
            for program, *words in block.commands:
                CHECKS[program](words)
        elif block.kind == "toml" and "--edits looks.toml" in read(page):
            named = tomllib.loads((ROOT / "tests" / "looks.toml").read_text("utf-8"))
            assert tomllib.loads(block.text) == named  # with which the commands run
        elif block.kind == "toml":
            path = "mine.toml"
            assert f"--config {path}" in read(page)
            changed(presets.inverter_run("paper"), tomllib.loads(block.text))
        elif block.kind == "csv":
            header, rows = parse_csv(block.text.encode(), Path(page))
            assert (name_column(header), "" in rows[0].values()) == ("file", False)
        else:
            assert block.kind == "python", f"no check for blocks of {block.kind}"
            compile(block.text, page, "exec")


# --- what can run, runs ---


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    make_world(folder)
    return folder


def runs_here(block: Block) -> bool:
    is_ours = block.kind == "python" or any(words[0] == "sfe" for words in block.commands)
    return is_ours and not block.parsed_only


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(runs_here, blocks(page)))])
@pytest.mark.usefixtures("one_thread")
def test_the_commands_of_a_page_run_in_their_order(page, world, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    shutil.copytree(world, here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("SFE_CACHE", str(here / "cache"))
    names: dict[str, object] = {}
    for block in filter(runs_here, blocks(page)):
        if block.kind == "python":
            exec(compile(block.text, page, "exec"), names)
            continue
        for program, *words in block.commands:
            if program == "sfe":
                assert words[0] not in ENDLESS or "--help" in words, "mark the block as parsed"
                assert main(words) == 0, f"sfe {shlex.join(words)}: {capsys.readouterr().err}"


# --- what they say is there, is there ---


def told() -> list[tuple[str, str]]:
    """Every line that tells what to type or write for the built-in model, and where it stands."""
    places = [ROOT / page for page in PAGES if "/adr/" not in page]
    places += [*(ROOT / "src/stylefeatureeditor/cli").glob("*.py"), ROOT / "examples/demo.py"]
    places += [ROOT / "src/stylefeatureeditor/__init__.py"]
    return [
        (place.relative_to(ROOT).as_posix(), line)
        for place in places
        for line in place.read_text("utf-8").replace("\\\n", " ").splitlines()
        if "--model" not in line
    ]


def test_no_example_has_strengths_that_are_warned_of():
    known = load_own_directions(ROOT / "src/stylefeatureeditor/builtin/faces").entries
    ranges = {entry.name: entry.useful_range for entry in known}
    told_of = re.compile(rf"\b({'|'.join(ranges)})(?:=|\": )(-?[\d.]+)(?::(-?[\d.]+))?")
    strengths = [
        (place, line, name, float(number.rstrip(".")))
        for place, line in told()
        for name, *ends in told_of.findall(line)
        for number in filter(None, ends)
    ]
    assert len(strengths) > 50
    outside = [
        (place, line)
        for place, line, name, strength in strengths
        if not ranges[name][0] <= strength <= ranges[name][1]
    ]
    assert not outside


@cache
def known_flags() -> frozenset[str]:
    """Every flag of every command."""
    from_page = re.findall(r"`(--?[\w-]+)", commands_page())
    return frozenset(from_page) | {"--help", "--version"} | FOREIGN_FLAGS


@cache
def commands_page() -> str:
    return cli_page().page()


def cli_page():
    spec = importlib.util.spec_from_file_location("cli_page", DOCS / "site/cli_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_the_parsers():
    assert commands_page() == read("docs/cli.md"), "the help has changed: run `make docs`"


@pytest.mark.parametrize("page", PAGES)
def test_flags_and_commands_in_running_text_exist(page):
    text = BLOCK.sub("", read(page))
    for code in re.findall(r"`([^`]+)`", text):
        code = code.replace("\n", " ")
        for flag in re.findall(r"(?<![\w-])--[a-z][\w.-]*", code):
            if "." in flag:
                settings = [presets.inverter_run("paper"), presets.editor_run("paper")]
                settings += [presets.e4e_run("paper"), presets.generator_run("small", 64)]
                assert any(has_setting(one, flag) for one in settings), flag
            elif not code.startswith(("pip ", "python ")):
                assert flag in known_flags(), flag
        if code.startswith("sfe "):
            first = " ".join(re.split(r" (?=[^a-z])", code)[0].split()[:3])
            headings = re.findall(r"^## (sfe .+)$", commands_page(), re.MULTILINE)
            assert any(h.startswith(first) or first.startswith(h) for h in headings), code


def has_setting(run: object, flag: str) -> bool:
    for name in flag.removeprefix("--").replace("-", "_").split("."):
        if isinstance(run, dict):
            return True
        if not hasattr(run, name):
            return False
        run = getattr(run, name)
    return True


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", read(page))):
        target, _, anchor = link.partition("#")
        if re.match(r"https?:", link) or target in MADE_BY_SCRIPTS:
            continue
        path = (ROOT / page).parent / target if target else ROOT / page
        if path.name in ("changelog.md", "contributing.md"):  # the site calls them so
            path = ROOT / path.name.upper().replace(".MD", ".md")
        assert path.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w-]", "", h.lower().replace(" ", "-")) for h in headings}


def test_every_page_is_in_the_navigation():
    config = yaml.safe_load(read("mkdocs.yml"))
    listed = set(re.findall(r"[\w/]+\.md", str(config["nav"]))) | MADE_BY_SCRIPTS
    there = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert {name for name in there if not name.startswith("adr/0")} <= listed
    decisions = {path.name for path in (DOCS / "adr").glob("0*.md")}
    assert decisions == set(re.findall(r"\]\((0[\w-]+\.md)\)", read("docs/adr/index.md")))


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_every_extra_is_told_of(page):
    section = read("pyproject.toml").split("[project.optional-dependencies]\n")[1].split("\n[")[0]
    told = " ".join(re.findall(r"^\| `.+", read(page), re.MULTILINE))
    for extra in re.findall(r"^(\w+) = ", section, re.MULTILINE):
        assert f"`{extra}`" in told, extra


def test_every_public_name_is_in_the_reference():
    text = "".join(read(f"docs/{name}.md") for name in ("api", "api_training", "api_errors"))
    described = set(re.findall(r"\w+", " ".join(re.findall(r"(?:::: |members: ).+", text))))
    assert set(sfe.__all__) <= described


def test_the_figure_names_files_that_exist():
    figure = read("docs/pictures/method.svg")
    files = re.findall(r">([\w/]+\.py)<|([\w/]+\.py), and", figure)
    names = [first or second for first, second in files]
    assert len(names) >= 10
    package = ROOT / "src/stylefeatureeditor"
    for name in names:
        assert list(package.rglob(name)), name


def test_the_readme_begins_with_the_two_commands():
    first = blocks("README.md")[0]
    assert first.commands == [["make", "demo"], ["make", "test"]]


def test_the_model_card_has_a_place_for_figures():
    card = read("docs/MODEL_CARD.md")
    first, last = "<!-- figures -->", "<!-- end of figures -->"
    assert card.count(first) == card.count(last) == 1
    assert card.index(first) < card.index(last)
