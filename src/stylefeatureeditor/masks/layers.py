"""Layers that both face parsers are made of.

Shapes: B batch, C_in and C_out channels, H x W cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNormReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU: (B, C_in, H, W) -> (B, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply all three."""
        return functional.relu(self.norm(self.conv(x)))


def standardise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Take pixels in [-1, 1] to zero mean and unit variance; `mean` and `std` are of [0, 1]."""
    centre = torch.tensor(mean, dtype=pixels.dtype, device=pixels.device).view(1, -1, 1, 1)
    spread = torch.tensor(std, dtype=pixels.dtype, device=pixels.device).view(1, -1, 1, 1)
    return ((pixels + 1) / 2 - centre) / spread
