"""Discriminator D, against both published implementations."""

import numpy as np
import pytest
import torch

from released import TOLERANCE, golden
from seeded import seeded_image
from seeded_critics import ada_discriminator, rosinality_discriminator
from stylefeatureeditor.errors import ConfigError, ShapeError
from stylefeatureeditor.generator.discriminator import (
    Discriminator,
    DiscriminatorConfig,
    EqualizedConv,
    append_spread,
)
from stylefeatureeditor.generator.layers import blur_kernel

TINY = DiscriminatorConfig(size=16, channel_base=64, channel_max=8)


def assert_equal_logits(logits, name):
    expected = golden("losses")[name]
    spread = max(expected.std(), abs(expected).max() * 0.1)  # one logit has no std
    np.testing.assert_allclose(logits.numpy(), expected, rtol=0, atol=TOLERANCE * spread)


@torch.no_grad()
def test_equals_the_ada_layout_at_64():
    network = ada_discriminator(64)
    assert_equal_logits(network(seeded_image("losses.real", 64, 4)), "ada64/real_logits")
    assert_equal_logits(network(seeded_image("losses.fake", 64, 4)), "ada64/fake_logits")


@torch.no_grad()
def test_equals_the_ada_layout_at_1024():
    network = ada_discriminator(1024)
    assert_equal_logits(network(seeded_image("losses.d1024", 1024)), "ada1024/logits")


@torch.no_grad()
def test_equals_the_rosinality_layout_at_256():
    network = rosinality_discriminator()
    logits = network(seeded_image("losses.a", 256, 2))
    # Two logits that differ by 1e-3: their std says little about the size of the numbers.
    expected = golden("losses")["rosinality256/logits"]
    np.testing.assert_allclose(logits.numpy(), expected, rtol=0, atol=2e-6)


def test_channels_follow_the_generator_s_rule():
    config = DiscriminatorConfig()
    assert [config.channels(side) for side in (1024, 512, 128, 64, 4)] == [32, 64, 256, 512, 512]
    assert config.sides == (1024, 512, 256, 128, 64, 32, 16, 8)


def test_one_logit_per_image_and_a_4x4_feature_map():
    network = Discriminator(TINY)
    pixels = torch.randn(3, 3, 16, 16)
    assert network(pixels).shape == (3, 1)
    assert network.features(pixels).shape == (3, TINY.channels(4), 4, 4)


def test_gradients_reach_the_pixels_and_every_parameter():
    network = Discriminator(TINY)
    pixels = torch.randn(4, 3, 16, 16, requires_grad=True)
    network(pixels).sum().backward()
    assert pixels.grad.abs().max() > 0
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_spread_is_zero_for_equal_images_and_known_for_two():
    same = torch.ones(4, 2, 3, 3)
    assert append_spread(same, 4)[:, -1].max() == pytest.approx(1e-4)
    pair = torch.stack([torch.zeros(2, 3, 3), 2 * torch.ones(2, 3, 3)])
    out = append_spread(pair, 4)
    assert out.shape == (2, 3, 3, 3)
    torch.testing.assert_close(out[:, -1], torch.ones(2, 3, 3))
    assert torch.equal(out[:, :2], pair)


def test_spread_groups_are_interleaved():
    x = torch.randn(4, 2, 3, 3)
    spread = append_spread(x, 2)[:, -1, 0, 0]
    assert spread[0] == spread[2]  # images 0 and 2 are one group, 1 and 3 the other
    assert spread[1] == spread[3]
    assert spread[0] != spread[1]
    torch.testing.assert_close(append_spread(x[[0, 2]], 2)[:, -1, 0, 0], spread[[0, 2]])


def test_a_batch_that_the_group_does_not_divide_uses_a_smaller_group():
    x = torch.randn(6, 2, 3, 3)
    assert torch.equal(append_spread(x, 4), append_spread(x, 3))


def test_a_downsampled_1x1_convolution_equals_blur_then_stride():
    conv = EqualizedConv(2, 3, 1, downsample=True, activation=False)
    x = torch.randn(1, 2, 8, 8)
    blurred = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, (1, 1, 1, 1)), blur_kernel().expand(2, 1, 4, 4), groups=2
    )
    expected = torch.nn.functional.conv2d(blurred, conv.weight / 2**0.5, stride=2)
    torch.testing.assert_close(conv(x), expected)


def test_clamp_bounds_the_layers():
    conv = EqualizedConv(2, 3, 3, clamp=0.5)
    assert conv(100 * torch.randn(1, 2, 8, 8)).abs().max() == 0.5


def test_a_wrong_size_is_refused_with_both_shapes():
    with pytest.raises(ShapeError, match=r"pixels: expected shape \(any, 3, 16, 16\)"):
        Discriminator(TINY)(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    "wrong", [{"size": 48}, {"size": 4}, {"group_size": 0}, {"channel_base": 16}]
)
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ConfigError):
        DiscriminatorConfig(**wrong)
