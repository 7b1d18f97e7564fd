"""HyperInverter: one pass of a hyper-network adds to the generator's weights what w misses.

    w = latent_avg + E(X),   Y = G(w; W)                   one style vector for all layers
    c_X = L(X),  c_Y = L(Y)                                N maps of 8 x 8, pictures at 256
    delta_l = T_l(c_Y, c_X at layer l's style)             every convolution, those to RGB too
    X^ = G(w; W + delta),    X' = G(w + d; W + delta)

    L: IR-SE50 -> pSp's pyramid -> 1, 2 or 3 strided convolutions per style
    T: conv1x1, instance norm, ReLU, a 3x3 and strided 4x4 convolutions -> v
       kernel = ((v W_1 + b_1) as C_in rows) W_2 + b_2

Paper: Dinh et al., "HyperInverter: Improving StyleGAN Inversion via Hypernetwork", CVPR 2022.
Code: VinAIResearch/HyperInverter, VinAI's licence (like BSD-3).

Shapes: B batch, N styles, C channels of the pyramid (512), V width of v (256, "light" 128), C_out
and C_in of a layer, K side of its kernel (3, to RGB 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import log2
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.editing.e4e import E4eConfig, FeaturePyramid
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.layers import normal
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.methods.pixels import sample
from stylefeatureeditor.methods.reweighted import draw_each
from stylefeatureeditor.methods.single_style import SingleStyleConfig, SingleStyleEncoder

if TYPE_CHECKING:
    from stylefeatureeditor.records import Codes


@dataclass(frozen=True, kw_only=True)
class HyperInverterConfig(MethodConfig):
    """Parts of HyperInverter; the defaults are the published face model of the paper."""

    encoder: SingleStyleConfig = field(default_factory=SingleStyleConfig)
    pyramid: E4eConfig = field(default_factory=E4eConfig)
    latent: int = 256  # V
    hidden: int = 64  # channels between the convolutions of T

    def __post_init__(self) -> None:
        if self.pyramid.size < 64:
            raise ConfigError(f"size must be at least 64, got {self.pyramid.size}")
        if min(self.latent, self.hidden) < 1:
            raise ConfigError(f"latent and hidden must be at least 1: {self}")

    @property
    def cells(self) -> int:
        """Side of the maps that L gives: half that of its coarse level."""
        return self.pyramid.size // 32


class LayerCodes(FeaturePyramid):
    """L: a map for every style."""

    def __init__(self, config: E4eConfig) -> None:
        super().__init__(config)
        width = config.trunk.channels[-1]
        self.heads = nn.ModuleList()
        for style in range(config.num_styles):
            halvings = 1 + (style >= config.middle_from) + (style >= config.fine_from)
            convs = (nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(halvings))
            self.heads.append(nn.Sequential(*convs))

    def forward(self, photos: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [-1, 1] -> N maps, each (B, C, S/32, S/32)."""
        levels = self.levels(photos)
        maps = []
        for style, head in enumerate(self.heads):
            x = levels.fine if style >= self.config.fine_from else levels.middle
            x = levels.coarse if style < self.config.middle_from else x
            for conv in head.children():
                x = functional.leaky_relu(conv(x), 0.01)
            maps.append(x)
        return maps


class WeightRegressor(nn.Module):
    """T of one layer."""

    def __init__(self, kernel: tuple[int, int, int], config: HyperInverterConfig) -> None:
        super().__init__()
        self.kernel = kernel
        out_channels, in_channels, side = kernel
        width, hidden, latent = config.pyramid.trunk.channels[-1], config.hidden, config.latent
        self.fuse = nn.Conv2d(2 * width, width, kernel_size=1)
        self.norm = nn.InstanceNorm2d(width)
        halvings = int(log2(config.cells))
        strided = pairwise([hidden] * halvings + [latent])
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(width, hidden, kernel_size=3, padding=1),
                *(nn.Conv2d(*pair, kernel_size=4, stride=2, padding=1) for pair in strided),
            ]
        )
        std = latent**-0.5
        self.w1 = nn.Parameter(normal(latent, in_channels * latent, std=std))
        self.b1 = nn.Parameter(torch.zeros(in_channels * latent))
        self.w2 = nn.Parameter(normal(latent, out_channels * side**2, std=std))
        self.b2 = nn.Parameter(torch.zeros(out_channels * side**2))

    def forward(self, own: Tensor, target: Tensor) -> Tensor:
        """Codes of Y and of X, each (B, C, S, S) -> (B, C_out, C_in, K, K).

        The product's rows are C_in, and its memory is read as C_out first, as the release does.
        """
        x = functional.relu(self.norm(self.fuse(torch.cat([own, target], dim=1))))
        for conv in self.convs:
            x = functional.relu(conv(x))
        out_channels, in_channels, side = self.kernel
        rows = torch.addmm(self.b1, x.flatten(1), self.w1).reshape(len(x) * in_channels, -1)
        kernel = torch.addmm(self.b2, rows, self.w2)
        return kernel.reshape(len(x), out_channels, in_channels, side, side)


class HyperInverter(Method):
    """HyperInverter for faces."""

    config: HyperInverterConfig

    def __init__(self, config: HyperInverterConfig) -> None:
        super().__init__(config)
        self.encoder = SingleStyleEncoder(config.encoder)
        self.layer_codes = LayerCodes(config.pyramid)
        layout = config.generator.style_layout()
        outs = [config.generator.layer_shape(k + 1)[0] for k in range(len(layout.conv))]
        self.layers = nn.ModuleList(
            WeightRegressor((after, before, 3), config)
            for before, after in zip(layout.conv, outs, strict=True)
        )
        self.to_rgb = nn.ModuleList(WeightRegressor((3, width, 1), config) for width in layout.rgb)

    @torch.no_grad()
    def deltas(self, photos: Tensor, attempt: Tensor) -> dict[str, Tensor]:
        """Return what to add to each weight of G, by its name."""
        both = self.layer_codes(torch.cat([attempt, photos]))
        pairs = [maps.chunk(2) for maps in both]
        found = {}
        for index, regressor in enumerate(self.layers):
            style = index + 1 if index else 0  # 0, 2, 3, ... as the release counts
            found[f"layers.{index}.conv.weight"] = regressor(*pairs[style])
        for index, regressor in enumerate(self.to_rgb):
            found[f"to_rgb.{index}.conv.weight"] = regressor(*pairs[2 * index + 1])
        return found

    def encode(self, photos: Tensor) -> Inversion:
        """(B, 3, S, S) in [-1, 1] -> codes and weights."""
        side = self.config.pyramid.size
        photos = sample(photos, side)
        codes = self.encoder.codes(photos, self.generator)
        deltas = self.deltas(photos, sample(self.generator.synthesize(codes), side))
        return Inversion(codes, kept=deltas)

    def draw(self, codes: Codes, kept: dict[str, Tensor]) -> Tensor:
        """Return X'; kept is name of a weight of G -> what to add, (B, C_out, C_in, K, K)."""

        def weights(row: int) -> dict[str, Tensor]:
            own = self.generator.get_parameter
            return {name: own(name) + delta[row] for name, delta in kept.items()}

        return draw_each(self.generator, codes, weights)
