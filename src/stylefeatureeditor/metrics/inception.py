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


class ConvUnit(nn.Module):
    """relu(BN(conv(x))) with a kernel "3" or "1x7"; "3v" does not pad, nor "3s" of stride 2."""

    def __init__(self, in_channels: int, channels: int, kernel: str) -> None:
        super().__init__()
        height, width = (int(side.rstrip("vs")) for side in (kernel.split("x") * 2)[:2])
        padding = (0, 0) if kernel[-1] in "vs" else (height // 2, width // 2)
        stride = 2 if kernel.endswith("s") else 1
        self.conv = nn.Conv2d(in_channels, channels, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, channels, S', S')."""
        return functional.relu(self.bn(self.conv(x)))


def mean3(x: Tensor) -> Tensor:
    """Mean of each cell's 3 x 3 neighbours that exist."""
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def max3(x: Tensor) -> Tensor:
    """Maximum of each cell's 3 x 3 neighbours."""
    return functional.max_pool2d(x, 3, stride=1, padding=1)


class Mixed(nn.Module):
    """A block: its branches side by side, their channels joined.

    Args:
        in_channels: C.
        table: lines "name input channels kernel". An input is an earlier name, x, or the "mean" or
            "max" of x's 3 x 3 cells. What no line takes leaves the block.
        pooled: x's maxima of 3 x 3 cells with a stride of 2 leave it too.
    """

    def __init__(self, in_channels: int, table: str, *, pooled: bool = False) -> None:
        super().__init__()
        self.pooled, self.inputs, widths = pooled, dict[str, str](), dict[str, int]()
        for line in table.strip().splitlines():
            name, source, channels, kernel = line.split()
            unit = ConvUnit(widths.get(source, in_channels), int(channels), kernel)
            self.add_module(f"branch{name}", unit)
            self.inputs[name], widths[name] = source, int(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S', S')."""
        known = {"x": x}
        for name, source in self.inputs.items():
            if source not in known:
                known[source] = mean3(x) if source == "mean" else max3(x)
            known[name] = self.get_submodule(f"branch{name}")(known[source])
        ends = [known[name] for name in self.inputs if name not in self.inputs.values()]
        return torch.cat([*ends, functional.max_pool2d(x, 3, 2)] if self.pooled else ends, 1)


MIXED_A = """
1x1       x         64  1
5x5_1     x         48  1
5x5_2     5x5_1     64  5
3x3dbl_1  x         64  1
3x3dbl_2  3x3dbl_1  96  3
3x3dbl_3  3x3dbl_2  96  3
_pool     mean      {}  1
"""
MIXED_B = """
3x3       x         384  3s
3x3dbl_1  x         64   1
3x3dbl_2  3x3dbl_1  96   3
3x3dbl_3  3x3dbl_2  96   3s
"""
MIXED_C = """
1x1       x         192  1
7x7_1     x         {0}  1
7x7_2     7x7_1     {0}  1x7
7x7_3     7x7_2     192  7x1
7x7dbl_1  x         {0}  1
7x7dbl_2  7x7dbl_1  {0}  7x1
7x7dbl_3  7x7dbl_2  {0}  1x7
7x7dbl_4  7x7dbl_3  {0}  7x1
7x7dbl_5  7x7dbl_4  192  1x7
_pool     mean      192  1
"""
MIXED_D = """
3x3_1    x        192  1
3x3_2    3x3_1    320  3s
7x7x3_1  x        192  1
7x7x3_2  7x7x3_1  192  1x7
7x7x3_3  7x7x3_2  192  7x1
7x7x3_4  7x7x3_3  192  3s
"""
MIXED_E = """
1x1        x         320  1
3x3_1      x         384  1
3x3_2a     3x3_1     384  1x3
3x3_2b     3x3_1     384  3x1
3x3dbl_1   x         448  1
3x3dbl_2   3x3dbl_1  384  3
3x3dbl_3a  3x3dbl_2  384  1x3
3x3dbl_3b  3x3dbl_2  384  3x1
_pool      {}        192  1
"""


class Inception(Frozen):
    """(B, 3, 299, 299) -> (B, 2048). Attribute names are the keys of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvUnit(3, 32, "3s")
        self.Conv2d_2a_3x3 = ConvUnit(32, 32, "3v")
        self.Conv2d_2b_3x3 = ConvUnit(32, 64, "3")
        self.Conv2d_3b_1x1 = ConvUnit(64, 80, "1")
        self.Conv2d_4a_3x3 = ConvUnit(80, 192, "3v")
        self.Mixed_5b = Mixed(192, MIXED_A.format(32))
        self.Mixed_5c = Mixed(256, MIXED_A.format(64))
        self.Mixed_5d = Mixed(288, MIXED_A.format(64))
        self.Mixed_6a = Mixed(288, MIXED_B, pooled=True)
        self.Mixed_6b = Mixed(768, MIXED_C.format(128))
        self.Mixed_6c = Mixed(768, MIXED_C.format(160))
        self.Mixed_6d = Mixed(768, MIXED_C.format(160))
        self.Mixed_6e = Mixed(768, MIXED_C.format(192))
        self.Mixed_7a = Mixed(768, MIXED_D, pooled=True)
        self.Mixed_7b = Mixed(1280, MIXED_E.format("mean"))
        self.Mixed_7c = Mixed(2048, MIXED_E.format("max"))
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
    """Return the network with pytorch-fid's weights; WeightsError without a sound file."""
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
    """Prepare images (B, 3, H, W) in [-1, 1] as pytorch-fid does: (B, 3, 299, 299) in [-1, 1]."""
    return functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", align_corners=False)


def clean_fid_input(pixels: Tensor) -> Tensor:
    """Prepare images (B, 3, H, W) in [-1, 1] as clean-fid does: (B, 3, 299, 299) in [-1, 0.993].

    They are rounded to 8 bits before the resize, and not after it.
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
