"""Feature-Style encoder I_fse (Eq. 1)."""

import pytest
import torch

from stylefeatureeditor.errors import ConfigError, ShapeError
from stylefeatureeditor.inversion.feature_style_encoder import (
    FeatureStyleEncoder,
    FeatureStyleEncoderConfig,
)
from tiny import randomize, tiny_config, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = tiny_config().inverter.encoder


def encoder(config=TINY):
    return randomize(FeatureStyleEncoder(config), "fse")


def test_a_photo_becomes_styles_and_features_of_a_quarter_of_its_side():
    offsets, predicted = encoder()(tiny_photos(2))
    assert offsets.shape == (2, 8, 12)
    assert predicted.shape == (2, 16, 8, 8)


@pytest.mark.parametrize("styles", [1, 5, 18])
def test_any_number_of_styles(styles):
    config = FeatureStyleEncoderConfig(
        num_styles=styles, style_dim=7, feature_channels=3, trunk=TINY.trunk
    )
    offsets, predicted = encoder(config)(tiny_photos())
    assert offsets.shape == (1, styles, 7)
    assert predicted.shape[1] == 3


def test_each_style_is_linear_in_all_four_stages_pooled_to_three_by_three():
    network = encoder()
    photos = tiny_photos(2)
    pooled = [
        torch.stack(
            [part.mean(dim=(2, 3)) for rows in thirds(out, 2) for part in thirds(rows, 3)], dim=-1
        ).flatten(1)
        for out in network.trunk(photos)
    ]
    flat = torch.cat(pooled, dim=1)
    offsets, _ = network(photos)
    for style, linear in enumerate(network.styles):
        expected = flat @ linear.weight.t() + linear.bias
        torch.testing.assert_close(offsets[:, style], expected, rtol=1e-4, atol=1e-5)


def thirds(x, dim):
    """Three parts, the last row of one may be the first of the next: adaptive pooling's rule."""
    side = x.shape[dim]
    return [x.narrow(dim, i * side // 3, -(-(i + 1) * side // 3) - i * side // 3) for i in range(3)]


def test_features_are_made_from_stage_three():
    network = encoder()
    network.trunk.stages[3][0].branch.norm3.bias.data.add_(1.0)  # stage 4 moves styles only
    offsets, predicted = network(tiny_photos())
    still_offsets, still = encoder()(tiny_photos())
    assert torch.equal(predicted, still)
    assert not torch.allclose(offsets, still_offsets)


def test_wrong_shapes_and_sizes_are_refused():
    with pytest.raises(ShapeError, match=r"photos: expected shape \(any, 3, any, any\)"):
        encoder()(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ConfigError, match="at least 1"):
        FeatureStyleEncoderConfig(num_styles=0)
