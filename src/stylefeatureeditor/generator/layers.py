"""Layers of StyleGAN2 (Karras et al., 2020): equalised, modulated and resampling.

Equalised learning rate: weights are stored with unit variance and scaled by 1 / sqrt(fan_in) when
used. Activation: leaky ReLU of slope 0.2, scaled by sqrt(2) so that variance is kept.

Shapes: B batch, C_in and C_out channels, S side of the input in cells, D width of a style vector.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

BLUR_TAPS = (1.0, 3.0, 3.0, 1.0)


def normal(*size: int, std: float = 1.0) -> Tensor:
    """Return N(0, std^2) draws; on the meta device only their shape, as no draw is needed there."""
    weight = torch.empty(size)
    return weight if weight.is_meta else weight.normal_(std=std)


def activate(x: Tensor) -> Tensor:
    """Scaled leaky ReLU: sqrt(2) * max(x, 0.2 x)."""
    return functional.leaky_relu(x, 0.2) * sqrt(2)


def blur_kernel(gain: float = 1.0) -> Tensor:
    """The 4x4 binomial low-pass filter; its sum is `gain`."""
    scale = gain / sum(BLUR_TAPS) ** 2
    return torch.tensor([[a * b * scale for b in BLUR_TAPS] for a in BLUR_TAPS])


def blur(x: Tensor, kernel: Tensor, padding: int = 1) -> Tensor:
    """Filter every channel with one 4x4 kernel: (B, C, S, S) -> side S - 3 + 2 `padding`."""
    channels = x.shape[1]
    kernel = kernel.to(x.dtype).expand(channels, 1, -1, -1)
    return functional.conv2d(x, kernel, padding=padding, groups=channels)


def blur_and_halve(x: Tensor, kernel: Tensor) -> Tensor:
    """Every other row and column of `blur`, the first included: (B, C, S, S) -> side S / 2.

    In bfloat16 on a CPU, the gradient of a strided filter of single channels is thirty times too
    slow. There, [1 3 3 1] is [1 2 1] followed by the mean of neighbours.
    """
    channels = x.shape[1]
    if x.dtype == torch.bfloat16 and x.device.type == "cpu":
        taps = x.new_tensor((1.0, 2.0, 1.0))
        small = torch.outer(taps, taps) * (kernel.sum() / 16).to(x.dtype)
        small = small.expand(channels, 1, -1, -1)
        x = functional.conv2d(x, small, padding=1, groups=channels)
        return functional.avg_pool2d(x, 2)
    kernel = kernel.to(x.dtype).expand(channels, 1, -1, -1)
    return functional.conv2d(x, kernel, stride=2, padding=1, groups=channels)


class EqualizedLinear(nn.Module):
    """y = x W^T * lr / sqrt(C_in) + b * lr, then the scaled leaky ReLU if `activation`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: float = 0.0,
        lr_multiplier: float = 1.0,
        activation: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(out_features, in_features, std=1 / lr_multiplier))
        self.bias = nn.Parameter(torch.full((out_features,), bias))
        self.lr_multiplier = lr_multiplier
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in) -> (..., C_out)."""
        gain = self.lr_multiplier / sqrt(self.weight.shape[1])
        x = functional.linear(x, self.weight * gain, self.bias * self.lr_multiplier)
        return activate(x) if self.activation else x


class PixelNorm(nn.Module):
    """Scale every vector to unit mean square: x / sqrt(mean(x^2) + 1e-8) over dim 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape."""
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style (Sec. 2.2 of the StyleGAN2 paper).

        y = gain * demod * conv(style * x, W / sqrt(fan_in)) + bias,
        demod_o = 1 / sqrt(sum_{i,kl} (style_i W_oikl)^2 / fan_in + 1e-8)

    Style, demod and gain scale the activations, so that one convolution serves the whole batch.
    """

    blur_kernel: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_dim: int,
        *,
        upsample: bool = False,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(out_channels, in_channels, kernel_size, kernel_size))
        self.affine = EqualizedLinear(style_dim, in_channels, bias=1.0)
        self.upsample = upsample
        self.demodulate = demodulate
        self.reset_constants()

    def reset_constants(self) -> None:
        """Build what no checkpoint holds; needed again after loading onto the meta device."""
        self.register_buffer("blur_kernel", blur_kernel(gain=4.0), persistent=False)

    def forward(
        self,
        x: Tensor,
        code: Tensor,
        style_offset: Tensor | None,
        bias: Tensor,
        gain: float = 1.0,
        border: Tensor | None = None,
    ) -> Tensor:
        """Return (B, C_out, S, S), or (B, C_out, 2S, 2S) when upsampling.

        Args:
            x: (B, C_in, S, S).
            code: (B, D), this layer's row of W+.
            style_offset: (B, C_in), what a StyleSpace edit adds to the style; None is zero.
            bias: (C_out,), added last.
            gain: factor of the output, before the bias.
            border: (B, C_in, S + 2, S + 2), whose outermost ring pads x in place of zeros; the
                style does not scale it. Not for a layer that upsamples.
        """
        style, scale = self.style(code, style_offset, gain)
        x = self.convolve(x * style.to(x.dtype)[:, :, None, None], border)
        bias = bias.to(x.dtype)[:, None, None]
        return torch.addcmul(bias, x, scale.to(x.dtype)[:, :, None, None])

    def style(self, code: Tensor, offset: Tensor | None, gain: float) -> tuple[Tensor, Tensor]:
        """Return what scales the input's channels, (B, C_in), and the output's, (B, C_out or 1)."""
        style = self.affine(code)
        if offset is not None:
            style = style + offset
        style = style * (1 / sqrt(self.weight[0].numel()))
        if not self.demodulate:
            return style, style.new_full((style.shape[0], 1), gain)
        energy = style.square() @ self.energy().t()
        return style, torch.rsqrt(energy + 1e-8) * gain

    def energy(self) -> Tensor:
        """Return the sum of squares of each kernel, (C_out, C_in)."""
        return self.weight.square().sum(dim=(2, 3))

    def convolve(self, x: Tensor, border: Tensor | None = None) -> Tensor:
        """Return conv(x, W), blurred if it upsamples; arguments as `forward`."""
        weight = self.weight.to(x.dtype)
        if self.upsample:
            x = functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # side 2S + 1
            return blur(x, self.blur_kernel)
        if border is None:
            return functional.conv2d(x, weight, padding=weight.shape[2] // 2)
        framed = (border / sqrt(weight[0].numel())).to(x.dtype).expand(len(x), -1, -1, -1).clone()
        framed[:, :, 1:-1, 1:-1] = x
        return functional.conv2d(framed, weight)


class StyledLayer(nn.Module):
    """Modulated convolution, noise, bias and activation: one layer of the synthesis network.

    The activation's gain of sqrt(2) is taken before it, where it costs no pass over the pixels.
    """

    noise: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, side: int, style_dim: int, *, upsample: bool
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, out_channels, 3, style_dim, upsample=upsample)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", normal(1, 1, side, side))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(
        self,
        x: Tensor,
        code: Tensor,
        style_offset: Tensor | None,
        *,
        random_noise: bool = False,
        border: Tensor | None = None,
    ) -> Tensor:
        """Return (B, C_out, side, side); the noise is the stored one unless `random_noise`."""
        x = self.convolve(x, code, style_offset, border)
        return self.finish(x, torch.randn_like(x[:, :1]) if random_noise else self.noise)

    def convolve(
        self, x: Tensor, code: Tensor, style_offset: Tensor | None, border: Tensor | None = None
    ) -> Tensor:
        """Return the convolution with its bias, times the activation's gain."""
        return self.conv(x, code, style_offset, self.bias * sqrt(2), sqrt(2), border)

    def finish(self, x: Tensor, noise: Tensor) -> Tensor:
        """Add noise, (B or 1, 1, side, side), to what the convolution gives, and activate it."""
        noise = (noise * (self.noise_strength * sqrt(2))).to(x.dtype)
        return functional.leaky_relu_(x.add_(noise), 0.2)  # in place: no second picture in memory


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB, without demodulation, added to the upsampled skip."""

    def __init__(self, in_channels: int, style_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, 3, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(
        self,
        x: Tensor,
        code: Tensor,
        style_offset: Tensor | None,
        skip: Tensor | None,
        clamp: float | None = None,
    ) -> Tensor:
        """Return (B, 3, S, S); `skip` is the RGB image of half the side, None at the first."""
        rgb = self.conv(x, code, style_offset, self.bias)
        if clamp is not None:
            rgb = rgb.clamp(-clamp, clamp)
        return rgb if skip is None else rgb + upsample_rgb(skip, self.conv.blur_kernel)


def upsample_rgb(rgb: Tensor, kernel: Tensor) -> Tensor:
    """Double the side of (B, 3, S, S) with the 4x4 filter of gain 4."""
    channels = rgb.shape[1]
    kernel = kernel.to(rgb.dtype).expand(channels, 1, -1, -1)
    return functional.conv_transpose2d(rgb, kernel, stride=2, padding=1, groups=channels)
