"""BiSeNet face parser: 19 classes of CelebAMask-HQ from a photo.

Paper: Yu et al., "BiSeNet: Bilateral Segmentation Network", ECCV 2018 (Sec. 3.2 attention
refinement, feature fusion). Layout of the weights: zllrunning/face-parsing.PyTorch (`model.py`,
file `79999_iter.pth`; code MIT; trained on CelebAMask-HQ, which is for non-commercial research).
That version has no spatial path: the stride-8 output of its ResNet-18 stands in for it.

Shapes: B batch, K classes, H x W input (any size; 512 x 512 in training), C context channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.convolution import Conv1x1
from stylefeatureeditor.errors import ConfigError, check_shape
from stylefeatureeditor.masks.layers import ConvNormReLU, standardise
from stylefeatureeditor.masks.released_state import load_renamed, released_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_BLOCKS_PER_STAGE = 2
_STAGES = 4


@dataclass(frozen=True, kw_only=True)
class BiSeNetConfig:
    """Sizes of the network; the defaults are the published face parser."""

    num_classes: int = 19
    width: int = 64  # channels of the first of four ResNet stages; each next one doubles
    context_channels: int = 128
    fused_channels: int = 256
    auxiliary_channels: int = 64  # of the two heads that only training looks at

    def __post_init__(self) -> None:
        smallest = min(self.num_classes, self.width, self.context_channels, self.auxiliary_channels)
        if smallest < 1 or self.fused_channels < 4:
            raise ConfigError(
                f"BiSeNet: expected sizes of at least 1 and 4 fused channels, got {self}"
            )


class ResidualBlock(nn.Module):
    """Basic block of ResNet-18: two 3x3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                Conv1x1(in_channels, out_channels, stride),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H / stride, W / stride), rounded up."""
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.shortcut(x) + self.norm2(self.conv2(y)))


class ResNet18(nn.Module):
    """Trunk: (B, 3, H, W) -> features at stride 8, 16 and 32, of 2, 4 and 8 times `width`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.stages = nn.ModuleList()
        channels = width
        for stage in range(_STAGES):
            wider = width * 2**stage
            first = ResidualBlock(channels, wider, stride=1 if stage == 0 else 2)
            rest = (ResidualBlock(wider, wider, stride=1) for _ in range(_BLOCKS_PER_STAGE - 1))
            self.stages.append(nn.Sequential(first, *rest))
            channels = wider

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features at stride 8, 16 and 32 of standardised pixels (B, 3, H, W)."""
        x = functional.relu(self.norm(self.conv(x)))
        x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)  # stride 4
        x = self.stages[0](x)
        eighth = self.stages[1](x)
        sixteenth = self.stages[2](eighth)
        return eighth, sixteenth, self.stages[3](sixteenth)


class AttentionRefinement(nn.Module):
    """Convolution whose channels are gated by their own global mean (Fig. 2b)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvNormReLU(in_channels, out_channels, kernel_size=3)
        self.gate_conv = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.gate_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C, h, w)."""
        x = self.conv(x)
        mean = x.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        return x * torch.sigmoid(self.gate_norm(self.gate_conv(mean)))


class ContextPath(nn.Module):
    """ResNet-18 and its way back up: (B, 3, H, W) -> detail, context at stride 8, at stride 16."""

    def __init__(self, config: BiSeNetConfig) -> None:
        super().__init__()
        width, channels = config.width, config.context_channels
        self.trunk = ResNet18(width)
        self.refine16 = AttentionRefinement(4 * width, channels)
        self.refine32 = AttentionRefinement(8 * width, channels)
        self.smooth16 = ConvNormReLU(channels, channels, kernel_size=3)
        self.smooth32 = ConvNormReLU(channels, channels, kernel_size=3)
        self.summary = ConvNormReLU(8 * width, channels, kernel_size=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return detail (stride 8), context (stride 8) and context (stride 16)."""
        eighth, sixteenth, last = self.trunk(x)
        whole = self.summary(last.mean(dim=(2, 3), keepdim=True))  # (B, C, 1, 1)
        up = functional.interpolate(self.refine32(last) + whole, sixteenth.shape[2:])  # nearest
        context16 = self.smooth32(up)
        up = functional.interpolate(self.refine16(sixteenth) + context16, eighth.shape[2:])
        return eighth, self.smooth16(up), context16


class FeatureFusion(nn.Module):
    """Join detail and context, then weigh the channels, x + x * gate (Fig. 2c)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.merge = ConvNormReLU(in_channels, out_channels, kernel_size=1)
        self.squeeze = nn.Conv2d(out_channels, out_channels // 4, 1, bias=False)
        self.excite = nn.Conv2d(out_channels // 4, out_channels, 1, bias=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Return (B, C_out, h, w) of two maps of one size."""
        x = self.merge(torch.cat([detail, context], dim=1))
        mean = x.mean(dim=(2, 3), keepdim=True)
        return x + x * torch.sigmoid(self.excite(functional.relu(self.squeeze(mean))))


class SegmentationHead(nn.Module):
    """3x3 convolution and a 1x1 classifier without bias: features -> (B, K, h, w)."""

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = ConvNormReLU(in_channels, channels, kernel_size=3)
        self.classify = nn.Conv2d(channels, num_classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, K, h, w)."""
        return self.classify(self.conv(x))


class BiSeNet(nn.Module):
    """The network: pixels in, one logit per class and pixel out."""

    def __init__(self, config: BiSeNetConfig) -> None:
        super().__init__()
        self.config = config
        context, fused, classes = (
            config.context_channels,
            config.fused_channels,
            config.num_classes,
        )
        self.context = ContextPath(config)
        self.fusion = FeatureFusion(2 * config.width + context, fused)
        self.head = SegmentationHead(fused, fused, classes)
        self.head8 = SegmentationHead(context, config.auxiliary_channels, classes)
        self.head16 = SegmentationHead(context, config.auxiliary_channels, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of `pixels` (B, 3, H, W) in [-1, 1].

        Raises:
            ShapeError: `pixels` is not (B, 3, H, W).
        """
        detail, context8, _ = self._features(pixels)
        return self._enlarge(self.head(self.fusion(detail, context8)), pixels)

    def supervised(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits of `forward` and of both auxiliary heads, which training adds."""
        detail, context8, context16 = self._features(pixels)
        main = self._enlarge(self.head(self.fusion(detail, context8)), pixels)
        eighth = self._enlarge(self.head8(context8), pixels)
        return main, eighth, self._enlarge(self.head16(context16), pixels)

    def _features(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        check_shape("pixels", pixels, (None, 3, None, None))
        features: tuple[Tensor, Tensor, Tensor] = self.context(
            standardise(pixels, IMAGENET_MEAN, IMAGENET_STD)
        )
        return features

    def _enlarge(self, logits: Tensor, pixels: Tensor) -> Tensor:
        """From stride 8 to the input's size; corner to corner, as published."""
        return functional.interpolate(logits, pixels.shape[2:], mode="bilinear", align_corners=True)


def released_bisenet_keys(network: BiSeNet) -> dict[str, str]:
    """Map the keys of `79999_iter.pth` to those of `network`."""
    modules = {"context.trunk.conv": "cp.resnet.conv1", "context.trunk.norm": "cp.resnet.bn1"}
    layers = {"conv1": "conv1", "norm1": "bn1", "conv2": "conv2", "norm2": "bn2"}
    layers |= {"shortcut.0": "downsample.0", "shortcut.1": "downsample.1"}
    for stage in range(_STAGES):
        for block in range(_BLOCKS_PER_STAGE):
            ours = f"context.trunk.stages.{stage}.{block}"
            theirs = f"cp.resnet.layer{stage + 1}.{block}"
            modules |= {f"{ours}.{a}": f"{theirs}.{b}" for a, b in layers.items()}
    for stride in (16, 32):
        modules[f"context.refine{stride}.gate_conv"] = f"cp.arm{stride}.conv_atten"
        modules[f"context.refine{stride}.gate_norm"] = f"cp.arm{stride}.bn_atten"
    pairs = {
        "context.refine16.conv": "cp.arm16.conv",
        "context.refine32.conv": "cp.arm32.conv",
        "context.smooth16": "cp.conv_head16",
        "context.smooth32": "cp.conv_head32",
        "context.summary": "cp.conv_avg",
        "fusion.merge": "ffm.convblk",
        "head.conv": "conv_out.conv",
        "head8.conv": "conv_out16.conv",
        "head16.conv": "conv_out32.conv",
    }
    for ours, theirs in pairs.items():
        modules |= {f"{ours}.conv": f"{theirs}.conv", f"{ours}.norm": f"{theirs}.bn"}
    modules |= {"fusion.squeeze": "ffm.conv1", "fusion.excite": "ffm.conv2"}
    modules |= {
        "head.classify": "conv_out.conv_out",
        "head8.classify": "conv_out16.conv_out",
        "head16.classify": "conv_out32.conv_out",
    }
    return released_keys(network, modules)


def load_released_bisenet(network: BiSeNet, state: Mapping[str, Tensor]) -> None:
    """Copy the tensors of `79999_iter.pth` (key -> tensor) into `network`.

    Raises:
        WeightsError: a key is missing or unknown, or a tensor has another shape.
    """
    load_renamed(network, state, released_bisenet_keys(network))
