"""The stem of residual networks, and the strided shortcut of their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution, the strided shortcut of residual layers.

    Where C is no multiple of 8, x is subsampled first: oneDNN's backward of a strided convolution
    (torch 2.13, AVX2, channels last) goes out of bounds there. For other C a strided convolution
    is right, and two to four times faster channels last.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, O, S / stride, S / stride), rounded up."""
        step = self.stride[0]
        if step > 1 and self.in_channels % 8:
            return functional.conv2d(x[:, :, ::step, ::step], self.weight, self.bias)
        return super().forward(x)


def stem(
    in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1
) -> nn.Sequential:
    """Return PReLU(BN(conv(x))): (B, C, S, S) -> (B, O, S / stride, S / stride)."""
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.PReLU(out_channels),
    )


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return BN(conv1x1(x)), the shortcut where sizes change."""
    return nn.Sequential(
        Conv1x1(in_channels, out_channels, stride),
        nn.BatchNorm2d(out_channels),
    )
