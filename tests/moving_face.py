"""Videos of a real face that pans, zooms and turns by known motion, with sound of known samples."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image
from skimage.data import astronaut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WIDTH, HEIGHT = 240, 180
MIDDLE = (224.0, 118.0)  # of the face in skimage's astronaut
SOUND_RATE = 16000


@dataclass(frozen=True)
class Pose:
    """Where the face is: its middle in the frame, its size against the photo's, and its turn."""

    x: float
    y: float
    zoom: float = 0.6
    degrees: float = 0.0


def swaying(seconds: float) -> Pose:
    """A face that goes around in some seconds."""
    turn = 2 * np.pi * seconds / 4
    return Pose(
        120 + 20 * np.sin(turn), 90 + 8 * np.cos(turn), 0.6 + 0.05 * np.sin(turn), 6 * np.sin(turn)
    )


def draw(
    poses: Sequence[Pose], size: tuple[int, int] = (WIDTH, HEIGHT), noise: int = 2
) -> np.ndarray:
    """Return a frame with the face at each of the poses, (H, W, 3); later ones lie in front."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    ground = np.stack([90 + 40 * np.sin(x / 17), 110 + 30 * np.cos(y / 23), 0 * x + 120], axis=-1)
    frame = Image.fromarray(ground.astype(np.uint8))
    photo = Image.fromarray(astronaut()).convert("RGB")
    for pose in poses:
        turn = np.deg2rad(pose.degrees)
        a, b = np.cos(turn) / pose.zoom, np.sin(turn) / pose.zoom
        across = (a, b, MIDDLE[0] - a * pose.x - b * pose.y)
        down = (-b, a, MIDDLE[1] + b * pose.x - a * pose.y)
        moved = photo.transform(frame.size, Image.Transform.AFFINE, (*across, *down), 3)
        reach = ((x - pose.x) ** 2 + (y - pose.y) ** 2) ** 0.5 / (100 * pose.zoom)
        mask = Image.fromarray((np.clip((1.25 - reach) * 4, 0, 1) * 255).astype(np.uint8))
        frame.paste(moved, (0, 0), mask)
    seed = int(sum(pose.x * 1000 + pose.y for pose in poses))
    grain = np.random.default_rng(seed).integers(-noise, noise + 1, (height, width, 1))
    return np.clip(np.asarray(frame) + grain, 0, 255).astype(np.uint8)


def frames(seconds: float, rate: float = 25) -> Iterator[np.ndarray]:
    """Yield the frames of a swaying face."""
    for number in range(round(seconds * rate)):
        yield draw([swaying(number / rate)])


def tone(seconds: float) -> np.ndarray:
    """Return known samples, (1, n) int16."""
    time = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    return (8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)[None]


def write_film(
    path: Path,
    pictures: Iterator[np.ndarray] | Sequence[np.ndarray],
    *,
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    codec: str = "libx264",
    format: str = "yuv420p",  # noqa: A002
    sound: str | None = None,
    turn: int = 0,
    colour: tuple[int, int, int, int] | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """Write a film; `colour` is range, primaries, transfer and matrix as H.273 numbers them."""
    quick = {"crf": "16", "preset": "veryfast"} if codec in ("libx264", "libx265") else {}
    if codec == "libx265":
        quick["x265-params"] = "log-level=none"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={**quick, **(options or {})})
        heard = out.add_stream(sound, rate=SOUND_RATE) if sound else None
        if heard:
            heard.layout = "mono"
        stream.pix_fmt = format
        context = stream.codec_context
        context.time_base = time_base
        if colour:
            names = ("color_range", "color_primaries", "color_trc", "colorspace")
            for name, value in zip(names, colour, strict=True):
                setattr(context, name, value)
        number = 0
        for number, pixels in enumerate(pictures):
            if not number:
                stream.height, stream.width = pixels.shape[:2]
                if turn:
                    stream.set_display_rotation(turn)
            frame = av.VideoFrame.from_ndarray(pixels).reformat(
                format=format,
                dst_colorspace="itu709" if colour and colour[3] == 1 else None,
                dst_color_range="JPEG" if colour and colour[0] == 2 else "MPEG",
            )
            frame.pts = number if times is None else int(times[number])
            frame.time_base = time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if heard:
            layout = av.AudioFrame.from_ndarray(tone((number + 1) / 25), "s16", "mono")
            layout.sample_rate, layout.pts = SOUND_RATE, 0
            out.mux(heard.encode(layout))
            out.mux(heard.encode(None))
