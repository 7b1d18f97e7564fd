"""StyleGAN2's layers, against a slow reading of the paper's formulas."""

from math import sqrt

import pytest
import torch
from torch.nn import functional

from seeded import draw
from stylefeatureeditor.generator.layers import (
    EqualizedLinear,
    PixelNorm,
    StyledLayer,
    ToRGB,
    blur_and_halve,
    blur_kernel,
    upsample_rgb,
)
from tiny import randomize

pytestmark = pytest.mark.usefixtures("one_thread")
D = 6


def zeros_between(x):
    """(B, C, S, S) -> (B, C, 2S - 1, 2S - 1)."""
    side = x.shape[-1]
    wide = x.new_zeros(*x.shape[:2], 2 * side - 1, 2 * side - 1)
    wide[..., ::2, ::2] = x
    return wide


def modulated(conv, x, code, offset, *, demodulate=True):
    """One kernel per picture; upsampling as inserted zeros, a convolution and a low-pass."""
    x, code, weight = x.double(), code.double(), conv.weight.double()
    pictures = []
    for row in range(len(x)):
        style = conv.affine.weight.double() @ code[row] / sqrt(code.shape[1]) + conv.affine.bias
        if offset is not None:
            style = style + offset[row]
        kernel = weight * style[:, None, None] / sqrt(weight[0].numel())
        if demodulate:
            kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        picture = x[row : row + 1]
        if conv.upsample:
            picture = functional.conv2d(zeros_between(picture), kernel.flip(2, 3), padding=2)
            low_pass = 4 * blur_kernel().double().expand(len(kernel), 1, 4, 4)
            picture = functional.conv2d(picture, low_pass, padding=1, groups=len(kernel))
        else:
            picture = functional.conv2d(picture, kernel, padding=kernel.shape[-1] // 2)
        pictures.append(picture)
    return torch.cat(pictures)


def inputs(batch, channels, side, *, styled):
    x = draw("layers.x", (batch, channels, side, side))
    offset = draw("layers.offset", (batch, channels)) if styled else None
    return x, draw("layers.code", (batch, D)), offset


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("styled", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("channels", "side", "upsample"), [(4, 9, True), (5, 9, False), (7, 2, True)]
)
def test_a_styled_layer_equals_one_kernel_per_picture(
    channels, side, upsample, batch, styled, grad
):
    out = 2 * side if upsample else side
    layer = randomize(StyledLayer(channels, 3, out, D, upsample=upsample), "layers")
    x, code, offset = inputs(batch, channels, side, styled=styled)
    given = x.clone()
    with torch.set_grad_enabled(grad):
        actual = layer(x, code, offset)
    before = modulated(layer.conv, x, code, offset)
    before = before + layer.noise_strength * layer.noise + layer.bias[:, None, None]
    expected = sqrt(2) * torch.where(before > 0, before, 0.2 * before)
    torch.testing.assert_close(actual, expected.float(), rtol=1e-5, atol=1e-5)
    assert torch.equal(x, given)  # the features of an inversion are used again


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("styled", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_rgb_layer_neither_demodulates_nor_forgets_the_skip(batch, styled, grad):
    layer = randomize(ToRGB(5, D), "layers.rgb")
    x, code, offset = inputs(batch, 5, 8, styled=styled)
    skip = draw("layers.skip", (batch, 3, 4, 4))
    expected = modulated(layer.conv, x, code, offset, demodulate=False).float()
    expected = expected + layer.bias[:, None, None]
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(layer(x, code, offset, None), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            layer(x, code, offset, skip) - layer(x, code, offset, None),
            upsample_rgb(skip, layer.conv.blur_kernel),
            rtol=1e-5,
            atol=1e-5,
        )


def test_the_image_is_upsampled_by_inserted_zeros_and_the_low_pass():
    rgb = draw("layers.rgb_image", (2, 3, 5, 5))
    padded = functional.pad(zeros_between(rgb), (2, 2, 2, 2))
    low_pass = 4 * blur_kernel().expand(3, 1, 4, 4)
    expected = functional.conv2d(padded, low_pass, groups=3)
    torch.testing.assert_close(upsample_rgb(rgb, blur_kernel(gain=4.0)), expected)


def test_upsampling_keeps_a_flat_image_flat_away_from_the_border():
    flat = torch.full((1, 3, 8, 8), 0.7)
    inside = upsample_rgb(flat, blur_kernel(gain=4.0))[..., 2:-2, 2:-2]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.7))


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_blurring_and_halving_in_bfloat16_is_the_strided_filter(gain):
    """Values and gradients, to the four roundings that lie between."""
    exact = draw("layers.halve", (2, 5, 12, 12)).requires_grad_()
    rounded = exact.detach().bfloat16().requires_grad_()
    wanted, got = (blur_and_halve(x, blur_kernel(gain)) for x in (exact, rounded))
    assert got.dtype == torch.bfloat16
    weights = draw("layers.halve.gradient", tuple(wanted.shape))
    wanted_slope, got_slope = (
        torch.autograd.grad((y * weights).sum(), x)[0]
        for y, x in ((wanted, exact), (got.float(), rounded))
    )
    bound = 4 * 2**-9 * gain  # half a unit of 8 bits each; what is summed stays below 3
    torch.testing.assert_close(got.float(), wanted, rtol=0, atol=3 * bound)
    torch.testing.assert_close(got_slope.float(), wanted_slope, rtol=0, atol=3 * bound)


def test_demodulation_takes_the_scale_of_the_style_away():
    layer = randomize(StyledLayer(6, 4, 5, D, upsample=False), "layers.scale")
    layer.conv.affine.bias.data.zero_()
    x, code, _ = inputs(2, 6, 5, styled=False)
    with torch.no_grad():
        torch.testing.assert_close(
            layer(x, 100 * code, None), layer(x, code, None), rtol=1e-4, atol=1e-4
        )


def test_random_noise_differs_between_draws_and_between_pictures():
    layer = randomize(StyledLayer(4, 4, 6, D, upsample=False), "layers.noise")
    x, code, _ = inputs(1, 4, 6, styled=False)
    two = layer(x.expand(2, -1, -1, -1), code.expand(2, -1), None, random_noise=True)
    again = layer(x.expand(2, -1, -1, -1), code.expand(2, -1), None, random_noise=True)
    assert not torch.allclose(two[0], two[1])
    assert not torch.allclose(two, again)


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_the_learning_rate_multiplier_does_not_show_in_a_fresh_layer(multiplier):
    """Weights are stored 1 / lr times larger, so only the size of a training step changes."""
    layer = EqualizedLinear(400, 300, lr_multiplier=multiplier)
    std = layer(torch.randn(50, 400)).std().item()
    assert std == pytest.approx(1, abs=0.05)


def test_a_bias_is_scaled_like_the_weight():
    layer = EqualizedLinear(4, 3, bias=2.0, lr_multiplier=0.5, activation=True)
    torch.testing.assert_close(layer(torch.zeros(1, 4)), torch.full((1, 3), sqrt(2)))


def test_pixel_norm_gives_unit_mean_square_over_the_channels():
    normed = PixelNorm()(5 * draw("layers.pixel_norm", (2, 8, 3, 3)))
    torch.testing.assert_close(normed.square().mean(dim=1), torch.ones(2, 3, 3))
