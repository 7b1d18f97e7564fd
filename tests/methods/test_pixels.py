"""How pictures come to the side that a method's networks see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stylefeatureeditor.errors import ShapeError
from stylefeatureeditor.methods.pixels import halve, pool, sample, shrink


@pytest.mark.parametrize(
    ("mode", "filter_"),
    [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)],
)
def test_shrinking_is_what_pil_does_but_for_its_rounding(mode, filter_):
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize((32, 32), filter_), dtype=np.float32)
    photo = torch.from_numpy(picture).float().permute(2, 0, 1)[None]
    small = shrink(photo, 32, mode)[0].permute(1, 2, 0).clamp(0, 255).numpy()
    assert np.abs(small - expected).max() < 1.01


def test_sampling_reads_four_pixels_and_pooling_all():
    photo = torch.zeros(1, 3, 8, 8)
    photo[..., 0, 0] = 16.0  # the two in the middle of each 4 x 4 block are read
    assert sample(photo, 2).abs().max() == 0
    assert pool(photo, 2)[0, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_halving_twice_is_the_mean_of_blocks():
    photo = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(halve(photo, 4), pool(photo, 4))
    assert torch.equal(halve(photo, 16), photo)


@pytest.mark.parametrize("shape", [(1, 3, 12, 12), (1, 3, 16, 32), (1, 3, 2, 2)])
def test_a_side_that_halving_cannot_reach_is_refused(shape):
    with pytest.raises(ShapeError, match="times a power of two"):
        halve(torch.zeros(shape), 4)


def test_a_picture_of_the_wanted_side_keeps_its_pixels():
    photo = torch.rand(2, 3, 8, 8)
    assert torch.equal(shrink(photo, 8), photo)
    assert torch.equal(sample(photo, 8), photo)
