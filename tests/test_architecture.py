"""The house rules of docs/ARCHITECTURE.md, as far as a reader of the source can check them.

An import counts wherever it stands: inside a function, or under TYPE_CHECKING. A type in a
signature ties two rooms together as surely as a call does.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Rule = Callable[[ast.AST, str], Iterator[str]]

PACKAGE = "stylefeatureeditor"
ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / PACKAGE
FILES = sorted(SRC.rglob("*.py"))

# A room imports from itself and from the lines above its own; rooms of one line do not meet.
ORDER = (
    ("errors",),
    ("files",),
    ("cluster",),
    ("device",),
    ("records",),
    ("backbones", "generator"),
    ("inversion",),
    ("editing",),
    ("model",),
    ("photo",),
    ("data",),
    ("weights",),
    ("masks",),
    ("runtimes",),
    ("metrics",),
    ("methods",),
    ("editor",),
    ("preview",),
    ("evaluation", "training", "video"),
    ("directions",),
    ("web",),
    ("cli",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
NETWORKS = {"backbones", "generator", "inversion", "editing", "model"}


def where(path: Path) -> str:
    """Dotted place of a file under the package, such as "cli.edit"; "" for the top itself."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] in ("__init__", "__main__") else parts)


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names the source imports; `from a import b` is a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def dotted_names(tree: ast.AST) -> Iterator[str]:
    """Names the source uses, with their attributes: print, torch.load, sys.stdout.write."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            yield ast.unparse(node)


def imports_against_the_order(tree: ast.AST, place: str) -> Iterator[str]:
    room = place.split(".")[0]
    for name in imports(tree):
        if name.startswith("."):
            yield f"relative import {name}"
        if name.split(".")[0] != PACKAGE or room in ("", "cli") or name.endswith("__version__"):
            continue
        other = f"{name}.".split(".")[1]
        if other not in RANK:
            yield f"{name} comes from the package's front door, not from a room"
        elif other != room and RANK[other] >= RANK.get(room, -1):
            yield f"{room} imports {name}"


def networks_that_know_pictures_or_logging(tree: ast.AST, place: str) -> Iterator[str]:
    if place.split(".")[0] in NETWORKS:
        for name in imports(tree):
            if name.split(".")[0] == "PIL" or name.startswith(f"{PACKAGE}.photo"):
                yield f"imports {name}"


def logging_set_up_outside_commands(tree: ast.AST, place: str) -> Iterator[str]:
    setup = ("basicConfig", "dictConfig", "fileConfig", "addHandler", "StreamHandler")
    if place.split(".")[0] not in ("cli", "web"):
        yield from (name for name in dotted_names(tree) if name.split(".")[-1] in setup)


def printing_outside_the_command_line(tree: ast.AST, place: str) -> Iterator[str]:
    if not place.startswith("cli"):
        for name in dotted_names(tree):
            if name in ("print", "sys.stdout", "sys.stderr"):
                yield name


def loading_that_could_run_code(tree: ast.AST, place: str) -> Iterator[str]:
    inside = place.split(".")[0] == "weights"
    for name in imports(tree):
        if name.split(".")[0] in ("pickle", "dill", "joblib", "marshal") and not inside:
            yield f"imports {name}"
        if name == "torch.load":
            yield "torch.load under another name"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if options.get("allow_pickle", "False") != "False":
            yield f"{called}(allow_pickle=True)"
        if called in ("eval", "exec", "pickle.load", "pickle.loads", "torch.load"):
            yield called


def torchvision(tree: ast.AST, place: str) -> Iterator[str]:
    del place  # nowhere at all
    yield from (name for name in imports(tree) if name.split(".")[0] == "torchvision")


def no_docstring(tree: ast.AST, place: str) -> Iterator[str]:
    del place
    if not ast.get_docstring(tree):
        yield "the module has no docstring"


RULES = (
    imports_against_the_order,
    networks_that_know_pictures_or_logging,
    logging_set_up_outside_commands,
    printing_outside_the_command_line,
    loading_that_could_run_code,
    torchvision,
    no_docstring,
)


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Rule, trees: dict[Path, ast.Module]):
    broken = [
        f"{path.relative_to(ROOT)}: {what}"
        for path, tree in trees.items()
        for what in rule(tree, where(path))
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("rule", "place", "source"),
    [
        (imports_against_the_order, "generator.layers", "from stylefeatureeditor.photo import a"),
        (imports_against_the_order, "records", "import stylefeatureeditor.editor"),
        (imports_against_the_order, "editing.fit", "from stylefeatureeditor import weights"),
        (imports_against_the_order, "weights.x", "from stylefeatureeditor import Editor"),
        (imports_against_the_order, "editor", "from . import photo"),
        (imports_against_the_order, "photo.a", "def f():\n    import stylefeatureeditor.cli"),
        (networks_that_know_pictures_or_logging, "inversion.fuser", "from PIL import Image"),
        (networks_that_know_pictures_or_logging, "model", "import stylefeatureeditor.photo.image"),
        (logging_set_up_outside_commands, "editor", "import logging\nlogging.basicConfig()"),
        (printing_outside_the_command_line, "web", "print('hello')"),
        (printing_outside_the_command_line, "weights.x", "import sys\nsys.stderr.write('')"),
        (loading_that_could_run_code, "weights.x", "torch.load(p, weights_only=True)"),
        (loading_that_could_run_code, "weights.x", "torch.load(p)"),
        (loading_that_could_run_code, "weights.x", "from torch import load"),
        (loading_that_could_run_code, "editing.x", "import pickle"),
        (loading_that_could_run_code, "weights.x", "np.load(p, allow_pickle=True)"),
        (torchvision, "evaluation.perceptual", "from torchvision.models import vgg16"),
        (no_docstring, "editor", "x = 1"),
    ],
)
def test_a_rule_sees_what_breaks_it(rule: Rule, place: str, source: str):
    assert list(rule(ast.parse(source), place))


def test_rules_let_ordinary_code_pass():
    source = '"""Says what it does."""\nfrom stylefeatureeditor.generator.layers import a\nf(a)'
    for rule in RULES:
        assert not list(rule(ast.parse(source), "inversion.fuser"))


def test_every_room_has_its_place_in_the_order_and_in_the_document():
    rooms = {where(path).split(".")[0] for path in FILES} - {""}
    document = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert rooms <= set(RANK)
    assert not [room for room in RANK if f"| `{room}" not in document]


def circles(imported: dict[str, set[str]]) -> set[tuple[str, ...]]:
    """The files that import each other, directly or through others, a sorted tuple a circle."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        left = [start]
        while left:
            fresh = imported[left.pop()] - found
            found |= fresh
            left += fresh
        return found

    ways = {place: reached(place) for place in imported}
    rings = {tuple(sorted(b for b in ways[a] if a in ways[b])) for a in imported}
    return {ring for ring in rings if ring}


def test_no_file_imports_one_that_imports_it(trees: dict[Path, ast.Module]):
    places = {where(path): tree for path, tree in trees.items() if path.stem != "__init__"}
    imported = {place: set[str]() for place in places}
    for place, tree in places.items():
        for name in imports(tree):
            parts = name.split(".")[1:] if name.startswith(f"{PACKAGE}.") else []
            names = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
            imported[place] |= {name for name in names if name in places and name != place}
    assert not circles(imported)


def test_a_circle_is_seen_however_long():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {("a", "b", "c")}
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_importing_the_package_asks_for_no_optional_package():
    """Asking counts even where the package is absent and the failure is caught."""
    optional = {
        "torchvision",
        "starlette",
        "matplotlib",
        "dlib",
        "skimage",
        "sklearn",
        "onnx",
        "transformers",
        "av",
        "cv2",
        "pandas",
        "pyarrow",
        "ray",
    }
    program = f"""
import sys, torch, PIL.Image, safetensors.torch
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in {optional}:
            print(name)
sys.meta_path.insert(0, Watch())
import stylefeatureeditor
print("imported")
"""
    result = subprocess.run(  # a fresh interpreter: this one has imported them for other tests
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert result.stdout.split() == ["imported"]


def test_opening_a_model_does_not_wait_for_torchs_compiler():
    """A second of imports, which arithmetic on the meta device would bring in."""
    program = """
import sys
from stylefeatureeditor import Editor
Editor.from_pretrained("faces")
print(*{"torch._dynamo", "sympy"} & set(sys.modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert result.stdout.split() == []


def test_a_plain_edit_imports_no_evaluation_and_no_method_that_optimises(tmp_path):
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    Image.new("RGB", (64, 64), "grey").save(photo)
    program = """
import sys
from stylefeatureeditor.cli.main import main
assert main(["edit", sys.argv[1], "--aligned", "-e", "smile=1", "-o", sys.argv[2]]) == 0
print(*(name for name in sys.modules if name.startswith("stylefeatureeditor")), sep="\\n")
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(photo), str(out)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    seen = result.stdout.splitlines()
    assert "stylefeatureeditor.methods.sfe" in seen
    never = ("evaluation", "training", "web", "metrics", "methods.pti", "methods.optimisation")
    starts = tuple(f"{PACKAGE}.{name}" for name in never)
    assert not [name for name in seen if name.startswith(starts)]
