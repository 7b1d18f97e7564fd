"""Alignment and paste back undo each other, for any crop; outside it no byte changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stylefeatureeditor.photo.align import crop, ffhq_quad, to_crop
from stylefeatureeditor.photo.face_mask import mask_to_crop
from stylefeatureeditor.photo.image import to_tensor, to_uint8
from stylefeatureeditor.records import AlignedFace
from synthetic_face import frontal_face, paste_back, soft_photo, square

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTH, HEIGHT = 96, 88
PHOTO = soft_photo(WIDTH, HEIGHT)
OUTSIDE = 1e-9


def numbers(low, high):
    return st.floats(low, high, allow_nan=False)


INSIDE = st.builds(  # squares that stay within the photo
    square, st.tuples(numbers(40, 56), numbers(38, 50)), numbers(20, 44), numbers(-3.2, 3.2)
)
ANYWHERE = st.builds(
    square, st.tuples(numbers(0, WIDTH), numbers(0, HEIGHT)), numbers(20, 120), numbers(-3.2, 3.2)
)
LANDMARKS = st.builds(
    frontal_face, st.tuples(numbers(30, 60), numbers(30, 60)), numbers(4, 12), numbers(-3.1, 3.1)
)


def face_of(quad, size=64):
    return AlignedFace(to_tensor(crop(PHOTO, quad, size)), PHOTO, quad)


def inside_of(quad):
    """Which pixels' centres lie in the quad."""
    centres = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), axis=-1)
    at = to_crop(centres, quad)
    return ((at > OUTSIDE) & (at < 1 - OUTSIDE)).all(axis=-1)


@given(quad=INSIDE, size=st.sampled_from([64, 96]))
def test_a_crop_put_back_gives_the_photo_again(quad, size):
    face = face_of(quad, size)
    back = paste_back(face, face.pixels).astype(int)
    assert np.abs(back - PHOTO).max() <= 8
    assert np.abs(back - PHOTO).mean() < 0.3


@given(quad=ANYWHERE)
def test_nothing_changes_outside_of_the_crop(quad):
    face = face_of(quad)
    back = paste_back(face, -face.pixels)
    outside = ~inside_of(quad)
    assert np.array_equal(back[outside], PHOTO[outside])


@given(quad=ANYWHERE)
def test_an_inversion_that_an_edit_leaves_alone_leaves_the_photo_alone(quad):
    face = face_of(quad)
    drawn = torch.rand(1, 3, 64, 64) * 2 - 1
    assert np.array_equal(paste_back(face, drawn, drawn, blend="residual"), PHOTO)


@given(quad=ANYWHERE, left=st.integers(0, WIDTH), top=st.integers(0, HEIGHT))
def test_a_mask_over_the_photo_keeps_what_it_does_not_show(quad, left, top):
    mask = torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., top:, left:] = 1
    face = face_of(quad)
    back = paste_back(face, -face.pixels, photo_mask=mask)
    kept = mask[0, 0].numpy() == 0
    assert np.array_equal(back[kept], PHOTO[kept])


@given(landmarks=LANDMARKS, scale=numbers(0.5, 2), shift=st.tuples(numbers(-1, 1), numbers(-1, 1)))
def test_a_quad_is_a_square_of_the_scale_and_shift_asked_for(landmarks, scale, shift):
    plain, quad = ffhq_quad(landmarks), ffhq_quad(landmarks, scale, shift)
    right, down = quad[3] - quad[0], quad[1] - quad[0]
    side = np.hypot(*(plain[3] - plain[0]))
    assert np.isclose(right @ down, 0, atol=1e-6 * side**2)
    assert np.isclose(np.hypot(*right), side * scale)
    assert np.isclose(np.hypot(*down), side * scale)
    assert np.allclose(to_crop(quad.mean(axis=0), plain), np.array(shift) + 0.5, atol=1e-5)


@given(
    landmarks=LANDMARKS,
    move=st.tuples(numbers(-50, 50), numbers(-50, 50)),
    turn=numbers(-3.1, 3.1),
    grow=numbers(0.5, 3),
)
def test_a_face_that_moves_turns_and_grows_takes_its_quad_along(landmarks, move, turn, grow):
    matrix = grow * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = ffhq_quad(landmarks @ matrix.T + move)
    assert np.allclose(moved - 0.5, (ffhq_quad(landmarks) - 0.5) @ matrix.T + move, atol=1e-4)


@given(quad=ANYWHERE, points=st.lists(st.tuples(numbers(-1, 2), numbers(-1, 2)), min_size=1))
def test_points_go_into_the_crop_and_back(quad, points):
    at = np.array(points)
    there = quad[0] + at[:, :1] * (quad[3] - quad[0]) + at[:, 1:] * (quad[1] - quad[0])
    assert np.allclose(to_crop(there, quad), at, atol=1e-7)


@given(quad=INSIDE)
def test_a_mask_over_the_photo_is_cropped_as_the_photo_is(quad):
    painted = torch.from_numpy(PHOTO[:, :, 0] / 255.0).float()[None, None]
    cropped = mask_to_crop(painted, quad, 64)
    assert np.abs(cropped[0, 0].numpy() * 255 - crop(PHOTO, quad, 64)[:, :, 0]).max() < 1.5
    assert torch.equal(mask_to_crop(torch.ones(1, 1, HEIGHT, WIDTH), quad, 64), cropped * 0 + 1)


@given(levels=st.binary(min_size=12, max_size=300))
def test_pixels_become_a_tensor_and_the_same_pixels_again(levels):
    pixels = np.frombuffer(levels[: len(levels) // 3 * 3], np.uint8).reshape(1, -1, 3)
    assert np.array_equal(to_uint8(to_tensor(pixels))[0], pixels)
