"""Delta (Eq. 5): the region of App. 9 and the cars' extra layer."""

import pytest
import torch
from torch.nn import functional

from seeded import draw
from stylefeatureeditor.editing.delta import (
    DeltaDownsampler,
    DeltaDownsamplerConfig,
    masked,
    resize,
)
from stylefeatureeditor.errors import ConfigError, ShapeError
from tiny import randomize

pytestmark = pytest.mark.usefixtures("one_thread")
DELTA = draw("delta", (2, 3, 4, 4))


def test_a_region_of_ones_leaves_delta_and_one_of_zeros_empties_it():
    assert torch.equal(masked(DELTA, torch.ones(1, 1, 16, 16)), DELTA)
    assert not masked(DELTA, torch.zeros(2, 1, 16, 16)).any()


def test_a_region_is_resized_without_antialiasing():
    region = (draw("delta.region", (1, 1, 16, 16)) > 0).float()
    # A quarter of the side: the sample lies between the cells 4 i + 1 and 4 i + 2.
    rows = (region[:, :, 1::4] + region[:, :, 2::4]) / 2
    small = (rows[..., 1::4] + rows[..., 2::4]) / 2
    torch.testing.assert_close(masked(DELTA, region), DELTA * small)


def test_a_region_of_the_features_side_is_taken_as_it_is():
    region = draw("delta.small", (2, 1, 4, 4)).sigmoid()
    assert torch.equal(masked(DELTA, region), DELTA * region)


def test_every_face_has_its_own_region_or_all_share_one():
    half = torch.zeros(2, 1, 8, 8)
    half[0] = 1
    kept = masked(DELTA, half)
    assert torch.equal(kept[0], DELTA[0])
    assert not kept[1].any()


def test_resizing_is_bilinear_on_pixel_corners():
    x = draw("delta.resize", (1, 3, 8, 8))
    assert resize(x, 8) is x
    expected = functional.interpolate(x, (5, 5), mode="bilinear", align_corners=False)
    assert torch.equal(resize(x, 5), expected)
    assert resize(x[..., :4], 8).shape == (1, 3, 8, 8)


def test_the_cars_layer_brings_delta_to_the_features_shape():
    layer = randomize(
        DeltaDownsampler(DeltaDownsamplerConfig(in_channels=3, out_channels=6)), "downsampler"
    )
    fine = draw("delta.fine", (2, 3, 8, 8))
    assert layer(fine).shape == (2, 6, 4, 4)
    assert DeltaDownsampler(DeltaDownsamplerConfig())(torch.zeros(1, 256, 4, 4)).shape[1:] == (
        512,
        2,
        2,
    )


def test_the_wrong_shape_is_refused():
    with pytest.raises(ShapeError, match=r"region: expected shape \(any, 1, any, any\)"):
        masked(DELTA, torch.ones(1, 3, 4, 4))
    layer = DeltaDownsampler(DeltaDownsamplerConfig(in_channels=3, out_channels=6))
    with pytest.raises(ShapeError, match=r"delta: expected shape \(any, 3, any, any\)"):
        layer(torch.zeros(1, 6, 8, 8))
    with pytest.raises(ConfigError, match="at least 1"):
        DeltaDownsamplerConfig(stride=0)
