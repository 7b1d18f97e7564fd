"""The FFHQ crop against the released implementation, and its geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from released import golden
from stylefeatureeditor.errors import FaceError, SfeError
from stylefeatureeditor.photo.align import (
    _gaussian_blur,
    crop,
    ffhq_quad,
    padding_weight,
    plan_crop,
    to_crop,
)
from synthetic_face import ALIGN_CASES, eyes_and_mouth, frontal_face, soft_photo, square, wave_photo

# The release reduces by half as much, and half a pixel off: docs/adr/0011.
RELEASED_SHRINK = {"inside": 1, "uniform_pad": 1, "uneven_pad": 1, "shrink": 2}


@pytest.mark.parametrize("case", ALIGN_CASES)
def test_the_crop_is_the_released_one(case):
    width, height, center, scale, angle = ALIGN_CASES[case]
    numbers = golden("align")
    landmarks = eyes_and_mouth(center, scale, angle)
    assert np.array_equal(landmarks, numbers[f"{case}/landmarks"])
    shrink = RELEASED_SHRINK[case]
    quad = ffhq_quad(landmarks) + (shrink - 1) * 0.5

    plan = plan_crop((width, height), quad, 1024, shrink)
    np.testing.assert_allclose(plan.to_region(quad) - 0.5, numbers[f"{case}/quad"], atol=1e-9)
    whole = (0, 0, *plan.size)
    assert plan.box == tuple(numbers.get(f"{case}/crop", whole))
    assert plan.pad == tuple(numbers.get(f"{case}/pad", (0, 0, 0, 0)))
    assert plan.size == tuple(numbers.get(f"{case}/shrink", (width, height)))

    aligned = crop(wave_photo(width, height), quad, 1024, shrink=shrink)
    assert np.array_equal(aligned[480:544, 480:544], numbers[f"{case}/aligned_crop"])
    pooled = aligned.reshape(64, 16, 64, 16, 3).mean(axis=(1, 3))
    expected = numbers[f"{case}/aligned_pool64"][0].transpose(1, 2, 0)
    assert np.abs(pooled - expected).max() < 1e-4 * expected.std()


def test_scale_and_shift_move_the_crop_along_its_own_axes():
    landmarks = frontal_face((300, 200), 40, angle=0.3)
    plain, moved = ffhq_quad(landmarks), ffhq_quad(landmarks, 1.5, (0.25, -0.5))
    # In the frame of the plain crop the moved one is centred at (0.75, 0), 1.5 wide.
    corners = [(0.0, -0.75), (0.0, 0.75), (1.5, 0.75), (1.5, -0.75)]
    np.testing.assert_allclose(to_crop(moved, plain), corners, atol=1e-9)


def test_the_crop_turns_with_the_face():
    upright, turned = frontal_face((300, 200), 40), frontal_face((300, 200), 40, angle=0.7)
    np.testing.assert_allclose(
        to_crop(upright + 0.5, ffhq_quad(upright)),
        to_crop(turned + 0.5, ffhq_quad(turned)),
        atol=1e-9,
    )


def test_landmarks_without_area_are_refused():
    with pytest.raises(FaceError, match="no crop"):
        ffhq_quad(np.full((68, 2), 7))
    with pytest.raises(FaceError, match="scale 0"):
        ffhq_quad(frontal_face((300, 200), 40), scale=0)


@pytest.mark.parametrize(("side", "size"), [(64, 32), (64, 64), (64, 128), (64, 16), (63.5, 20)])
def test_pixel_centres_of_the_crop_lie_where_the_docstring_says(side, size):
    rising = np.broadcast_to(np.arange(0, 240, 3, dtype=np.uint8)[None, :, None], (90, 80, 3))
    quad = square((40.25, 45), side)
    columns = quad[0, 0] + (np.arange(size) + 0.5) / size * side  # continuous
    rows = [
        crop(ramp, quad, size)[size // 2, :, 0].astype(float) for ramp in (rising, 240 - rising)
    ]
    shown = (rows[0] - rows[1]) / 2 + 120  # what sampling rounds away drops out
    # Three levels are a pixel: half a pixel of drift would be 1.5.
    assert abs((shown - (columns - 0.5) * 3).mean()) < 0.3


def test_the_photos_own_outline_gives_the_photo():
    photo = soft_photo(96, 96)
    outline = square((48, 48), 96)
    assert np.array_equal(crop(photo, outline, 96), photo)
    assert not any(plan_crop((96, 96), outline, 24).pad)


def test_large_faces_are_reduced_without_aliasing():
    stripes = np.zeros((600, 600, 3), dtype=np.uint8)
    stripes[:, ::2] = 255  # sampling every third or fourth column would show bands
    assert np.ptp(crop(stripes, square((300, 300), 230, angle=0.01), 64)[4:-4, 4:-4]) < 40


def test_padding_is_told_apart_from_the_photo():
    photo = soft_photo(300, 300)
    quad = square((60, 150), 200)
    plan = plan_crop((300, 300), quad, 200)
    x, y = np.arange(300) + 0.5, np.arange(300) + 0.5
    weight = padding_weight(plan, x, y)
    assert weight[150, 0] > 0.9  # the photo's edge, next to the padding
    assert weight[150, 60] == 0  # the middle of the face
    sampled = crop(photo, quad, 200)  # column i shows photo column i - 40
    clean = weight[50:250, :160] == 0
    difference = np.abs(sampled[:, 40:].astype(int) - photo[50:250, :160]).max(axis=2)
    assert difference[clean].max() <= 1
    assert difference[~clean].max() > 20


@pytest.mark.parametrize("size", [1, 3])
def test_a_photo_smaller_than_the_padding_is_no_problem(size):
    assert crop(soft_photo(size, size), square((size / 2, size / 2), 40), 16).shape == (16, 16, 3)


def test_a_crop_outside_the_photo_is_refused():
    with pytest.raises(SfeError, match="outside the photo"):
        crop(soft_photo(50, 50), square((500, 500), 40), 16)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak")
def test_padding_is_blurred_in_little_memory():
    plane = wave_photo(2000, 1500)[:, :, 0].astype(np.float32)

    def kept(name: str) -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition(f"{name}:")[2].split()[0])

    _gaussian_blur(plane[:64, :64], 1.0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = kept("VmRSS")
    _gaussian_blur(plane, 30.0)
    assert kept("VmHWM") - before < 16 * plane.size  # the plane twice, and bands
