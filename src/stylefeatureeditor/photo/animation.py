"""Pictures of one size as an animation: GIF, WebP or PNG through Pillow, MP4 through PyAV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stylefeatureeditor.errors import DependencyError, PhotoError
from stylefeatureeditor.files import atomic_path
from stylefeatureeditor.photo.image import on_white

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

ANIMATIONS = (".gif", ".webp", ".mp4")
RATE = 12  # frames a second


def save_animation(frames: Sequence[Image.Image], path: Path, *, rate: int = RATE) -> Path:
    """Write an animation that goes on for ever, whole or not at all; return its path.

    Raises:
        DependencyError: an MP4 needs PyAV, which is not installed.
        PhotoError: the suffix is another, or the file cannot be written.
    """
    suffix, plain = path.suffix.lower(), [on_white(frame) for frame in frames]
    if suffix not in ANIMATIONS:
        raise PhotoError(f"{path.name}: an animation is one of {', '.join(ANIMATIONS)}")
    try:
        with atomic_path(path) as temporary:
            if suffix == ".mp4":
                _write_mp4(plain, temporary, rate)
            else:
                options = {"lossless": True} if suffix == ".webp" else {}
                plain[0].save(
                    temporary,
                    format=suffix[1:].upper(),
                    save_all=True,
                    append_images=plain[1:],
                    duration=round(1000 / rate),
                    loop=0,
                    **options,
                )
    except OSError as error:
        raise PhotoError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _write_mp4(frames: Sequence[Image.Image], path: Path, rate: int) -> None:
    try:
        import av
    except ImportError as error:
        raise DependencyError(
            'an MP4 needs PyAV: run `pip install "stylefeatureeditor[video]"`'
        ) from error
    with av.open(str(path), "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=rate)
        stream.width, stream.height = (side + side % 2 for side in frames[0].size)
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "16"}
        for frame in frames:
            pixels = np.asarray(frame)
            pad = [(0, side % 2) for side in pixels.shape[:2]]
            even = np.pad(pixels, [*pad, (0, 0)], mode="edge")
            video.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        video.mux(stream.encode())
