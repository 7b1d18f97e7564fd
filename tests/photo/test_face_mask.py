"""Edit masks from landmarks and from files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stylefeatureeditor.errors import MaskError
from stylefeatureeditor.photo.align import crop, ffhq_quad, to_crop
from stylefeatureeditor.photo.face_mask import face_mask, mask_to_crop, read_mask
from synthetic_face import frontal_face, square

LANDMARKS = frontal_face((100, 80), 12, angle=0.2)
QUAD = ffhq_quad(LANDMARKS)


def at(mask: torch.Tensor, points: np.ndarray) -> np.ndarray:
    """Return the mask's values at photo points that count from pixel centres."""
    size = mask.shape[-1]
    columns, rows = (to_crop(points + 0.5, QUAD) * size).astype(int).T
    return mask[0, 0].numpy()[rows, columns]


@pytest.mark.parametrize("size", [64, 200])
def test_the_mask_holds_the_face_and_leaves_the_corners(size):
    mask = face_mask(LANDMARKS, QUAD, size)
    assert mask.shape == (1, 1, size, size)
    assert mask.dtype == torch.float32
    assert at(mask, LANDMARKS).min() > 0.9
    rim = torch.cat([mask[0, 0, 0], mask[0, 0, :, 0], mask[0, 0, :, -1]])
    assert rim.max() == 0
    assert 0.15 < mask.mean() < 0.5


def test_the_forehead_belongs_to_the_face_and_the_hair_does_not():
    mask = face_mask(LANDMARKS, QUAD, 128)
    brows, nose = LANDMARKS[17:27].mean(axis=0), LANDMARKS[33]
    third = brows - nose
    line = np.stack([brows + third * 0.9, brows + third * 1.6])
    assert at(mask, line).tolist() == [1, 0]


def test_corners_that_all_but_coincide_do_no_harm():
    twins = LANDMARKS.copy()
    twins[67] = LANDMARKS[4] + 1e-9 * (LANDMARKS[5] - LANDMARKS[3])  # both are corners of the hull
    expected = face_mask(LANDMARKS, QUAD, 32)
    assert (face_mask(twins, QUAD, 32) - expected).abs().max() < 1e-4


def test_the_mask_fades_over_the_feather_and_no_further(monkeypatch):
    masks = []
    for width in (0.004, 0.1):
        monkeypatch.setattr("stylefeatureeditor.photo.face_mask.FEATHER", width)
        masks.append(face_mask(LANDMARKS, QUAD, 128))
    sharp, soft = masks
    assert torch.all(soft >= sharp)
    grown = torch.nn.functional.max_pool2d(sharp, 2 * 15 + 1, stride=1, padding=15)
    assert torch.all(grown[soft > 0] > 0)  # 15 pixels are 0.117 sides
    between = ((soft > 0.05) & (soft < 0.95)).float().mean()
    assert between > 5 * ((sharp > 0.05) & (sharp < 0.95)).float().mean()


def test_the_mask_does_not_depend_on_the_size_of_the_crop():
    fine, coarse = face_mask(LANDMARKS, QUAD, 256), face_mask(LANDMARKS, QUAD, 64)
    pooled = torch.nn.functional.avg_pool2d(fine, 4)
    assert (pooled - coarse).abs().max() < 0.05


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "I;16", "CMYK"])
def test_white_may_change_in_any_mode(mode, tmp_path):
    grey = np.zeros((20, 30), dtype=np.uint8)
    grey[:, 10:] = 255
    image = Image.fromarray(grey)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = image.convert(mode) if mode != "CMYK" else image.convert("RGB").convert("CMYK")
    path = tmp_path / ("mask.tif" if mode == "CMYK" else "mask.png")
    image.save(path)
    mask = read_mask(path, (30, 20))
    assert mask.shape == (1, 1, 20, 30)
    assert torch.equal(mask[0, 0], torch.from_numpy(grey / 255).float())


def test_what_is_transparent_stays():
    rgba = np.full((4, 4, 4), 255, dtype=np.uint8)
    rgba[:, :2, 3] = 0
    assert read_mask(rgba, (4, 4))[0, 0, 0].tolist() == [0, 0, 1, 1]


def test_a_mask_of_another_size_or_none_at_all_is_refused(tmp_path):
    with pytest.raises(MaskError, match="must have 30 x 20 or 64 x 64 pixels, it has 5 x 4"):
        read_mask(np.zeros((4, 5), dtype=np.uint8), (30, 20), (64, 64))
    with pytest.raises(MaskError, match="mask cannot be used: there is no file"):
        read_mask(tmp_path / "none.png", (1, 1))


@pytest.mark.parametrize("side", [60, 300])
def test_outside_the_photo_nothing_may_change(side):
    mask = mask_to_crop(torch.ones(1, 1, 190, 220), square((0, 90), side), 60)
    assert mask[..., :29].max() == 0
    assert mask[0, 0, 30, 31:50].min() == 1


def test_a_crop_of_a_mask_or_a_photo_reads_no_more_than_lies_around_it(monkeypatch):
    seen = []
    make = Image.fromarray

    def noted(array):
        seen.append(array.shape[:2])
        return make(array)

    monkeypatch.setattr(Image, "fromarray", noted)
    quad = square((700, 500), 200)
    mask = torch.zeros(1, 1, 1000, 1400)
    mask[..., 500:600, 600:800] = 1  # the lower half of the quad
    assert torch.equal(
        mask_to_crop(mask, quad, 50)[0, 0, :, 25].round(), (torch.arange(50) >= 25).float()
    )
    assert crop(np.zeros((1000, 1400, 3), dtype=np.uint8), quad, 50).shape == (50, 50, 3)
    assert all(height < 320 and width < 320 for height, width in seen)
    assert len(seen) >= 2
