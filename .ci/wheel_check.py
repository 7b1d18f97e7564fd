"""make wheel-check: the wheel, in an empty environment, edits the demo's photo, offline.

    1  build the wheel from the checkout (pip, in a build environment of its own)
    2  every file of the package that git tracks is in it, and nothing else
    3  a fresh virtual environment gets the wheel, and what it declares that the demo needs
    4  `sfe` runs there; examples/demo.py, copied elsewhere, draws its picture without a network

In step 3 the declared packages are not installed again: those that .venv holds are lent to the
empty environment as links, each one by one, so that a dependency that is not declared is missing
there as it would be for a user. `pip check` then compares the versions with what the wheel asks
for. `--install` installs them from the package index instead, which takes minutes: torch is large.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "stylefeatureeditor"
EXTRA = "demo"
# Refuses every connection, then runs a program as `python FILE` would.
OFFLINE = """
import runpy, socket, sys
def refuse(*_):
    raise OSError("the wheel's demo tried to use the network")
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def main() -> int:
    """Run the steps; an exception or a code other than 0 says what failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="install dependencies by pip")
    parser.add_argument("--pip", default="", help="further arguments for pip")
    args = parser.parse_args()
    further = args.pip.split()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        wheel = build(folder, further)
        tracked = check_content(wheel)
        python = environment(folder / "empty", wheel, further, install=args.install)
        version = check_installed(python, folder)
        picture = demo(python, folder)
        kept = ROOT / "out" / "wheel"
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, kept)
        shutil.copy(picture, kept / "edited.png")
    how = "installed" if args.install else f"lent by {sys.prefix}"
    print(
        f"wheel {version}: {tracked} files, its dependencies {how}; the demo's picture is "
        f"{(kept / 'edited.png').relative_to(ROOT)}"
    )
    return 0


def build(folder: Path, further: list[str]) -> Path:
    """Return the wheel of the checkout."""
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, *further, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_content(wheel: Path) -> int:
    """Compare the files of the wheel with those that git tracks; return their number."""
    listed = run("git", "ls-files", "-z", f"src/{PACKAGE}", cwd=ROOT)
    wanted = {name.removeprefix("src/") for name in listed.split("\0") if name}
    wanted = {name for name in wanted if (ROOT / "src" / name).is_file()}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    about = {name for name in names if ".dist-info/" in name}
    missing, foreign = sorted(wanted - names), sorted(names - about - wanted)
    if missing:
        raise SystemExit(f"the wheel lacks {missing[0]} ({len(missing)} such files)")
    if foreign and "CI" in os.environ:  # while one works, files may wait to be added
        raise SystemExit(f"the wheel holds {foreign[0]}, which git does not track")
    for needed in ("py.typed", "editing/catalog.toml"):
        assert f"{PACKAGE}/{needed}" in names, needed
    assert any(name.endswith("/licenses/LICENSE") for name in about), "the licence is not in it"
    return len(names - about)


def environment(place: Path, wheel: Path, further: list[str], *, install: bool) -> Path:
    """Make an empty environment with the wheel in it; return its Python."""
    venv.create(place, with_pip=True, clear=True)
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if install:
        constraints = ROOT / "constraints.txt"
        pip(python, "install", "-c", constraints, *further, f"{wheel}[{EXTRA}]")
    else:
        pip(python, "install", "--no-deps", "--no-index", wheel)
        lend(needs(wheel), site_packages(python))
    pip(python, "check")
    return python


def needs(wheel: Path) -> list[Distribution]:
    """Return the installed packages that the wheel's declaration asks for, and theirs."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        about = archive.read(name).decode()
    declared = re.findall(r"^Requires-Dist: (.+)$", about, re.MULTILINE)
    found: dict[str, Distribution] = {}
    pending = [(line, {EXTRA}) for line in declared]
    while pending:
        line, extras = pending.pop()
        word, wanted = requirement(line, extras)
        if word == PACKAGE:
            pending += [(line, wanted) for line in declared if "extra ==" in line]
        elif word and word not in found:
            try:
                found[word] = distribution(word)
            except PackageNotFoundError as error:
                raise SystemExit(f"{word} is declared and not in {sys.prefix}") from error
            pending += [(line, wanted) for line in found[word].requires or []]
    return list(found.values())


def requirement(line: str, extras: set[str]) -> tuple[str | None, set[str]]:
    """Return name and extras of a requirement; None if its marker does not hold here."""
    from packaging.requirements import Requirement

    parsed = Requirement(line)
    holds = parsed.marker is None or any(
        parsed.marker.evaluate({"extra": extra}) for extra in (*extras, "")
    )
    name = re.sub(r"[-_.]+", "-", parsed.name).lower()
    return (name if holds else None), set(parsed.extras)


def lend(packages: list[Distribution], target: Path) -> None:
    """Link what each package has installed into another environment, file names at the top."""
    for package in packages:
        for top in sorted({file.parts[0] for file in package.files or [] if file.parts}):
            source = Path(str(package.locate_file(top)))
            if top not in ("..", "__pycache__") and source.exists():
                link = target / top
                if not link.exists():
                    link.symlink_to(source, target_is_directory=source.is_dir())


def site_packages(python: Path) -> Path:
    """Return where an environment keeps its packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run(python, "-I", "-c", code).strip())


def check_installed(python: Path, folder: Path) -> str:
    """Check that the wheel's code answers, and nothing of the checkout; return its version."""
    code = f"import {PACKAGE} as sfe; print(sfe.__file__); print(sfe.__version__)"
    place, version = run(python, "-I", "-c", code, cwd=folder).splitlines()
    assert Path(place).resolve().is_relative_to(folder), f"{place} is not the wheel's"
    sfe = python.with_name("sfe.exe" if os.name == "nt" else "sfe")
    assert run(sfe, "--version", cwd=folder).strip() == f"sfe {version}"
    run(sfe, "doctor", cwd=folder)
    run(sfe, "edit", "--help", cwd=folder)
    return version


def demo(python: Path, folder: Path) -> Path:
    """Run the demo in a folder of its own, without network or checkout; return its picture."""
    place = folder / "demo"
    place.mkdir()
    shutil.copy(ROOT / "examples" / "demo.py", place)
    print(run(python, "-I", "-c", OFFLINE, "demo.py", cwd=place).strip())
    picture = place / "out" / "edited.png"
    assert picture.stat().st_size > 1000, "the demo drew nothing"
    return picture


def pip(python: str | Path, *words: object) -> None:
    """Run pip for one environment."""
    run(python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words)


def run(*words: object, cwd: Path | None = None) -> str:
    """Run a command and return its output; it ends this program, with what it said, if it fails."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=clean, capture_output=True, text=True
    )
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}".strip()
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{said}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
