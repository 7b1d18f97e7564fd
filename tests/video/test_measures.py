"""The measures of steadiness against sequences whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylefeatureeditor.errors import VideoError
from stylefeatureeditor.video.measures import _warp_error, measure
from stylefeatureeditor.video.reading import Frame
from stylefeatureeditor.video.tracks import Tracks

SIDE = 128  # of a frame, which is the crop


def clip(levels) -> list[Frame]:
    """Frames of one grey each."""
    return [
        Frame(number, number, 1, np.full((SIDE, SIDE, 3), level, np.uint8))
        for number, level in enumerate(levels)
    ]


def tracks(count: int, runs=None) -> Tracks:
    """A face that fills each frame."""
    corners = np.array([[0, 0], [0, SIDE], [SIDE, SIDE], [SIDE, 0]], float)
    number = np.arange(count)
    return Tracks(
        frame=number,
        face=np.ones(count, int),
        run=np.zeros(count, int) if runs is None else np.array(runs),
        quad=np.tile(corners, (count, 1, 1)),
        landmarks=np.zeros((count, 68, 2)),
        weight=np.ones(count),
        times=number,
    )


def identity(pixels: torch.Tensor) -> torch.Tensor:
    """A unit vector whose angle is the grey: 255 levels are a right angle."""
    angle = (pixels.mean() + 1) / 2 * np.pi / 2
    return torch.stack([angle.cos(), angle.sin()])[None]


def cosine(levels: float) -> float:
    """Similarity of two faces that so many levels lie between."""
    return float(np.cos(levels / 255 * np.pi / 2))


def test_identity_over_time_is_that_of_the_angles():
    source, edited = [100, 110, 120, 130], [100, 160, 100, 160]
    found = measure(clip(source), clip(edited), tracks(4), identity)
    pairs = [cosine(60)] * 4 + [1, 1]  # two of the six pairs are alike
    steps = [cosine(10)] * 3 + [cosine(20)] * 2 + [cosine(30)]
    assert found.tl_id == pytest.approx(cosine(60) / cosine(10), abs=1e-4)
    assert found.tg_id == pytest.approx(np.mean(pairs) / np.mean(steps), abs=1e-4)
    assert found.frames == 4


def test_an_edit_that_is_the_source_is_as_steady():
    found = measure(clip([10, 90, 30, 70]), clip([10, 90, 30, 70]), tracks(4), identity)
    assert (found.tl_id, found.tg_id) == pytest.approx((1, 1))
    assert found.flicker == 0


def test_flicker_is_the_second_difference_of_the_edit_alone():
    source = [10, 40, 20, 90]
    steady = [level + change for level, change in zip(source, (5, 10, 15, 20), strict=True)]
    trembling = [level + change for level, change in zip(source, (0, 8, 0, 8), strict=True)]
    assert measure(clip(source), clip(steady), tracks(4), None).flicker == 0
    assert measure(clip(source), clip(trembling), tracks(4), None).flicker == 16


def test_nothing_is_compared_over_a_cut():
    source, edited = [50] * 6, [50, 50, 50, 200, 200, 200]
    found = measure(clip(source), clip(edited), tracks(6, [0, 0, 0, 1, 1, 1]), identity)
    assert (found.flicker, found.tl_id) == (0, pytest.approx(1))
    whole = measure(clip(source), clip(edited), tracks(6), identity)
    assert whole.flicker == 75  # 150 levels, in two of the four second differences
    with pytest.raises(VideoError, match="three frames in a row"):
        measure(clip(source), clip(edited), tracks(6, [0, 0, 1, 1, 2, 2]), identity)


def test_videos_of_other_lengths_or_sizes_are_not_compared():
    with pytest.raises(VideoError, match="different numbers of frames"):
        measure(clip([1, 2, 3]), clip([1, 2]), tracks(3), None)
    small = [Frame(n, n, 1, np.zeros((90, 90, 3), np.uint8)) for n in range(3)]
    with pytest.raises(VideoError, match="differ in size"):
        measure(clip([1, 2, 3]), small, tracks(3), None)


def pattern(shift: int) -> np.ndarray:
    """A soft pattern that moves to the right."""
    y, x = np.mgrid[:96, :128]
    grey = 128 + 50 * np.sin((x - shift) / 6) + 50 * np.cos(y / 7 + (x - shift) / 15)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def test_the_warp_error_follows_the_motion_and_is_the_square_of_what_trembles():
    pytest.importorskip("cv2", reason="the extra `flow` brings it")
    still = _warp_error([pattern(0), pattern(0)], [pattern(0), pattern(0) + 10])
    assert still == pytest.approx((10 / 255) ** 2, rel=1e-3)
    moved = _warp_error([pattern(0)] * 2, [pattern(2)] * 2)
    unmoved = np.mean(((pattern(2).astype(float) - pattern(0)) / 255) ** 2)
    assert moved < unmoved / 10
    trembling = _warp_error([pattern(0)] * 2, [pattern(2), pattern(2) + 10])
    assert trembling == pytest.approx((10 / 255) ** 2, rel=0.3)
