"""How steady an edit is over time, in numbers.

    TL-ID     mean cos(e_t, e_t+1) of the edited face over that of the source's: 1 is as steady
    TG-ID     the same over all pairs of frames
    warp      mean |V_t - warp(V_t+1)|^2 under the source's optical flow, where the flow holds
    flicker   mean |d_t+1 - 2 d_t + d_t-1| of d = edited - source in the aligned crop

TL-ID and TG-ID are those of Tzaban et al. 2022, "Stitch it in Time"; the warp error is that of Lai
et al. 2018, "Learning Blind Video Temporal Consistency", with OpenCV's DIS for flow (extra
`flow`). Identity e is a unit vector of the crop. All crops are the steady ones of the source.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stylefeatureeditor.errors import FaceError, VideoError
from stylefeatureeditor.photo.align import crop
from stylefeatureeditor.photo.image import to_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    from stylefeatureeditor.video.reading import Frame
    from stylefeatureeditor.video.tracks import Tracks

CROP = 128  # side of the crops that are measured
FLOW_SIDE = 480  # of the frames that flow is measured on
OCCLUDED = 0.02  # squared difference of the source's warp, on [0, 1], above which flow is wrong


@dataclass(frozen=True)
class Steadiness:
    """What is measured of one edited video; None where it cannot be.

    Attributes:
        frames: that have the face.
        tl_id: 1 is as steady as the source; below is less.
        tg_id: the same over all pairs.
        warp: of pixels on [0, 1], times 1000; lower is steadier.
        flicker: levels, 0 to 255; lower is steadier.
    """

    frames: int
    tl_id: float | None
    tg_id: float | None
    warp: float | None
    flicker: float


def measure(
    source: Iterable[Frame],
    edited: Iterable[Frame],
    tracks: Tracks,
    identity: Callable[[Tensor], Tensor] | None,
) -> Steadiness:
    """Compare an edited video with its source, frame by frame.

    Args:
        source: all its frames.
        edited: as many, of the same size.
        tracks: one face.
        identity: (1, 3, S, S) in [-1, 1] to unit vectors (1, D).
    """
    frames, run = 0, -1
    flicker: list[float] = []
    warps: list[float] = []
    vectors: tuple[list[Tensor], list[Tensor]] = [], []  # of source and edit
    similar: tuple[list[float], list[float]] = [], []
    near: list[np.ndarray] = []  # differences of the latest frames
    before: list[np.ndarray] | None = None
    for now, pair, crops in _faces(source, edited, tracks):
        if now != run:  # a cut or a gap lies between
            run, near, before = now, [], None
        frames += 1
        near = [*near[-2:], crops[1].astype(np.float32) - crops[0]]
        if len(near) == 3:
            flicker.append(float(np.abs(near[2] - 2 * near[1] + near[0]).mean()))
        if identity is not None:
            for known, alike, pixels in zip(vectors, similar, crops, strict=True):
                known.append(identity(to_tensor(pixels)))
                if len(near) > 1:
                    alike.append(float((known[-1] * known[-2]).sum()))
        if find_spec("cv2") is not None:
            small = [_small(pixels) for pixels in pair]
            warps += [] if before is None else [_warp_error(before, small)]
            before = small
    if not flicker:
        raise VideoError("no three frames in a row show the face: there is nothing to measure")
    return Steadiness(
        frames=frames,
        tl_id=None if identity is None else float(np.mean(similar[1]) / np.mean(similar[0])),
        tg_id=None if identity is None else _pairs(vectors[1]) / _pairs(vectors[0]),
        warp=1000 * float(np.mean(warps)) if warps else None,
        flicker=float(np.mean(flicker)),
    )


def _faces(
    source: Iterable[Frame], edited: Iterable[Frame], tracks: Tracks
) -> Iterator[tuple[int, list[np.ndarray], list[np.ndarray]]]:
    """Yield the run, both frames and both crops wherever the face is."""
    for first, second in zip_longest(source, edited):
        if first is None or second is None:
            raise VideoError("the videos have different numbers of frames")
        (height, width), other = first.pixels.shape[:2], second.pixels.shape[:2]
        if max(abs(other[0] - height), abs(other[1] - width)) > 1:  # odd sides were made even
            raise VideoError("the videos differ in size: measure an edit of the same frames")
        pair = [first.pixels[: other[0], : other[1]], second.pixels[:height, :width]]
        for row in tracks.rows(first.number)[:1]:
            with suppress(FaceError):
                yield int(tracks.run[row]), pair, [crop(p, tracks.quad[row], CROP) for p in pair]


def _pairs(vectors: list[Tensor]) -> float:
    """Mean similarity of all pairs: |sum of n unit vectors|^2 is n and twice the sum over pairs."""
    n = len(vectors)
    return (float(sum(vectors).square().sum()) - n) / (n * (n - 1))  # type: ignore[union-attr]


def _small(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = min(1, FLOW_SIDE / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _warp_error(before: list[np.ndarray], now: list[np.ndarray]) -> float:
    """Of an edited frame and the next, by the flow of the source's; source and edit of each."""
    import cv2

    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (before[0], now[0])]
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = finder.calc(grey[0], grey[1], np.zeros((*grey[0].shape, 2), np.float32))
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    place = x + flow[..., 0], y + flow[..., 1]
    errors = []
    for first, second in zip(before, now, strict=True):
        moved = cv2.remap(second, *place, cv2.INTER_LINEAR)
        errors.append(((moved.astype(np.float32) - first) / 255) ** 2)
    inside = (place[0] >= 0) & (place[0] < width) & (place[1] >= 0) & (place[1] < height)
    holds = inside & (errors[0].mean(axis=2) < OCCLUDED)
    return float(errors[1][holds].mean()) if holds.any() else 0.0
