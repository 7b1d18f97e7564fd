"""HyperStyle: a hyper-network compares photo and attempt, and adapts the generator's weights.

    w = latent_avg + E(X)                                  one style vector for all layers
    Y_0 = G(w; W)
    delta_t = delta_{t-1} + H([X, Y_{t-1}])                t = 1..5, delta_0 = 0; pictures at 256
    Y_t = G(w; W (1 + delta_t)),   X' = G(w + d; W (1 + delta_5))

    H: ResNet-34 without its pooling -> P, 16 x 16
       layers of C to C channels   convolutions of P -> z,  then T(z), which they share
       the others                  convolutions of P -> the mean of 2 x 2 cells -> conv1x1
    T: h = z W_2 + b_2 as C rows,  kernels = h W_1 + b_1

W are the weights of all convolutions; those to RGB stay. A narrow layer gets one number per pair
of channels, which all cells of its kernel share. Paper: Alaluf et al., "HyperStyle: StyleGAN
Inversion with HyperNetworks for Real Image Editing", CVPR 2022. Code: yuval-alaluf/hyperstyle, MIT.

Shapes: B batch, L layers, C channels of the widest (512), C_out, C_in of any, Z width of z (512).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import log2
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.shortcut import projection, stem
from stylefeatureeditor.errors import ConfigError, check_shape, check_side
from stylefeatureeditor.generator.layers import EqualizedLinear
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.methods.pixels import pool, shrink
from stylefeatureeditor.methods.reweighted import draw_each
from stylefeatureeditor.methods.single_style import SingleStyleConfig, SingleStyleEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stylefeatureeditor.records import Codes


@dataclass(frozen=True, kw_only=True)
class HyperStyleConfig(MethodConfig):
    """Parts of HyperStyle; the defaults are the published face model."""

    encoder: SingleStyleConfig = field(default_factory=SingleStyleConfig)
    size: int = 256  # side of the pictures that H sees
    channels: tuple[int, ...] = (64, 128, 256, 512)  # of H's ResNet; the stem has the first
    depths: tuple[int, ...] = (3, 4, 6, 3)
    latent: int = 512  # Z
    wide_head: int = 128  # channels inside the heads of C to C layers
    narrow_head: int = 256  # and inside the others
    iterations: int = 5

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ConfigError(f"iterations must be at least 1, got {self.iterations}")
        check_side(self.size, 64)


class BasicBlock(nn.Module):
    """relu(shortcut(x) + BN(conv3x3(relu(BN(conv3x3(x))))))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S / stride, S / stride)."""
        branch = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.shortcut(x) + self.norm2(self.conv2(branch)))


class WideHead(nn.Module):
    """From P to z: one convolution, then strided ones down to a cell, then a linear map."""

    def __init__(self, in_channels: int, config: HyperStyleConfig) -> None:
        super().__init__()
        halvings = int(log2(config.size // 16))
        widths = [in_channels] + [config.wide_head] * halvings + [config.latent]
        self.convs = nn.ModuleList(
            nn.Conv2d(*pair, kernel_size=3, stride=1 if index == 0 else 2, padding=1)
            for index, pair in enumerate(pairwise(widths))
        )
        self.linear = EqualizedLinear(config.latent, config.latent)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, Z)."""
        for conv in self.convs:
            features = functional.leaky_relu(conv(features), 0.01)
        return self.linear(features.flatten(1))


class NarrowHead(nn.Module):
    """From P to one number per pair of channels."""

    def __init__(self, in_channels: int, layer: tuple[int, int], config: HyperStyleConfig) -> None:
        super().__init__()
        halvings = int(log2(config.size // 16)) - 1
        widths = [in_channels] + [config.narrow_head] * (halvings - 1) + [config.latent]
        self.convs = nn.ModuleList(
            nn.Conv2d(*pair, kernel_size=3, stride=2, padding=1) for pair in pairwise(widths)
        )
        self.layer = layer
        self.output = nn.Conv2d(config.latent, layer[0] * layer[1], kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C_out, C_in, 1, 1)."""
        for conv in self.convs:
            features = functional.leaky_relu(conv(features), 0.01)
        pairs = self.output(features.mean(dim=(2, 3), keepdim=True))
        return pairs.reshape(-1, *self.layer, 1, 1)


class SharedHyperLayer(nn.Module):
    """T: kernels of C to C channels from a vector.

    w2 is by far the largest tensor of the method (0.5 GB), so all z are given to it at once.
    """

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.channels = channels
        self.w2 = nn.Parameter(torch.empty(latent, channels * latent))
        self.b2 = nn.Parameter(torch.zeros(channels * latent))
        self.w1 = nn.Parameter(torch.empty(latent, channels * 9))
        self.b1 = nn.Parameter(torch.zeros(channels * 9))
        for weight in (self.w1, self.w2):
            nn.init.normal_(weight, std=1 / 40)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, Z) -> (B, C, C, 3, 3): the rows of h stand on the first axis, that of C_out."""
        channels = self.channels
        rows = torch.addmm(self.b2, latents, self.w2).reshape(len(latents) * channels, -1)
        kernels = torch.addmm(self.b1, rows, self.w1)
        return kernels.reshape(-1, channels, channels, 3, 3)


class HyperNetwork(nn.Module):
    """H: from a photo and an attempt to changes of the weights of every layer."""

    def __init__(self, config: HyperStyleConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels[0]
        self.stem = stem(6, width, kernel_size=7, stride=2)
        blocks = []
        for stage, (channels, depth) in enumerate(zip(config.channels, config.depths, strict=True)):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(BasicBlock(width, channels, stride))
                width = channels
        self.body = nn.Sequential(*blocks)
        shapes = [config.generator.layer_shape(k)[0] for k in range(config.generator.num_styles)]
        widest = config.generator.channel_max
        self.heads = nn.ModuleList(
            WideHead(width, config)
            if before == after == widest
            else NarrowHead(width, (after, before), config)
            for before, after in pairwise(shapes)
        )
        self.shared = SharedHyperLayer(widest, config.latent)

    def forward(self, photos: Tensor, attempt: Tensor) -> tuple[Tensor, ...]:
        """Photos and unclipped attempts -> what to add to each layer's delta, a row a photo."""
        side = self.config.size
        check_shape("photos", photos, (None, 3, side, side))
        check_shape("attempt", attempt, (len(photos), 3, side, side))
        features = self.body(self.stem(torch.cat([photos, attempt], dim=1)))
        found = [head(features) for head in self.heads]
        wide = [index for index, head in enumerate(self.heads) if isinstance(head, WideHead)]
        kernels = self.shared(torch.cat([found[index] for index in wide]))
        for index, kernel in zip(wide, kernels.split(len(photos)), strict=True):
            found[index] = kernel
        return tuple(found)


class HyperStyle(Method):
    """HyperStyle for faces."""

    config: HyperStyleConfig

    def __init__(self, config: HyperStyleConfig) -> None:
        super().__init__(config)
        self.encoder = SingleStyleEncoder(config.encoder)
        self.hypernetwork = HyperNetwork(config)

    @torch.no_grad()
    def refine(self, photos: Tensor) -> Iterator[Inversion]:
        """Yield the attempts t = 1, 2, ... at photos (B, 3, S, S) in [-1, 1]."""
        photos = shrink(photos, self.config.size)
        codes = self.encoder.codes(photos, self.generator)
        pixels, deltas = self.generator.synthesize(codes), None
        for _ in range(self.config.iterations):
            steps = self.hypernetwork(photos, pool(pixels, self.config.size))
            deltas = steps if deltas is None else tuple(map(torch.add, deltas, steps))
            del steps  # as large as the generator, for each photo
            pixels = self.draw(codes, deltas)
            yield Inversion(codes, model=self.fingerprint, pixels=pixels, kept=deltas)

    def encode(self, photos: Tensor) -> Inversion:
        """(B, 3, S, S) in [-1, 1] -> the last attempt."""
        for attempt in self.refine(photos):
            last = attempt
        return last

    @torch.no_grad()
    def draw(self, codes: Codes, kept: tuple[Tensor, ...]) -> Tensor:
        """Return X'; kept is for each layer (B, C_out, C_in, 3, 3) or (B, C_out, C_in, 1, 1)."""

        def weights(row: int) -> dict[str, Tensor]:
            names = [f"layers.{index}.conv.weight" for index in range(len(kept))]
            own = (self.generator.get_parameter(name) for name in names)
            return {
                name: torch.addcmul(weight, weight, delta[row])
                for name, weight, delta in zip(names, own, kept, strict=True)
            }

        return draw_each(self.generator, codes, weights)
