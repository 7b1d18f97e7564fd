"""iresnet: the residual trunk of the Feature-Style encoder, the Fuser and the Feature Editor.

    y = skip(x) + BN(conv3x3(PReLU(BN(conv3x3(BN(x))))))        Fig. 7
    four stages of such layers after a 3x3 stem                  Fig. 8, left

Architecture: Duta et al., "Improved Residual Networks" (2020), in ArcFace's form.
Shapes: B batch, C channels, S side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stylefeatureeditor.backbones.shortcut import projection, stem
from stylefeatureeditor.errors import MOST_LAYERS, WIDEST, ConfigError, check_sizes


@dataclass(frozen=True, kw_only=True)
class IResNetConfig:
    """Size of the trunk; the defaults are the released one's (docs/adr/0012)."""

    stem_channels: int = 64
    channels: tuple[int, ...] = (64, 128, 256, 512)
    depths: tuple[int, ...] = (3, 4, 14, 3)
    strides: tuple[int, ...] = (2, 2, 1, 2)  # stage 3 keeps its side: F_k is a quarter of the photo

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.depths) == len(self.strides) == 4:
            raise ConfigError(f"channels, depths and strides need four entries each: {self}")
        check_sizes(self, (*self.channels, self.stem_channels), WIDEST)
        check_sizes(self, (*self.depths, *self.strides), MOST_LAYERS)


class IResNetBranch(nn.Module):
    """The residual branch of Fig. 7, without its skip: (B, C, S, S) -> (B, C', S / stride, ...)."""

    def __init__(self, in_channels: int, out_channels: int | None = None, stride: int = 1) -> None:
        super().__init__()
        out = out_channels or in_channels
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.activation = nn.PReLU(out)
        self.conv2 = nn.Conv2d(out, out, 3, stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch, to be added to the skip."""
        x = self.activation(self.norm2(self.conv1(self.norm1(x))))
        return self.norm3(self.conv2(x))


class IResNetLayer(nn.Module):
    """One layer of Fig. 7: branch plus skip, the skip a strided 1x1 convolution if sizes change."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, *, project: bool = False
    ) -> None:
        super().__init__()
        self.branch = IResNetBranch(in_channels, out_channels, stride)
        self.skip: nn.Module = nn.Identity()
        if project or stride != 1 or in_channels != out_channels:
            self.skip = projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S / stride, S / stride)."""
        return self.skip(x) + self.branch(x)


class IResNetTrunk(nn.Module):
    """Stem and four stages; each stage's first layer carries its stride and a projected skip."""

    def __init__(self, config: IResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = stem(3, config.stem_channels)
        self.stages = nn.ModuleList()
        width = config.stem_channels
        for channels, depth, stride in zip(
            config.channels, config.depths, config.strides, strict=True
        ):
            first = IResNetLayer(width, channels, stride, project=True)
            rest = (IResNetLayer(channels, channels) for _ in range(depth - 1))
            self.stages.append(nn.Sequential(first, *rest))
            width = channels

    def forward(self, photos: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [-1, 1] -> the four stage outputs, each (B, channels[i], ...)."""
        x, outputs = self.stem(photos), []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


@dataclass(frozen=True, kw_only=True)
class MergerConfig:
    """Size of a merger; the defaults are the paper's and the released face model's (App. 8)."""

    channels: int = 512  # C of either input and of the output
    num_residual_layers: int = 5  # with the 1x1 merge the "6 layers" of App. 8; docs/adr/0004

    def __post_init__(self) -> None:
        check_sizes(self, (self.channels,), WIDEST)
        check_sizes(self, (self.num_residual_layers,), MOST_LAYERS)


class FeatureMerger(nn.Module):
    """1x1 merge of two feature maps, then residual layers at constant side (Fig. 8, right).

    The Fuser (Eq. 2) and the Feature Editor (Eq. 6) have this body.
    """

    def __init__(self, config: MergerConfig) -> None:
        super().__init__()
        channels, layers = config.channels, range(config.num_residual_layers)
        self.merge = nn.Conv2d(2 * channels, channels, kernel_size=1)
        self.branches = nn.ModuleList(IResNetBranch(channels) for _ in layers)

    def forward(self, pair: Tensor) -> Tensor:
        """(B, 2C, S, S) -> (B, C, S, S)."""
        x = self.merge(pair)
        for branch in self.branches:
            x = x + branch(x)
        return x

    @torch.no_grad()
    def begin_at(self, first: float, second: float) -> None:
        """Start at first * one input + second * the other, with residual branches of zero."""
        unit = torch.eye(len(self.merge.weight))[:, :, None, None]  # (C, C, 1, 1)
        self.merge.weight.copy_(torch.cat([first * unit, second * unit], dim=1))
        self.merge.bias.zero_()  # type: ignore[union-attr]
        for branch in self.branches:
            branch.norm3.weight.zero_()  # type: ignore[union-attr, operator]
            branch.norm3.bias.zero_()  # type: ignore[union-attr, operator]
