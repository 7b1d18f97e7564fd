"""IR-SE trunks of ArcFace: under e4e, under the identity loss, and the identity metric's IR-101.

    y = shortcut(x) + SE(BN(conv3x3(PReLU(conv3x3(BN(x))))))

SE is squeeze and excitation (absent in plain IR); the shortcut is a strided 1x1 convolution where
channels change, else plain subsampling. Architecture: Deng et al., "ArcFace" (2019).
Shapes: B batch, C channels, S side.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.shortcut import projection, stem
from stylefeatureeditor.errors import MOST_LAYERS, WIDEST, ConfigError, check_sizes


@dataclass(frozen=True, kw_only=True)
class IRConfig:
    """Size of the trunk; the defaults are IR-SE50. IR-101 has depths (3, 13, 30, 3), no SE."""

    channels: tuple[int, ...] = (64, 128, 256, 512)  # the stem has channels[0]
    depths: tuple[int, ...] = (3, 4, 14, 3)
    squeeze: int | None = 16  # reduction of squeeze and excitation; None leaves it out

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.depths) == 4:
            raise ConfigError(f"channels and depths need four entries each: {self}")
        squeeze = 1 if self.squeeze is None else self.squeeze
        check_sizes(self, (*self.channels, squeeze), WIDEST)
        check_sizes(self, self.depths, MOST_LAYERS)
        if self.squeeze is not None and self.squeeze > min(self.channels):
            raise ConfigError(f"squeeze {self.squeeze} leaves no channel of {min(self.channels)}")


class SqueezeExcitation(nn.Module):
    """Scale each channel by sigmoid(fc2(relu(fc1(its mean)))), fc as biasless 1x1 convolutions."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, kernel_size=1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> the same shape."""
        mean = x.mean(dim=(2, 3), keepdim=True)
        return x * self.fc2(functional.relu(self.fc1(mean))).sigmoid()


class IRBlock(nn.Module):
    """One residual block of the trunk."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, squeeze: int | None
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.activation = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.excite = nn.Identity() if squeeze is None else SqueezeExcitation(out_channels, squeeze)
        self.shortcut: nn.Module
        if in_channels == out_channels:
            self.shortcut = nn.Identity() if stride == 1 else nn.MaxPool2d(1, stride)  # subsampling
        else:
            self.shortcut = projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S / stride, S / stride)."""
        branch = self.activation(self.conv1(self.norm1(x)))
        return self.shortcut(x) + self.excite(self.norm2(self.conv2(branch)))


class IRTrunk(nn.Module):
    """Stem and four stages, each halving the side in its first block."""

    def __init__(self, config: IRConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels[0]
        self.stem = stem(3, width)
        self.blocks = nn.ModuleList()
        for channels, depth in zip(config.channels, config.depths, strict=True):
            for index in range(depth):
                stride = 2 if index == 0 else 1
                self.blocks.append(IRBlock(width, channels, stride, config.squeeze))
                width = channels

    def forward(self, photos: Tensor) -> list[Tensor]:
        """(B, 3, S, S) -> the four stage outputs: sides S/2, S/4, S/8, S/16."""
        x, outputs, blocks = self.stem(photos), [], iter(self.blocks)
        for depth in self.config.depths:
            for block in islice(blocks, depth):
                x = block(x)
            outputs.append(x)
        return outputs
