"""BiSeNet face parser: 19 classes of CelebAMask-HQ from a photo.

Paper: Yu et al., "BiSeNet: Bilateral Segmentation Network", ECCV 2018 (Sec. 3.2 attention
refinement, feature fusion). Modules are named as in zllrunning/face-parsing.PyTorch (`model.py`,
file `79999_iter.pth`; code MIT; trained on CelebAMask-HQ, which is for non-commercial research), so
that its weights need no other names. That version has no spatial path: the stride-8 output of its
ResNet-18 stands in for it. Its two further heads serve training alone and are left out.

Shapes: B batch, K classes, H x W input (any size; 512 x 512 in training), C context channels,
S side of a crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.errors import check_shape
from stylefeatureeditor.masks.face_parser import ConvNormReLU, FaceParser, standardise
from stylefeatureeditor.masks.labels import CELEBAMASK_HQ

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TRAINING_ONLY = ("conv_out16.", "conv_out32.")


@dataclass(frozen=True, kw_only=True)
class BiSeNetConfig:
    """Sizes of the network; the defaults are the published face parser."""

    num_classes: int = 19
    width: int = 64  # channels of the first of four ResNet stages; each next one doubles
    context_channels: int = 128
    fused_channels: int = 256


class ResidualBlock(nn.Module):
    """Basic block of ResNet-18: two 3x3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H / stride, W / stride), rounded up."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.downsample(x) + self.bn2(self.conv2(y)))


class ResNet18(nn.Module):
    """Trunk: (B, 3, H, W) -> features at stride 8, 16 and 32, of 2, 4 and 8 times `width`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features at stride 8, 16 and 32 of standardised pixels (B, 3, H, W)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)  # stride 4
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(in_channels, out_channels, stride=stride),
        ResidualBlock(out_channels, out_channels, stride=1),
    )


class AttentionRefinement(nn.Module):
    """Convolution whose channels are gated by their own global mean (Fig. 2b)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvNormReLU(in_channels, out_channels, kernel_size=3)
        self.conv_atten = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C, h, w)."""
        x = self.conv(x)
        mean = x.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        return x * torch.sigmoid(self.bn_atten(self.conv_atten(mean)))


class ContextPath(nn.Module):
    """ResNet-18 and its way back up: (B, 3, H, W) -> detail and context at stride 8."""

    def __init__(self, config: BiSeNetConfig) -> None:
        super().__init__()
        width, channels = config.width, config.context_channels
        self.resnet = ResNet18(width)
        self.arm16 = AttentionRefinement(4 * width, channels)
        self.arm32 = AttentionRefinement(8 * width, channels)
        self.conv_head16 = ConvNormReLU(channels, channels, kernel_size=3)
        self.conv_head32 = ConvNormReLU(channels, channels, kernel_size=3)
        self.conv_avg = ConvNormReLU(8 * width, channels, kernel_size=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return detail, (B, 2 width, h, w), and context, (B, C, h, w)."""
        eighth, sixteenth, last = self.resnet(x)
        whole = self.conv_avg(last.mean(dim=(2, 3), keepdim=True))  # (B, C, 1, 1)
        up = functional.interpolate(self.arm32(last) + whole, sixteenth.shape[2:])  # nearest
        up = self.arm16(sixteenth) + self.conv_head32(up)
        return eighth, self.conv_head16(functional.interpolate(up, eighth.shape[2:]))


class FeatureFusion(nn.Module):
    """Join detail and context, then weigh the channels, x + x * gate (Fig. 2c)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convblk = ConvNormReLU(in_channels, out_channels, kernel_size=1)
        self.conv1 = nn.Conv2d(out_channels, out_channels // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(out_channels // 4, out_channels, 1, bias=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Return (B, C_out, h, w) of two maps of one size."""
        x = self.convblk(torch.cat([detail, context], dim=1))
        mean = x.mean(dim=(2, 3), keepdim=True)
        return x + x * torch.sigmoid(self.conv2(functional.relu(self.conv1(mean))))


class SegmentationHead(nn.Module):
    """3x3 convolution and a 1x1 classifier without bias: (B, C_in, h, w) -> (B, K, h, w)."""

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = ConvNormReLU(in_channels, channels, kernel_size=3)
        self.conv_out = nn.Conv2d(channels, num_classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return a logit per class and cell."""
        return self.conv_out(self.conv(x))


class BiSeNet(nn.Module):
    """The network: pixels in, one logit per class and pixel out."""

    def __init__(self, config: BiSeNetConfig) -> None:
        super().__init__()
        self.config = config
        fused = config.fused_channels
        self.cp = ContextPath(config)
        self.ffm = FeatureFusion(2 * config.width + config.context_channels, fused)
        self.conv_out = SegmentationHead(fused, fused, config.num_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of `pixels` (B, 3, H, W) in [-1, 1]."""
        check_shape("pixels", pixels, (None, 3, None, None))
        detail, context = self.cp(standardise(pixels, IMAGENET_MEAN, IMAGENET_STD))
        logits = self.conv_out(self.ffm(detail, context))  # stride 8
        return functional.interpolate(logits, pixels.shape[2:], mode="bilinear", align_corners=True)


def bisenet_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of `79999_iter.pth` that inference needs."""
    return {key: value for key, value in state.items() if not key.startswith(TRAINING_ONLY)}


class BiSeNetParser(FaceParser):
    """BiSeNet on aligned crops; it needs no points of the face.

    As published (`test.py`): the crop is seen at 512, resized bilinearly with antialiasing, as PIL
    does it.
    """

    def __init__(self, network: BiSeNet, *, input_size: int = 512) -> None:
        super().__init__(network, CELEBAMASK_HQ)
        self.input_size = input_size

    def logits(self, pixels: Tensor, points: Tensor | None = None) -> Tensor:
        """Return class logits (B, K, S, S) of crops (B, 3, S, S) in [-1, 1]."""
        del points
        seen = functional.interpolate(
            pixels, (self.input_size, self.input_size), mode="bilinear", antialias=True
        )
        return functional.interpolate(self.network(seen), pixels.shape[2:], mode="bilinear")
