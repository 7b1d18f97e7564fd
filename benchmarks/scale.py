"""Photos per hour on 1, 8 and 64 GPUs, and what they cost: the tables of docs/guides/scale.md.

    python -m benchmarks.scale                            # measures the parts, rewrites the tables
    python -m benchmarks.scale --ray FOLDER --out EMPTY   # a folder run beside two actors

What happens on a processor is measured here, in processor time of one core; the rest is assumed and
named in the guide.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from PIL import Image
from skimage.data import astronaut

from benchmarks.measure import ROOT
from stylefeatureeditor.cli.batch import Job
from stylefeatureeditor.cli.cluster import open_work
from stylefeatureeditor.cli.edit import open_edits
from stylefeatureeditor.cli.main import build_parser
from stylefeatureeditor.cluster import spread
from stylefeatureeditor.editor import align
from stylefeatureeditor.files import atomic_path, file_word
from stylefeatureeditor.photo.image import read_photo, to_picture, visible
from stylefeatureeditor.photo.landmarks import find_faces
from stylefeatureeditor.photo.paste_back import paste_faces

if TYPE_CHECKING:
    from collections.abc import Callable

GUIDE = ROOT / "docs" / "guides" / "scale.md"
MARKS = "<!-- figures -->", "<!-- end of figures -->"
SIDES = {"1 megapixel": 1024, "12 megapixels": 3464}
GPUS = (1, 8, 64)
NETWORK = 0.07  # s a photo on a V100, the paper's figure for an edit
CORES = 8  # of a machine, for each of its GPUs
STORE = 1.25e9  # bytes/s that the machines' common disk gives and takes: 10 Gbit/s
PRICE = 3.0  # $ an hour for a GPU with its cores


def least(work: Callable[[], Any], repeats: int = 1) -> float:
    """Return the least processor time of some runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = burnt()  # the detector is a process of its own
        work()
        times.append(burnt() - start)
    return min(times)


def parts(side: int, folder: Path) -> tuple[dict[str, float], int, int]:
    """Return the processor seconds of each part, and the bytes of a photo and of its output."""
    path, out = folder / "photo.jpg", folder / "out.png"
    Image.fromarray(astronaut()).resize((side, side), Image.Resampling.LANCZOS).save(path)
    photo = read_photo(path)
    (found, *_) = find_faces(visible(photo))
    (face,) = align(photo, face=(found.landmarks,))
    drawn = face.pixels.flip(3)
    unseen = visible(photo).copy()  # of the last photo the detector knows the answer
    unseen[0, 0] ^= 1
    paste = partial(paste_faces, [face], drawn, None, blend="feather", masks=[None])
    picture = to_picture(paste(), photo)
    save = partial(picture.save, out)
    seconds = {
        "read, and hash": least(lambda: (read_photo(path), file_word(path))),
        "find the face": least(lambda: find_faces(unseen)),
        "crop": least(lambda: align(photo, face=(found.landmarks,))),
        "paste": least(paste),
        "write PNG": least(save),
    }
    return seconds, path.stat().st_size, out.stat().st_size


def tables() -> str:
    """Measure, and return the guide's tables."""
    with tempfile.TemporaryDirectory() as name:
        measured = {kind: parts(side, Path(name)) for kind, side in SIDES.items()}
    lines = ["| Processor seconds of one core | " + " | ".join(measured) + " |"]
    lines.append("|---|" + "---|" * len(measured))
    each = [seconds for seconds, *_ in measured.values()]
    lines += [
        f"| {part} | " + " | ".join(f"{row[part]:.3f}" for row in each) + " |" for part in each[0]
    ]
    lines.append("| **all** | " + " | ".join(f"{sum(row.values()):.2f}" for row in each) + " |")
    sizes = (f"{(a + b) / 1e6:.1f}" for _, a, b in measured.values())
    lines.append("| MB read and written | " + " | ".join(sizes) + " |")
    lines += ["", "| | GPUs | photos an hour | a million photos take | cost | waits for |"]
    lines.append("|---|---|---|---|---|---|")
    for kind, (seconds, read, written) in measured.items():
        for gpus in GPUS:
            rates = {
                "GPUs": gpus / NETWORK,
                "processors": gpus * CORES / sum(seconds.values()),
                "disk": STORE / (read + written),
            }
            slowest = min(rates, key=rates.__getitem__)
            hour = 3600 * rates[slowest]
            lines.append(
                f"| {kind} | {gpus} | {hour:,.0f} | {1e6 / hour:.1f} h "
                f"| ${1e6 / hour * gpus * PRICE:,.0f} | {slowest} |"
            )
    return "\n".join(lines)


def burnt() -> float:
    """Return the processor seconds of this process and of all it started that are alive."""
    here = psutil.Process()
    return sum(
        one.cpu_times().user + one.cpu_times().system
        for one in (here, *here.children(recursive=True))
    )


def beside_a_folder_run(folder: Path, out: Path) -> None:
    """Edit a folder without and with two actors and print seconds a photo, start-up aside."""
    args = build_parser().parse_args(["edit", str(folder), "-e", "smile=2", "--recursive"])
    photos = sorted(folder.iterdir())
    start, clock = burnt(), time.perf_counter()
    maker = open_edits(args)
    marks = []
    for place in ("here", "there"):
        (out / place).mkdir(parents=True)
    for job, _ in maker.make([Job(path, out / "here" / f"{path.stem}.png") for path in photos]):
        del job
        marks.append((burnt(), time.perf_counter(), len(marks) + 1))
    tell("folder run", start, clock, marks[args.batch_size - 1 :])
    rows = [(str(path), str(out / "there" / f"{path.stem}.png")) for path in photos]
    start, clock, marks = burnt(), time.perf_counter(), []
    seen: list[dict[str, Any]] = []

    def see(table: list[dict[str, Any]]) -> None:
        seen.extend(table)
        marks.append((burnt(), time.perf_counter(), len(seen)))

    count = spread(rows, partial(open_work, args, open_edits), out / "there", actors=2, see=see)
    tell("two actors", start, clock, marks)
    same = Counter(
        (out / "here" / path.name).read_bytes() == path.read_bytes()
        for path in (out / "there").glob("*.png")
    )
    print(f"{dict(count)}; files equal to the folder run's: {same[True]}, not: {same[False]}")


def tell(what: str, start: float, clock: float, marks: list[tuple[float, float, int]]) -> None:
    """Print what a photo takes between the first and the last mark, and all before the first."""
    (cpu, wall, before), (cpu_end, wall_end, end) = marks[0], marks[-1]
    photos = end - before
    print(
        f"{what}: {(cpu_end - cpu) / photos:.3f} s of processor a photo, "
        f"{(wall_end - wall) / photos:.3f} s on the clock; the first {before} with start-up "
        f"{cpu - start:.1f} s and {wall - clock:.1f} s",
        flush=True,
    )


def main() -> None:
    """Rewrite the guide's tables, or compare two actors with a folder run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ray", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.ray:
        beside_a_folder_run(args.ray, args.out)
        return
    head, rest = GUIDE.read_text("utf-8").split(MARKS[0], 1)
    tail = rest.split(MARKS[1], 1)[1]
    with atomic_path(GUIDE) as part:
        part.write_text(f"{head}{MARKS[0]}\n{tables()}\n{MARKS[1]}{tail}", "utf-8")


if __name__ == "__main__":
    main()
