"""The frame FaRL sees a face in, and the way back."""

from math import cos, sin, tanh

import pytest
import torch

from stylefeatureeditor.errors import FaceError, ShapeError
from stylefeatureeditor.masks.face_frame import (
    LAPA_POINTS,
    FaceFrame,
    average_points,
    five_points,
    lapa_frame,
)

IDENTITY = torch.eye(3)[None]


def waves(side):
    y, x = torch.meshgrid(*[(torch.arange(side) + 0.5) / side] * 2, indexing="ij")
    return torch.stack([(2 * x).sin(), (2 * y).cos(), (x + y).sin()])[None] * 0.5


def transform(matrix, points):
    return points @ matrix[:, :2, :2].mT + matrix[:, None, :2, 2]


def test_lapa_points_land_on_their_places():
    turn = torch.tensor([[cos(0.4), -sin(0.4)], [sin(0.4), cos(0.4)]])
    targets = torch.tensor(LAPA_POINTS) / 512 * 447
    points = (targets @ turn.mT * 1.7 + torch.tensor([30.0, -80.0]))[None]
    frame = lapa_frame(points, 448)
    torch.testing.assert_close(transform(frame.matrix, points)[0], targets, rtol=1e-4, atol=1e-2)


def test_points_that_do_not_fit_are_laid_nearest_in_the_least_squares_sense():
    points = average_points(torch.zeros(1, 3, 64, 64)) + torch.rand(
        1, 5, 2, generator=torch.Generator().manual_seed(0)
    )
    frame = lapa_frame(points, 448)
    targets = torch.tensor(LAPA_POINTS) / 512 * 447

    def error(matrix):
        return (transform(matrix, points) - targets).square().sum()

    best = error(frame.matrix)
    for change in ((0, 2, 0.1), (1, 2, 0.1), (0, 2, -0.1), (1, 2, -0.1)):
        row, column, step = change
        other = frame.matrix.clone()
        other[0, row, column] += step
        assert error(other) > best
    assert torch.linalg.det(frame.matrix[0, :2, :2]) > 0  # no reflection


def test_hardly_squeezed_a_frame_of_the_same_size_changes_nothing():
    pixels = waves(16)
    frame = FaceFrame(IDENTITY, 16, warp=1e-3)
    torch.testing.assert_close(frame.sample(pixels), pixels, rtol=0, atol=1e-5)
    torch.testing.assert_close(frame.restore(pixels, 16), pixels, rtol=0, atol=1e-5)


def test_the_middle_is_not_squeezed_and_the_outside_is_by_tanh():
    side = 64
    frame = FaceFrame(IDENTITY, side, warp=0.8)
    y, x = torch.meshgrid(*[torch.arange(side) + 0.5] * 2, indexing="ij")
    ramp = torch.stack([x, y])[None] / side * 2 - 1  # value = place in the frame, in [-1, 1]
    seen = frame.restore(ramp, side)
    middle = slice(side // 2 - 6, side // 2 + 6)
    torch.testing.assert_close(seen[..., middle, middle], ramp[..., middle, middle])
    c = float(ramp[0, 0, 0, -4])
    expected = 0.2 + 0.8 * tanh((c - 0.2) / 0.8)
    assert float(seen[0, 0, side // 2, -4]) == pytest.approx(expected, abs=1e-4)
    assert float(seen[0, 0, side // 2, 3]) == pytest.approx(-expected, abs=1e-4)


def test_back_and_forth_keeps_a_smooth_picture():
    pixels = waves(96)
    frame = lapa_frame(average_points(pixels), 128)
    back = frame.restore(frame.sample(pixels), 96)
    torch.testing.assert_close(back[..., 8:-8, 8:-8], pixels[..., 8:-8, 8:-8], rtol=0, atol=0.01)


def test_beyond_the_crop_the_parser_sees_black():
    pixels = torch.ones(1, 3, 64, 64)
    frame = lapa_frame(average_points(pixels), 128).sample(pixels)
    assert float(frame[0, 0, 0, 0]) == -1
    assert float(frame[0, 0, 64, 64]) == pytest.approx(1)


def test_restore_does_not_depend_on_the_size_of_the_maps():
    frame = lapa_frame(average_points(torch.zeros(1, 3, 64, 64)), 128)
    small, large = frame.restore(waves(64), 48), frame.restore(waves(256), 48)
    torch.testing.assert_close(small, large, rtol=0, atol=0.01)


def test_five_points_come_from_the_eyes_nose_and_mouth_corners():
    landmarks = torch.zeros(1, 68, 2)
    landmarks[:, 36:42], landmarks[:, 42:48] = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])
    landmarks[:, 30], landmarks[:, 48], landmarks[:, 54] = 5.0, 6.0, 7.0
    assert five_points(landmarks)[0].tolist() == [[1, 2], [3, 2], [5, 5], [6, 6], [7, 7]]
    with pytest.raises(ShapeError, match="landmarks"):
        five_points(torch.zeros(1, 5, 2))


def test_coinciding_points_and_wrong_shapes_are_refused():
    with pytest.raises(FaceError, match="coinciding"):
        lapa_frame(torch.ones(1, 5, 2), 64)
    with pytest.raises(ShapeError, match="points"):
        lapa_frame(torch.ones(1, 4, 2), 64)
