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
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stylefeatureeditor.errors import FaceError, VideoError
from stylefeatureeditor.photo.align import crop
from stylefeatureeditor.photo.image import to_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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

    Raises:
        VideoError: the videos do not belong together, or no three frames in a row show the face.
    """
    known = _Known()
    for first, second in zip_longest(source, edited):
        if first is None or second is None:
            raise VideoError("the videos have different numbers of frames")
        height, width = first.pixels.shape[:2]
        other = second.pixels.shape[:2]
        if max(abs(other[0] - height), abs(other[1] - width)) > 1:  # odd sides were made even
            raise VideoError("the videos differ in size: measure an edit of the same frames")
        pair = first.pixels[: other[0], : other[1]], second.pixels[:height, :width]
        rows = tracks.rows(first.number)
        run = int(tracks.run[rows[0]]) if rows else None
        if run != known.run:
            known.begin(run)
        if rows:
            with suppress(FaceError):
                known.add(pair, [crop(p, tracks.quad[rows[0]], CROP) for p in pair], identity)
    if not known.flicker:
        raise VideoError("no three frames in a row show the face: there is nothing to measure")
    before, after = known.faces
    return Steadiness(
        frames=known.frames,
        tl_id=None if identity is None else after.neighbours / before.neighbours,
        tg_id=None if identity is None else after.pairs / before.pairs,
        warp=1000 * float(np.mean(known.warps)) if known.warps else None,
        flicker=float(np.mean(known.flicker)),
    )


class _Known:
    """What has been measured up to a frame, and what of the frames before it is still needed."""

    def __init__(self) -> None:
        self.frames = 0
        self.faces = _Identities(), _Identities()  # of source and edit
        self.flicker: list[float] = []
        self.warps: list[float] = []
        self.begin(None)

    def begin(self, run: int | None) -> None:
        """Forget the frames before: a cut or a gap lies between."""
        self.run = run
        self.differences: list[np.ndarray] = []
        self.before: list[np.ndarray] = []
        for face in self.faces:
            face.latest = None

    def add(
        self,
        pair: tuple[np.ndarray, np.ndarray],
        crops: list[np.ndarray],
        identity: Callable[[Tensor], Tensor] | None,
    ) -> None:
        """Measure a frame of source and edit, and its crops."""
        self.frames += 1
        self.differences = [*self.differences[-2:], crops[1].astype(np.float32) - crops[0]]
        if len(self.differences) == 3:
            last, middle, now = self.differences
            self.flicker.append(float(np.abs(now - 2 * middle + last).mean()))
        if identity is not None:
            for face, pixels in zip(self.faces, crops, strict=True):
                face.add(identity(to_tensor(pixels)))
        if find_spec("cv2") is not None:
            small = [_small(pixels) for pixels in pair]
            if self.before:
                self.warps.append(_warp_error(self.before, small))
            self.before = small


@dataclass
class _Identities:
    """Mean similarities of unit vectors that come one after another."""

    latest: Tensor | None = None
    total: Tensor | None = None
    count: int = 0
    similar: list[float] = field(default_factory=list)

    def add(self, vector: Tensor) -> None:
        if self.latest is not None:
            self.similar.append(float((vector * self.latest).sum()))
        self.latest = vector
        self.total = vector.clone() if self.total is None else self.total + vector
        self.count += 1

    @property
    def neighbours(self) -> float:
        return float(np.mean(self.similar))

    @property
    def pairs(self) -> float:
        """|sum of n unit vectors|^2 is n and twice the sum over pairs."""
        assert self.total is not None
        n = self.count
        return (float(self.total.square().sum()) - n) / (n * (n - 1))


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
