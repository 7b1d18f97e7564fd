"""Winograd's tiles and the single product are the plain convolution, as far as float32 goes."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from seeded import draw
from stylefeatureeditor import convolution
from stylefeatureeditor.backbones.ir_se50 import IRBlock
from stylefeatureeditor.backbones.iresnet import FeatureMerger
from stylefeatureeditor.convolution import (
    Conv3x3,
    convolve,
    cpu_layout,
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


HELD_TO_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
# A sum of n terms, in two orders, differs by at most 2 n u of the sum of their sizes: u is 2^-24.
GRADIENTS = """
import torch
from stylefeatureeditor.convolution import Conv1x1

def gradients(layer, x, y, layout):
    layer = layer.to(memory_format=layout)
    x = x.contiguous(memory_format=layout).detach().requires_grad_()
    layer.weight.grad = None
    layer(x).backward(y.contiguous(memory_format=layout))
    return x.grad, layer.weight.grad.clone()

torch.manual_seed(0)
for channels in (3, 4, 5, 7, 8, 12, 24):
    for out in (4, 7, 8):
        layer = Conv1x1(channels, out, 2)
        x, y = torch.randn(3, channels, 9, 9), torch.randn(3, out, 5, 5)
        plain = gradients(layer, x, y, torch.contiguous_format)
        last = gradients(layer, x, y, torch.channels_last)
        layer.weight.data.abs_()
        sizes = gradients(layer, x.abs(), y.abs(), torch.contiguous_format)
        for one, other, size, terms in zip(plain, last, sizes, (out, y[:, 0].numel())):
            assert bool(((one - other).abs() <= 2 * terms * 2**-24 * size).all()), (channels, out)
"""


@pytest.mark.parametrize("held", [{}, HELD_TO_AVX2], ids=["this processor", "AVX2"])
def test_the_gradients_of_a_strided_shortcut_are_those_of_either_layout(held):
    """In a process of its own: the defect this is about ends the process, or never ends."""
    command = [sys.executable, "-c", GRADIENTS]
    ran = subprocess.run(command, env=os.environ | held, capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()


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
    conv = Conv3x3(WIDE, 136)
    conv.weight.copy_(kernels)
    before, after = norms(WIDE, 136)
    y = normalized(x, before if has_before else None, conv, after if has_after else None)
    exact = plain(before.double()(x.double()) if has_before else x, kernels)
    assert_rounds_alike(y, after.double()(exact) if has_after else exact)


def test_a_norm_in_training_takes_the_batch_as_measure_and_learns_from_it():
    x, kernels = case(1, WIDE, WIDE, 32, 32)
    conv = Conv3x3(WIDE, WIDE)
    conv.weight.copy_(kernels)
    before, after = (norm.train() for norm in norms(WIDE, WIDE))
    known = after.running_mean.clone()
    y = normalized(x, before, conv, after)
    assert (y.mean(dim=(0, 2, 3)) - after.bias).abs().max() < 1e-4
    assert not torch.equal(after.running_mean, known)


def test_a_change_of_weights_or_statistics_counts_at_once():
    x, kernels = case(1, WIDE, WIDE, 32, 32)
    conv = Conv3x3(WIDE, WIDE)
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


@pytest.mark.parametrize(
    "network", [FeatureMerger(WIDE, 2), IRBlock(WIDE, WIDE, 1, 16), IRBlock(WIDE, 132, 1, None)]
)
def test_a_network_draws_the_same_with_and_without_gradients(network):
    network = randomize(network, "convolution.network").eval()
    channels = 2 * WIDE if isinstance(network, FeatureMerger) else WIDE
    x = draw("convolution.features", (2, channels, 32, 32))
    with torch.enable_grad():
        expected = network(x)
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5 * float(expected.std()))


def test_its_weights_are_named_as_a_plain_convolution_names_them():
    for bias in (True, False):
        plain_names = nn.Conv2d(3, 4, 3, bias=bias).state_dict().keys()
        assert Conv3x3(3, 4, bias=bias).state_dict().keys() == plain_names
