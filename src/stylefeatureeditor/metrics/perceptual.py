"""Distances between images that need a pretrained network.

    LPIPS(X, Y) = sum_l mean_{hw} sum_c  a_lc (f_lc(X) / |f_l(X)| - f_lc(Y) / |f_l(Y)|)^2
    ID(X, Y)    = 1 - cos(f(X), f(Y))

LPIPS: Zhang et al. 2018, with the activations of AlexNet (metric of the paper) or VGG16 (its loss).
ID: f is ArcFace (loss) or CurricularFace (the paper's metric) on faces, MoCo's ResNet50 on cars.
Architectures: Krizhevsky 2014, Simonyan and Zisserman 2015, Deng et al. 2019, He et al. 2016; Huang
et al. 2020 trained Deng's trunk with another loss. All networks are frozen.

Shapes: B batch, C channels, S side, R pixels of the image, D width of a feature vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.ir_se50 import IRConfig, IRTrunk
from stylefeatureeditor.backbones.shortcut import Conv1x1
from stylefeatureeditor.device import average_pool
from stylefeatureeditor.errors import ConfigError, DependencyError, ShapeError, check_shape
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.released import lpips_state
from stylefeatureeditor.weights.sources import SOURCES
from stylefeatureeditor.weights.unpickle import read_torch

# Mean and spread of the pixels of ImageNet on [-1, 1], as LPIPS defines them.
LPIPS_SHIFT = (-0.030, -0.088, -0.188)
LPIPS_SCALE = (0.458, 0.448, 0.450)
SMALLEST_SIDE = 32  # below it, the last pooling of AlexNet has nothing to pool

# Rows and columns of a 256 px FFHQ crop that show the face as ArcFace was trained to see it.
ARCFACE_CANVAS = 256
ARCFACE_ROWS = slice(35, 223)
ARCFACE_COLUMNS = slice(32, 220)

MOCO_SIDE = 224


class Frozen(nn.Module):
    """A network that is used but never trained: `train()` leaves it in eval mode."""

    def train(self, mode: bool = True) -> Frozen:  # noqa: ARG002, FBT001, FBT002 (torch's)
        """Stay in eval mode, so that BatchNorm statistics cannot drift."""
        return super().train(mode=False)

    def freeze(self) -> None:
        """Take the parameters out of training; gradients still pass through to the pixels."""
        self.requires_grad_(requires_grad=False)
        self.eval()


class Lpips(Frozen):
    """Learned perceptual distance by the trunk "alex" or "vgg"; 0 for equal images."""

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Literal["alex", "vgg"]) -> None:
        super().__init__()
        if net not in ("alex", "vgg"):
            raise ConfigError(f"the trunks of LPIPS are 'alex' and 'vgg', got {net!r}")
        self.trunk, self.taps = alexnet_trunk() if net == "alex" else vgg16_trunk()
        convolutions = {i: m for i, m in enumerate(self.trunk) if isinstance(m, nn.Conv2d)}
        widths = [convolutions[tap - 1].out_channels for tap in self.taps]
        self.weights = nn.ParameterList(torch.ones(width) for width in widths)  # a_l
        self.register_buffer("shift", torch.tensor(LPIPS_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(LPIPS_SCALE)[:, None, None], persistent=False)
        self.freeze()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distance per pair of images (B, 3, R, R') in [-1, 1], (B,); lower is closer.

        ShapeError if the shapes differ, or the images are too small for the trunk.
        """
        check_shape("first", first, (None, 3, None, None))
        check_shape("second", second, tuple(first.shape))
        if min(first.shape[2:]) < SMALLEST_SIDE:
            raise ShapeError(
                f"LPIPS needs images of at least {SMALLEST_SIDE} pixels a side, got "
                f"{first.shape[3]}x{first.shape[2]}; enlarge them"
            )
        distance = first.new_zeros(len(first))
        layers = zip(self.activations(first), self.activations(second), self.weights, strict=True)
        for one, other, weight in layers:
            difference = (one - other).square()  # (B, C, S, S)
            distance = distance + torch.einsum("bchw,c->bhw", difference, weight).mean(dim=(1, 2))
        return distance

    def activations(self, pixels: Tensor) -> list[Tensor]:
        """Return five layers of unit vectors, (B, C, S, S) each; S falls, C grows."""
        x, taken = (pixels - self.shift) / self.scale, []
        for index, layer in enumerate(self.trunk):
            x = layer(x)
            if index in self.taps:
                # vector_norm has a gradient at 0, where a ReLU leaves many vectors
                length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
                taken.append(x / (length + 1e-10))
        return taken


def load_lpips(folder: Path, net: Literal["alex", "vgg"]) -> Lpips:
    """Return LPIPS of the published files in a folder; WeightsError without sound ones."""
    trunk, lin = {"alex": ("alexnet", "lpips-alex-lin"), "vgg": ("vgg16", "lpips-vgg-lin")}[net]
    paths = [folder / SOURCES[name].file_name for name in (trunk, lin)]
    network = Lpips(net)
    assign_state(network, lpips_state(*map(read_torch, paths)), str(paths[1]))
    network.freeze()
    return network


def installed_file(package: str, file: str, what: str, *, extra: str) -> Path:
    """Return a file that an installed package has in `models/`; DependencyError without it."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise DependencyError(f"{what} is not installed: pip install 'stylefeatureeditor[{extra}]'")
    return Path(found.origin).with_name("models") / file


def alexnet_trunk() -> tuple[nn.Sequential, tuple[int, ...]]:
    """Return AlexNet's convolutions, numbered as published, and the five ReLUs to look at."""
    layers = nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(64, 192, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(192, 384, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, kernel_size=3, padding=1),
        nn.ReLU(),
    )
    return layers, (1, 4, 7, 9, 11)


def vgg16_trunk() -> tuple[nn.Sequential, tuple[int, ...]]:
    """Return VGG16's convolutions, numbered as published, and the last ReLU of each stage."""
    layers: list[nn.Module] = []
    taps = []
    width = 3
    for channels, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if layers:
            layers.append(nn.MaxPool2d(kernel_size=2))
        for _ in range(depth):
            layers += [nn.Conv2d(width, channels, kernel_size=3, padding=1), nn.ReLU()]
            width = channels
        taps.append(len(layers) - 1)
    return nn.Sequential(*layers), tuple(taps)


class FeatureNetwork(Frozen, ABC):
    """Turns images into unit vectors, which are close for one subject."""

    @abstractmethod
    def features(self, pixels: Tensor) -> Tensor:
        """Return unit vectors, (B, D), of `pixels`, (B, 3, R, R) in [-1, 1]; R is free."""

    def similarity(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the cosine per pair of images, (B,), in [-1, 1]; higher is more alike."""
        check_shape("second", second, tuple(first.shape))
        return (self.features(first) * self.features(second)).sum(dim=1)

    def loss(self, pixels: Tensor, reference: Tensor) -> Tensor:
        """Return mean(1 - cos), a scalar in [0, 2]; `reference` gets no gradient."""
        return (1 - self.similarity(pixels, reference.detach())).mean()


@dataclass(frozen=True, kw_only=True)
class ArcFaceConfig:
    """Size of the face network; the defaults are the published IR-SE50.

    Attributes:
        trunk: sizes of the convolutions.
        side: R that the trunk sees; its sixteenth part is the side of the last layer.
        width: D.
        feature_affine: the last BatchNorm has a scale and a shift of its own.
    """

    trunk: IRConfig = field(default_factory=IRConfig)
    side: int = 112
    width: int = 512
    feature_affine: bool = True

    def __post_init__(self) -> None:
        if self.side < 16 or self.side % 16 or self.width < 1:
            raise ConfigError(f"side must be a multiple of 16 and width at least 1, got {self}")


def curricularface() -> ArcFaceConfig:
    """Return the sizes of the paper's identity metric: CurricularFace on IR-101."""
    trunk = IRConfig(depths=(3, 13, 30, 3), squeeze=None)
    return ArcFaceConfig(trunk=trunk, feature_affine=False)


class ArcFaceFeatures(FeatureNetwork):
    """Identity of a face, on the middle of an aligned crop: ArcFace, or CurricularFace."""

    def __init__(self, config: ArcFaceConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.trunk.channels[-1]
        self.trunk = IRTrunk(config.trunk)
        self.norm = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels * (config.side // 16) ** 2, config.width)
        self.feature_norm = nn.BatchNorm1d(config.width, affine=config.feature_affine)
        self.freeze()

    def features(self, pixels: Tensor) -> Tensor:
        """Return the identity as unit vectors, (B, D), of faces in the FFHQ crop, (B, 3, R, R)."""
        check_shape("pixels", pixels, (None, 3, None, None))
        if tuple(pixels.shape[2:]) != (ARCFACE_CANVAS, ARCFACE_CANVAS):
            pixels = average_pool(pixels, ARCFACE_CANVAS)
        face = pixels[:, :, ARCFACE_ROWS, ARCFACE_COLUMNS]  # (B, 3, 188, 188)
        face = average_pool(face, self.config.side)
        x = self.norm(self.trunk(face)[-1]).flatten(1)
        return functional.normalize(self.feature_norm(self.linear(x)))


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """Size of a bottleneck ResNet; the defaults are ResNet50.

    Attributes:
        depths: blocks of the four stages.
        width: inner channels of the first stage, doubled by each next one; a stage puts out
            four times its inner channels.
    """

    depths: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64

    def __post_init__(self) -> None:
        if len(self.depths) != 4 or min(*self.depths, self.width) < 1:
            raise ConfigError(f"depths needs four entries, and all sizes at least 1, got {self}")


class MocoFeatures(FeatureNetwork):
    """Features of an image by MoCo's self-supervised ResNet50: the identity of a car."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.conv = nn.Conv2d(3, config.width, kernel_size=7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(config.width)
        self.stages = nn.ModuleList()
        channels = config.width
        for stage, depth in enumerate(config.depths):
            inner = config.width << stage
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Bottleneck(channels, inner, stride))
                channels = 4 * inner
            self.stages.append(nn.Sequential(*blocks))
        self.freeze()

    def features(self, pixels: Tensor) -> Tensor:
        """Return unit vectors, (B, 32 * width), of `pixels`, (B, 3, R, R) in [-1, 1].

        The nearest pixel is taken, and no ImageNet statistics are applied, as in the release.
        """
        check_shape("pixels", pixels, (None, 3, None, None))
        x = functional.interpolate(pixels, size=(MOCO_SIDE, MOCO_SIDE), mode="nearest")
        x = functional.relu(self.norm(self.conv(x)))
        x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)  # (B, width, 56, 56)
        for stage in self.stages:
            x = stage(x)
        return functional.normalize(x.mean(dim=(2, 3)))


class Bottleneck(nn.Module):
    """relu(skip(x) + BN(conv1x1(relu(BN(conv3x3(relu(BN(conv1x1(x)))))))))."""

    def __init__(self, in_channels: int, inner: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner, kernel_size=1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * inner, kernel_size=1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * inner)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or in_channels != 4 * inner:
            self.skip = nn.Sequential(
                Conv1x1(in_channels, 4 * inner, stride),
                nn.BatchNorm2d(4 * inner),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, 4 inner, S / stride, S / stride)."""
        y = functional.relu(self.norm1(self.conv1(x)))
        y = functional.relu(self.norm2(self.conv2(y)))
        return functional.relu(self.norm3(self.conv3(y)) + self.skip(x))
