"""Winograd's tiles and the single product are the plain convolution, as far as float32 goes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from seeded import draw
from stylefeatureeditor.runtimes import convolution
from stylefeatureeditor.runtimes.convolution import (
    Conv3x3,
    convolve,
    cpu_layout,
    is_3x3,
    normalized,
    product_pays,
    winograd,
    winograd_pays,
)
from tiny import randomize

pytestmark = pytest.mark.usefixtures("one_thread")
WIDE = 128


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def case(batch, channels, out, height, width):
    kernels = draw("convolution.kernels", (out, channels, 3, 3)) / (9 * channels) ** 0.5
    return draw("convolution.x", (batch, channels, height, width)), kernels


def plain(x, kernels, bias=None, stride=1):
    bias = None if bias is None else bias.double()
    return functional.conv2d(x.double(), kernels.double(), bias, stride, padding=1)


def assert_rounds_alike(y, exact):
    """Values are of unit size: an error of 3e-6 is float32's own after a sum of a thousand."""
    assert y.shape == exact.shape
    assert (y - exact).square().mean().sqrt() < 3e-6


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "shape",
    [(1, 128, 128, 32, 32), (2, 128, 160, 16, 40), (1, 144, 128, 4, 260), (1, 128, 128, 132, 20)],
)
def test_tiles_give_the_plain_convolution(shape, layout):
    x, kernels = case(*shape)
    bias = draw("convolution.bias", (shape[2],))
    assert winograd_pays(x, kernels)
    y = convolve(x.contiguous(memory_format=layout), kernels, bias)
    assert_rounds_alike(y, plain(x, kernels, bias))


@pytest.mark.parametrize("tiles_at_once", [1, 3, 8, 1000])
def test_the_number_of_tiles_at_once_changes_nothing(tiles_at_once, monkeypatch):
    monkeypatch.setattr(convolution, "TILES_AT_ONCE", tiles_at_once)
    x, kernels = case(1, 5, 6, 20, 12)
    assert_rounds_alike(winograd(x, kernels), plain(x, kernels))


@pytest.mark.parametrize("rows", [1, 2])
def test_channels_are_scaled_and_shifted_on_the_way_in_and_out_but_not_the_zeros_around(rows):
    x, kernels = case(2, 5, 6, 8, 8)
    before, after = (
        (draw(f"convolution.scale{n}", (rows, n)), draw(f"convolution.shift{n}", (rows, n)))
        for n in (5, 6)
    )
    wide = [part.double()[:, :, None, None] for part in (*before, *after)]
    exact = plain(x * wide[0] + wide[1], kernels) * wide[2] + wide[3]
    assert_rounds_alike(winograd(x, kernels, before, after), exact)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("batch", "side"), [(1, 2), (3, 4), (1, 8)])
def test_few_cells_are_one_product(batch, side, stride):
    x, kernels = case(batch, 128, 130, side, side)
    bias = draw("convolution.bias", (130,))
    assert product_pays(x, kernels, stride)
    assert_rounds_alike(convolve(x, kernels, bias, stride), plain(x, kernels, bias, stride))


def test_a_side_that_the_stride_does_not_divide_is_convolved_plainly():
    x, kernels = case(1, 128, 128, 5, 5)
    assert_rounds_alike(convolve(x, kernels, None, 2), plain(x, kernels, None, 2))


def norms(before, after):
    made = [
        randomize(nn.BatchNorm2d(width), f"convolution.norm{width}") for width in (before, after)
    ]
    for norm in made:
        norm.running_var.uniform_(0.5, 2)
    return made


@pytest.mark.parametrize("has_before", [True, False])
@pytest.mark.parametrize("has_after", [True, False])
@pytest.mark.parametrize("side", [8, 32])  # plainly, and by tiles
def test_a_frozen_norm_on_either_side_is_part_of_the_convolution(has_before, has_after, side):
    x, kernels = case(1, WIDE, 136, side, side)
    conv = Conv3x3(WIDE, 136, 3, padding=1, bias=False)
    conv.weight.copy_(kernels)
    before, after = norms(WIDE, 136)
    y = normalized(x, before if has_before else None, conv, after if has_after else None)
    exact = plain(before.double()(x.double()) if has_before else x, kernels)
    assert_rounds_alike(y, after.double()(exact) if has_after else exact)


def test_a_norm_in_training_takes_the_batch_as_measure_and_learns_from_it():
    x, kernels = case(1, WIDE, WIDE, 32, 32)
    conv = Conv3x3(WIDE, WIDE, 3, padding=1, bias=False)
    conv.weight.copy_(kernels)
    before, after = (norm.train() for norm in norms(WIDE, WIDE))
    known = after.running_mean.clone()
    y = normalized(x, before, conv, after)
    assert (y.mean(dim=(0, 2, 3)) - after.bias).abs().max() < 1e-4
    assert not torch.equal(after.running_mean, known)


def test_a_change_of_weights_or_statistics_counts_at_once():
    x, kernels = case(1, WIDE, WIDE, 32, 32)
    conv = Conv3x3(WIDE, WIDE, 3, padding=1, bias=False)
    conv.weight.copy_(kernels)
    before, after = (norm.eval() for norm in norms(WIDE, WIDE))
    first = normalized(x, before, conv, after)
    conv.weight.data.mul_(2)
    after.running_mean.data.mul_(2)
    exact = after.double()(plain(before.double()(x.double()), 2 * kernels))
    second = normalized(x, before.float(), conv, after.float())
    assert (second - first).abs().max() > 0.1
    assert_rounds_alike(second, exact)


def test_gradients_other_dtypes_export_and_autocast_see_the_plain_convolution(monkeypatch):
    x, kernels = case(1, WIDE, WIDE, 32, 32)
    assert winograd_pays(x, kernels)
    assert not winograd_pays(x.bfloat16(), kernels.bfloat16())
    assert not winograd_pays(x, kernels.bfloat16())
    assert not winograd_pays(x.to("meta"), kernels)
    with torch.enable_grad():
        assert not winograd_pays(x, kernels)
        assert cpu_layout(x) is x
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd_pays(x, kernels)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not winograd_pays(x, kernels)


def test_only_3x3_convolutions_with_zeros_around_are_taken_for_one():
    assert is_3x3(nn.Conv2d(3, 4, 3, padding=1))
    assert is_3x3(nn.Conv2d(3, 4, 3, 2, padding=1, bias=False))
    for other in (
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(3, 4, 3, 3, padding=1),
        nn.Conv2d(3, 4, 3, padding=1, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(3, 4, 5, padding=1),
    ):
        assert not is_3x3(other)
