"""Video: frames a second, where the time goes, and memory over length.

    python -m benchmarks.video                     the built-in model, a drawn film of 640 x 360
    python -m benchmarks.video --model ffhq --seconds 2
    python -m benchmarks.video --random 1024 --seconds 0.4    weights that nobody trained
    python -m benchmarks.video --memory            10 s against 60 s
    python -m benchmarks.video --gif FILE          a clip before and after, for the guide

A face of the built-in generator moves over plain ground; nobody's face is needed.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stylefeatureeditor.editor import Editor

SEED = 2  # of the drawn face
SHARES = {  # file and function -> what it is part of
    "finding faces": ("find_boxes", "place_landmarks"),
    "networks": ("invert", "edit", "reconstruct"),
    "decoding": ("film_frames",),
    "encoding": ("encode",),
}


def drawn_face(seed: int, psi: float = 0.6) -> Image.Image:
    """Return a face that the built-in generator draws."""
    from stylefeatureeditor import Editor
    from stylefeatureeditor.photo.image import to_uint8

    generator = Editor.from_pretrained("faces").method.generator
    noise = torch.randn(
        1, generator.config.style_dim, generator=torch.Generator().manual_seed(seed)
    )
    with torch.no_grad():
        pixels = generator.synthesize(generator.map(noise, truncation=psi))
    return Image.fromarray(to_uint8(pixels)[0])


def moving_frames(seconds: float, size: tuple[int, int], seed: int) -> Iterator[np.ndarray]:
    """Yield frames at 25 a second: the face sways, nears and turns over plain ground."""
    face, (width, height) = drawn_face(seed), size
    y, x = np.mgrid[:64, :64] / 63 - 0.5
    oval = Image.fromarray((np.clip((0.48 - np.hypot(x, y)) * 12, 0, 1) * 255).astype(np.uint8))
    for number in range(round(seconds * 25)):
        turn = 2 * np.pi * number / 100
        frame = Image.new("RGB", size, (96, 108, 118))
        side = round(height * (0.72 + 0.05 * np.sin(turn)))
        angle = 6 * np.sin(2 * turn)
        moved, mask = (
            picture.resize((side, side), Image.Resampling.BICUBIC).rotate(angle, 2)
            for picture in (face, oval)
        )
        left = width / 2 - side / 2 + width * 0.1 * np.sin(turn)
        top = height / 2 - side / 2 + height * 0.04 * np.cos(turn)
        frame.paste(moved, (round(left), round(top)), mask)
        yield np.asarray(frame)


def make_film(path: Path, seconds: float, size: tuple[int, int], seed: int = SEED) -> None:
    """Write a film of a drawn face that sways."""
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for pixels in moving_frames(seconds, size, seed):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        out.mux(stream.encode(None))


def make_gif(path: Path) -> None:
    """Write a clip before and after: the strength rises and falls within it."""
    from stylefeatureeditor import Editor, edit_video
    from stylefeatureeditor.video.reading import open_clip

    with tempfile.TemporaryDirectory() as folder:
        film, edited = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        make_film(film, 4, (192, 192))
        course = [(0.0, 0.0), (0.8, 0.0), (1.6, 2.0), (3.2, 2.0), (3.9, 0.0)]
        edit_video(Editor.from_pretrained("faces"), film, {"smile": course}, edited)
        pairs = zip(open_clip(film).frames(), open_clip(edited).frames(), strict=True)
        first, *others = (
            Image.fromarray(np.concatenate([a.pixels, b.pixels], axis=1)).quantize(96)
            for a, b in pairs
            if a.number % 2 == 0
        )
        first.save(path, save_all=True, append_images=others, duration=80, loop=0, optimize=True)


def random_editor(size: int) -> Editor:
    """Return an editor of the released architecture with random weights, without directions."""
    from benchmarks.models import config_of, random_model
    from stylefeatureeditor import Editor
    from stylefeatureeditor.runtimes.quick import quicken

    return Editor(quicken(random_model(config_of(size))))


def measure(editor: Editor, label: str, seconds: float, size: tuple[int, int]) -> None:
    """Print frames a processor second and shares of the processor time."""
    from stylefeatureeditor import edit_video
    from stylefeatureeditor.editing.direction import LinearDirection

    config = editor.method.generator.config
    move = LinearDirection("random", torch.full((config.num_styles, config.style_dim), 0.01))
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "in.mp4"
        make_film(film, seconds, size)
        profile = cProfile.Profile(time.process_time)
        start = time.process_time()
        profile.enable()
        edit_video(editor, film, {move: 1.0}, Path(folder) / "out.mp4")
        profile.disable()
        processor = time.process_time() - start
    frames = round(seconds * 25)
    spent = dict.fromkeys(SHARES, 0.0)
    for (_, _, function), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items():
        for part, functions in SHARES.items():
            if function in functions:
                spent[part] += cumulative
    print(f"{label}: {frames} frames of {size[0]} x {size[1]}, {processor:.1f} processor seconds")
    print(f"  {frames / processor:.2f} frames a processor second")
    for part, some in spent.items():
        print(f"  {part:14} {some / processor:.0%}")


def memory(model: str) -> None:
    """Print the peak of a process that edits 10 s, and of one that edits 60 s."""
    for seconds in (10, 60):
        words = [sys.executable, "-m", "benchmarks.video", "--model", model, "--one", str(seconds)]
        found = subprocess.run(words, capture_output=True, text=True, check=True)
        print(f"{seconds} s: {found.stdout.strip()}", flush=True)


def one(model: str, seconds: float) -> None:
    """Edit a small film and print this process's peak."""
    from stylefeatureeditor import Editor, edit_video

    editor = Editor.from_pretrained(model)
    (name, *_) = [entry.name for entry in editor.directions.entries]
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "in.mp4"
        make_film(film, seconds, (240, 180))
        edit_video(editor, film, {name: 1.0}, Path(folder) / "out.mp4")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="faces")
    parser.add_argument("--random", type=int, metavar="SIZE", help="random weights of a size")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--gif", type=Path)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(min(2, torch.get_num_threads()))
    if args.gif:
        make_gif(args.gif)
    elif args.one:
        one(args.model, args.one)
    elif args.memory:
        memory(args.model)
    else:
        from stylefeatureeditor import Editor

        known = args.random is None
        editor = Editor.from_pretrained(args.model) if known else random_editor(args.random)
        label = args.model if known else f"random-{args.random}"
        measure(editor, label, args.seconds, (640, 360))


if __name__ == "__main__":
    main()
