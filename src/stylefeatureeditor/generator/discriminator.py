"""StyleGAN2 discriminator D (Karras et al., 2020, the residual architecture).

    x = act(from_rgb(image))
    x = (down(skip(x)) + act(down(conv2(act(conv1(x)))))) / sqrt(2)      per resolution, to 4 x 4
    logit = linear(act(linear(act(conv([x, spread of the batch])))))

The adversarial losses of phase 1 and 2 (App. 7) are taken from its logits. One network serves the
two published layouts, stylegan2-ada and rosinality: they name the same arithmetic differently.

Shapes: B batch, C channels and S side of a layer, R pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.errors import (
    WIDEST,
    ConfigError,
    check_shape,
    check_side,
    check_sizes,
)
from stylefeatureeditor.generator.layers import (
    EqualizedLinear,
    blur,
    blur_and_halve,
    blur_kernel,
    normal,
)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Size of D; the defaults match the released FFHQ generator (config f)."""

    size: int = 1024  # R, a power of two
    channel_base: int = 32768  # channels(side) = min(channel_max, channel_base // side)
    channel_max: int = 512
    group_size: int = 4  # images compared with one another by the spread feature
    clamp: float | None = None  # NVIDIA's conv_clamp: layer outputs stay in [-clamp, clamp]

    def __post_init__(self) -> None:
        check_side(self.size, 8)
        check_sizes(self, (self.channel_max, self.group_size), WIDEST)
        if self.channels(self.size) < 1:
            raise ConfigError(f"channel_base {self.channel_base} leaves no channel at {self.size}")

    def channels(self, side: int) -> int:
        """C at a resolution."""
        return min(self.channel_max, self.channel_base // side)

    @property
    def sides(self) -> tuple[int, ...]:
        """S at the start of each residual block, from R down to 8."""
        return tuple(1 << power for power in range(self.size.bit_length() - 1, 2, -1))


class Discriminator(nn.Module):
    """One logit per image: high for photos, low for generated images."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        clamp = config.clamp
        self.from_rgb = EqualizedConv(3, config.channels(config.size), 1, clamp=clamp)
        self.blocks = nn.ModuleList(
            ResidualBlock(config.channels(side), config.channels(side // 2), clamp=clamp)
            for side in config.sides
        )
        last = config.channels(4)
        self.conv = EqualizedConv(last + 1, last, 3, clamp=clamp)
        self.hidden = EqualizedLinear(last * 4 * 4, last, activation=True)
        self.logit = EqualizedLinear(last, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits, (B, 1)."""
        return self.logit(self.hidden(self.features(pixels).flatten(1)))

    def features(self, pixels: Tensor) -> Tensor:
        """Return the output of the last convolution, (B, C, 4, 4)."""
        check_shape("pixels", pixels, (None, 3, self.config.size, self.config.size))
        x = self.from_rgb(pixels)
        for block in self.blocks:
            x = block(x)  # (B, C, S, S) -> (B, C', S/2, S/2)
        return self.conv(append_spread(x, self.config.group_size))


class ResidualBlock(nn.Module):
    """Two convolutions beside a 1x1 one; the side halves, the variance is kept."""

    def __init__(self, in_channels: int, out_channels: int, *, clamp: float | None) -> None:
        super().__init__()
        self.conv1 = EqualizedConv(in_channels, in_channels, 3, clamp=clamp)
        self.conv2 = EqualizedConv(in_channels, out_channels, 3, downsample=True, clamp=clamp)
        self.skip = EqualizedConv(
            in_channels, out_channels, 1, downsample=True, activation=False, clamp=clamp
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S/2, S/2)."""
        return self.conv2(self.conv1(x), sqrt(0.5)) + self.skip(x, sqrt(0.5))


class EqualizedConv(nn.Module):
    """conv(x, W / sqrt(fan_in)), then bias and scaled leaky ReLU if `activation`.

    Positive factors pass through a leaky ReLU, so they go into weight and bias, without a pass over
    the pixels.
    """

    blur_kernel: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        downsample: bool = False,
        activation: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if activation else None
        self.downsample = downsample
        self.clamp = clamp
        self.register_buffer("blur_kernel", blur_kernel(), persistent=False)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """(B, C_in, S, S) -> `gain` times the output, (B, C_out, S, S) or half the side."""
        scale = gain if self.bias is None else gain * sqrt(2)
        weight = self.weight * (scale / sqrt(self.weight[0].numel()))
        bias = None if self.bias is None else self.bias * scale
        reach = weight.shape[-1] // 2
        if not self.downsample:
            x = functional.conv2d(x, weight, bias, padding=reach)
        elif reach == 0:  # sees only every other blurred cell, so only those are made
            x = functional.conv2d(blur_and_halve(x, self.blur_kernel), weight, bias)
        else:
            x = blur(x, self.blur_kernel, padding=1 + reach)
            x = functional.conv2d(x, weight, bias, stride=2)
        if self.bias is not None:
            x = functional.leaky_relu_(x, 0.2)
        return x if self.clamp is None else x.clamp(-self.clamp * gain, self.clamp * gain)


def append_spread(x: Tensor, group_size: int) -> Tensor:
    """Append to (B, C, S, S) how much a group of images differs (minibatch standard deviation).

    Group g holds the images g, g + B/G, g + 2B/G, ...; G is `group_size`, or the largest number
    below it that divides B.
    """
    batch, _, side, _ = x.shape
    group = max(size for size in range(1, min(group_size, batch) + 1) if batch % size == 0)
    grouped = x.float().unflatten(0, (group, batch // group))  # (G, B/G, C, S, S)
    variance = grouped.var(dim=0, unbiased=False)  # (B/G, C, S, S)
    spread = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))  # (B/G,)
    channel = spread.repeat(group)[:, None, None, None].expand(batch, 1, side, side)
    return torch.cat([x, channel.to(x.dtype)], dim=1)
