"""Inception v3 as FID uses it: images become vectors of 2048, compared as sets.

    X -> resize to 299 -> stem -> Mixed 5b..7c -> mean over cells -> (B, 2048)

The network of 2015 (Szegedy et al. 2016) that FID is defined by (Heusel et al. 2017), in the
layout in which pytorch-fid publishes it. It differs from later Inceptions in its pooling: means
leave the padding out, and the last block takes a maximum instead of a mean.

Two ways to prepare images give two scores; numbers compare only within one of them:

    fid_input        bilinear, no antialiasing, [-1, 1]                        pytorch-fid
    clean_fid_input  each channel bicubic with antialiasing, (x - 128) / 128   Parmar et al. 2022

Shapes: B batch, C channels, S side in cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.errors import WeightsError, check_shape
from stylefeatureeditor.metrics.perceptual import Frozen
from stylefeatureeditor.photo.image import to_uint8
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.unpickle import read_torch

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 299
WIDTH = 2048
NORM_EPS = 1e-3

Kernel = int | tuple[int, int]


class ConvUnit(nn.Module):
    """relu(BN(conv(x))); without a stride of 2 or `valid` the side stays."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: Kernel,
        stride: int = 1,
        *,
        valid: bool = True,
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid else (sides[0] // 2, sides[1] // 2)
        self.conv = nn.Conv2d(in_channels, channels, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, channels, S', S')."""
        return functional.relu(self.bn(self.conv(x)))


def same(in_channels: int, channels: int, kernel: Kernel) -> ConvUnit:
    """Return a unit that keeps the side."""
    return ConvUnit(in_channels, channels, kernel, valid=False)


def mean3(x: Tensor) -> Tensor:
    """Mean of each cell's 3 x 3 neighbours that exist."""
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def max3(x: Tensor) -> Tensor:
    """Maximum of each cell's 3 x 3 neighbours."""
    return functional.max_pool2d(x, 3, stride=1, padding=1)


class MixedA(nn.Module):
    """35 x 35: 1x1, 5x5, two 3x3, pooled."""

    def __init__(self, in_channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = same(in_channels, 64, 1)
        self.branch5x5_1 = same(in_channels, 48, 1)
        self.branch5x5_2 = same(48, 64, 5)
        self.branch3x3dbl_1 = same(in_channels, 64, 1)
        self.branch3x3dbl_2 = same(64, 96, 3)
        self.branch3x3dbl_3 = same(96, 96, 3)
        self.branch_pool = same(in_channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, 224 + pooled, S, S)."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(mean3(x))], 1)


class MixedB(nn.Module):
    """35 x 35 -> 17 x 17."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvUnit(in_channels, 384, 3, 2)
        self.branch3x3dbl_1 = same(in_channels, 64, 1)
        self.branch3x3dbl_2 = same(64, 96, 3)
        self.branch3x3dbl_3 = ConvUnit(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, 480 + C, S / 2, S / 2)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], 1)


class MixedC(nn.Module):
    """17 x 17: 7x7 as 1x7 and 7x1, once and twice."""

    def __init__(self, in_channels: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = same(in_channels, 192, 1)
        self.branch7x7_1 = same(in_channels, inner, 1)
        self.branch7x7_2 = same(inner, inner, (1, 7))
        self.branch7x7_3 = same(inner, 192, (7, 1))
        self.branch7x7dbl_1 = same(in_channels, inner, 1)
        self.branch7x7dbl_2 = same(inner, inner, (7, 1))
        self.branch7x7dbl_3 = same(inner, inner, (1, 7))
        self.branch7x7dbl_4 = same(inner, inner, (7, 1))
        self.branch7x7dbl_5 = same(inner, 192, (1, 7))
        self.branch_pool = same(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, 768, S, S)."""
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(mean3(x))], 1)


class MixedD(nn.Module):
    """17 x 17 -> 8 x 8."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = same(in_channels, 192, 1)
        self.branch3x3_2 = ConvUnit(192, 320, 3, 2)
        self.branch7x7x3_1 = same(in_channels, 192, 1)
        self.branch7x7x3_2 = same(192, 192, (1, 7))
        self.branch7x7x3_3 = same(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvUnit(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, 512 + C, S / 2, S / 2)."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        pooled = functional.max_pool2d(x, 3, 2)
        return torch.cat([three, self.branch7x7x3_4(seven), pooled], 1)


class MixedE(nn.Module):
    """8 x 8: 3x3 split into 1x3 beside 3x1; the network's last block pools by maximum."""

    def __init__(self, in_channels: int, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.branch1x1 = same(in_channels, 320, 1)
        self.branch3x3_1 = same(in_channels, 384, 1)
        self.branch3x3_2a = same(384, 384, (1, 3))
        self.branch3x3_2b = same(384, 384, (3, 1))
        self.branch3x3dbl_1 = same(in_channels, 448, 1)
        self.branch3x3dbl_2 = same(448, 384, 3)
        self.branch3x3dbl_3a = same(384, 384, (1, 3))
        self.branch3x3dbl_3b = same(384, 384, (3, 1))
        self.branch_pool = same(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, 2048, S, S)."""
        one = self.branch3x3_1(x)
        two = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        parts = [
            self.branch1x1(x),
            self.branch3x3_2a(one),
            self.branch3x3_2b(one),
            self.branch3x3dbl_3a(two),
            self.branch3x3dbl_3b(two),
            self.branch_pool(max3(x) if self.last else mean3(x)),
        ]
        return torch.cat(parts, 1)


class Inception(Frozen):
    """(B, 3, 299, 299) -> (B, 2048). Attribute names are the keys of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvUnit(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = ConvUnit(32, 32, 3)
        self.Conv2d_2b_3x3 = same(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvUnit(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvUnit(80, 192, 3)
        self.Mixed_5b = MixedA(192, 32)
        self.Mixed_5c = MixedA(256, 64)
        self.Mixed_5d = MixedA(288, 64)
        self.Mixed_6a = MixedB(288)
        self.Mixed_6b = MixedC(768, 128)
        self.Mixed_6c = MixedC(768, 160)
        self.Mixed_6d = MixedC(768, 160)
        self.Mixed_6e = MixedC(768, 192)
        self.Mixed_7a = MixedD(768)
        self.Mixed_7b = MixedE(1280, last=False)
        self.Mixed_7c = MixedE(2048, last=True)
        self.freeze()

    @torch.no_grad()
    def forward(self, prepared: Tensor) -> Tensor:
        """Return the features of images that `fid_input` or `clean_fid_input` prepared."""
        check_shape("prepared", prepared, (None, 3, SIDE, SIDE))
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(prepared)))
        x = functional.max_pool2d(x, 3, 2)  # (B, 64, 73, 73)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, 2)  # (B, 192, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (B, 2048, 8, 8)
        return x.mean(dim=(2, 3))


def load_inception(path: Path) -> Inception:
    """Return the network with pytorch-fid's weights.

    Raises:
        WeightsError: the file is missing, damaged, or of another layout.
    """
    if not path.is_file():
        raise WeightsError(f"there is no {path}; `sfe models pull inception` fetches it")
    state = read_torch(path)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no table of tensors, so no Inception")
    network = Inception()
    counters = {k: v for k, v in network.state_dict().items() if k.endswith(".num_batches_tracked")}
    kept = {key: value for key, value in state.items() if not key.startswith("fc.")}
    assign_state(network, {**counters, **kept}, str(path))  # older files lack the counters
    network.freeze()
    return network


def fid_input(pixels: Tensor) -> Tensor:
    """Prepare images as pytorch-fid does, (B, 3, 299, 299) in [-1, 1].

    Args:
        pixels: (B, 3, H, W) in [-1, 1].
    """
    return functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", align_corners=False)


def clean_fid_input(pixels: Tensor) -> Tensor:
    """Prepare images as clean-fid does, (B, 3, 299, 299) in [-1, 0.993].

    Every pixel counts when an image shrinks, and nothing is rounded after the resize.

    Args:
        pixels: (B, 3, H, W) in [-1, 1]; rounded to 8 bits first.
    """
    resized = np.stack([_bicubic(picture) for picture in to_uint8(pixels)])  # (B, 3, 299, 299)
    return torch.from_numpy((resized - 128) / 128).to(pixels.device)


def _bicubic(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (3, 299, 299) float32 in [0, 255]."""
    planes = [
        Image.fromarray(channel.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        for channel in picture.transpose(2, 0, 1)
    ]
    return np.stack([np.asarray(plane) for plane in planes]).clip(0, 255)
