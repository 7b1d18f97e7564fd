"""StyleGAN2 generator G (Karras et al., 2020), with the entry points of the method.

    X = G(w)                      synthesize
    F_w = G(w_{0:k})              features        (right side of Eq. 2, and Eq. 5)
    X^ = G(F_k, w_{k+1:N})        synthesize_from (Eq. 4 and 7)

    layer output 0      learned constant, 4 x 4
    layer output 1      first convolution, 4 x 4, style 0
    layer output 2, 3   8 x 8, styles 1, 2; then two per resolution
    RGB layer r         after layer output 2r + 1, style 2r + 1; sums into the image

Noise comes from stored buffers, never from a draw, unless training asks for it.

Shapes: B batch, N = 2 log2(size) - 2 styles (18 at 1024), D style width, C and S channels and side
of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import log2
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.errors import (
    MOST_LAYERS,
    WIDEST,
    ConfigError,
    ShapeError,
    check_shape,
    check_side,
    check_sizes,
)
from stylefeatureeditor.generator.layers import (
    EqualizedLinear,
    PixelNorm,
    StyledLayer,
    ToRGB,
    normal,
)
from stylefeatureeditor.records import Codes, StyleLayout, StyleSpace

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Size of G; the defaults are the released FFHQ model (config f)."""

    size: int = 1024  # pixels, a power of two
    style_dim: int = 512  # D
    mapping_layers: int = 8
    channel_base: int = 32768  # channels(side) = min(channel_max, channel_base // side)
    channel_max: int = 512
    clamp: float | None = None  # NVIDIA's conv_clamp: layer outputs stay in [-clamp, clamp]
    z_dim: int | None = field(default=None, repr=False)  # width of z; None is D

    def __post_init__(self) -> None:
        check_side(self.size, 8)
        check_sizes(self, (self.style_dim, self.channel_max, self.latent_dim), WIDEST)
        check_sizes(self, (self.mapping_layers,), MOST_LAYERS)
        if self.channels(self.size) < 1:
            raise ConfigError(f"channel_base {self.channel_base} leaves no channel at {self.size}")
        if self.clamp is not None and not self.clamp > 0:
            raise ConfigError(f"clamp must be above 0 or None, got {self.clamp}")

    @property
    def latent_dim(self) -> int:
        """Width of z."""
        return self.style_dim if self.z_dim is None else self.z_dim

    @property
    def num_styles(self) -> int:
        """N, style vectors of a W+ code."""
        return 2 * int(log2(self.size)) - 2

    @property
    def num_layers(self) -> int:
        """Convolution layers: one at 4 x 4, then two per resolution."""
        return self.num_styles - 1

    def channels(self, side: int) -> int:
        """C at a resolution."""
        return min(self.channel_max, self.channel_base // side)

    def side(self, layer: int) -> int:
        """S of a layer output, 0 (the constant) to num_layers."""
        return 4 << (layer // 2)

    def layer_shape(self, layer: int) -> tuple[int, int]:
        """(C, S) of a layer output."""
        return self.channels(self.side(layer)), self.side(layer)

    def style_layout(self) -> StyleLayout:
        """Widths of the modulation vectors: each layer's input channels."""
        outputs = [self.channels(self.side(layer)) for layer in range(self.num_layers + 1)]
        return StyleLayout(conv=tuple(outputs[:-1]), rgb=tuple(outputs[1::2]))


@dataclass(frozen=True)
class PartialImage:
    """The state after the layers 0..k."""

    features: Tensor  # output of layer k, (B, C, S, S)
    # the image so far, (B, 3, S, S); for even k of the resolution below, (B, 3, S/2, S/2)
    rgb: Tensor


@dataclass(frozen=True)
class Padding:
    """Replacements of G's constant and of the zeros around the features of its first layers."""

    constant: Tensor  # (B or 1, C, 4, 4), the input of layer 0
    # layer index -> (B or 1, C_in, S + 2, S + 2), of which the outermost ring counts; for layers
    # that keep their side, 0 and the even ones
    borders: Mapping[int, Tensor]


class Generator(nn.Module):
    """G: W+ codes to pixels, (B, N, D) -> (B, 3, size, size), nominally in [-1, 1], unclipped."""

    latent_avg: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.style_dim
        self.mapping = nn.Sequential(
            PixelNorm(),
            *(
                EqualizedLinear(before, width, lr_multiplier=0.01, activation=True)
                for before in (config.latent_dim, *[width] * (config.mapping_layers - 1))
            ),
        )
        self.register_buffer("latent_avg", torch.zeros(width))
        shapes = [config.layer_shape(layer) for layer in range(config.num_layers + 1)]
        self.constant = nn.Parameter(normal(1, shapes[0][0], 4, 4))
        self.layers = nn.ModuleList(
            StyledLayer(before[0], after[0], after[1], width, upsample=after[1] > before[1])
            for before, after in pairwise(shapes)
        )
        self.to_rgb = nn.ModuleList(ToRGB(channels, width) for channels, _ in shapes[1::2])

    def map(self, z: Tensor, *, truncation: float = 1.0) -> Codes:
        """Return the codes of z (B, latent_dim), latent_avg + truncation * (f(z) - latent_avg)."""
        check_shape("z", z, (None, self.config.latent_dim))
        w = self.mapping(z)
        w = torch.lerp(self.latent_avg.to(w.dtype).expand(len(z), -1), w, truncation)
        return Codes(w[:, None].repeat(1, self.config.num_styles, 1))

    def modulation(self, codes: Codes) -> Tensor:
        """Return the styles that the convolutions' affine layers give, (B, their channels)."""
        rows = enumerate(codes.wplus.unbind(1)[: self.config.num_layers])
        names = ((f"layers.{index}.conv.affine", row) for index, row in rows)
        return torch.cat([self.get_submodule(name)(row) for name, row in names], dim=1)

    def features(self, codes: Codes, layer: int) -> Tensor:
        """Return F_w, the output of `layer` that the codes alone give, (B, C, S, S)."""
        return self.run_to(codes, layer).features

    def synthesize(self, codes: Codes, *, random_noise: bool = False) -> Tensor:
        """Return X = G(w), (B, 3, size, size)."""
        return self._draw(codes, None, 0, random_noise=random_noise)

    def synthesize_from(
        self,
        features: Tensor,
        codes: Codes,
        layer: int,
        rgb: Tensor | None = None,
        *,
        size: int | None = None,
    ) -> Tensor:
        """Return X^ = G(F_k, w_{k+1:N}) (Eq. 4), (B, 3, size, size).

        The image below F_k's resolution has been drawn from the codes when F_k takes over, so
        w_{0:k} still matters (docs/adr/0005).

        Args:
            features: F_k, (B, C, S, S).
            codes: w; w' when editing.
            layer: k.
            rgb: the image that the codes draw up to `layer`, `run_to(codes, layer).rgb`; None
                draws it now.
            size: side of the picture, one that a layer above k has; a smaller one than the
                generator's is the picture averaged down. None is the generator's.
        """
        self._check_layer(layer)
        channels, side = self.config.layer_shape(layer)
        check_shape("features", features, (codes.wplus.shape[0], channels, side, side))
        if rgb is None:
            rgb = self.run_to(codes, layer).rgb
        start = PartialImage(features, rgb)
        if size is None or size == self.config.size:
            return self._draw(codes, start, layer)
        return self._draw_small(codes, start, layer, self._last_layer(size, layer))

    def run_to(self, codes: Codes, layer: int, padding: Padding | None = None) -> PartialImage:
        """Run the layers up to and including `layer`, and their RGB layers.

        The first layers see `padding`, if there is one, instead of their constant and zeros.
        """
        self._check_layer(layer)
        if padding is not None:
            self._check_padding(padding)
        return self._run(codes, None, 0, layer, padding=padding)

    def _check_padding(self, padding: Padding) -> None:
        channels, _ = self.config.layer_shape(0)
        check_shape("constant", padding.constant, (None, channels, 4, 4))
        for index, border in padding.borders.items():
            if index % 2 or not 0 <= index < self.config.num_layers:
                raise ConfigError(
                    f"only layers 0, 2, ... {self.config.num_layers - 1} keep their side and take "
                    f"a border, got {index}"
                )
            channels, side = self.config.layer_shape(index)
            check_shape(f"border of layer {index}", border, (None, channels, side + 2, side + 2))

    def _last_layer(self, size: int, layer: int) -> int:
        """Return the layer whose output is the last of side `size`."""
        sides = [self.config.side(last) for last in range(layer + 1, self.config.num_layers + 1)]
        if size not in sides:
            raise ConfigError(
                f"an image drawn from layer {layer} has one of the sides "
                f"{sorted(set(sides))}, got {size}"
            )
        return 2 * int(log2(size)) - 3

    def _check_layer(self, layer: int) -> None:
        if not 1 <= layer <= self.config.num_layers:
            raise ConfigError(
                f"layer must be between 1 and {self.config.num_layers} for a {self.config.size} px "
                f"generator, got {layer}"
            )

    def _check_offset(self, offset: StyleSpace) -> None:
        conv, rgb = (tuple(style.shape[-1] for style in kind) for kind in (offset.conv, offset.rgb))
        if StyleLayout(conv, rgb) != self.config.style_layout():
            raise ShapeError(
                f"style offsets of {len(conv)} + {len(rgb)} layers do not fit this generator of "
                f"{self.config.num_layers} + {len(self.to_rgb)}, or their widths differ: they were "
                "made for another generator"
            )

    def _run(
        self,
        codes: Codes,
        start: PartialImage | None,
        first: int,
        last: int,
        *,
        random_noise: bool = False,
        padding: Padding | None = None,
    ) -> PartialImage:
        check_shape("codes", codes.wplus, (None, self.config.num_styles, self.config.style_dim))
        if start is None:
            constant = self.constant if padding is None else padding.constant
            x, rgb = constant.expand(codes.wplus.shape[0], -1, -1, -1), None
        else:
            x, rgb = start.features, start.rgb
        if codes.styles is not None:
            self._check_offset(codes.styles)
        for index in range(first, last):  # the layer's style; its output is index + 1
            border = None if padding is None else padding.borders.get(index)
            x = self._layer(index, x, codes, random_noise=random_noise, border=border)
            if index % 2 == 0:
                rgb = self._rgb(index, x, codes, rgb)
        assert rgb is not None
        return PartialImage(x, rgb)

    def _draw(
        self, codes: Codes, start: PartialImage | None, first: int, *, random_noise: bool = False
    ) -> Tensor:
        """Return the image that the layers after `first` draw."""
        return self._run(codes, start, first, self.config.num_layers, random_noise=random_noise).rgb

    def _draw_small(self, codes: Codes, start: PartialImage, first: int, last: int) -> Tensor:
        """Return that image at the side of the layer `last`."""
        return functional.adaptive_avg_pool2d(
            self._draw(codes, start, first), self.config.side(last)
        )

    def _layer(
        self,
        index: int,
        x: Tensor,
        codes: Codes,
        *,
        random_noise: bool = False,
        border: Tensor | None = None,
    ) -> Tensor:
        offset = None if codes.styles is None else codes.styles.conv[index]
        x = self.layers[index](
            x, codes.wplus[:, index], offset, random_noise=random_noise, border=border
        )
        return x if self.config.clamp is None else x.clamp(-self.config.clamp, self.config.clamp)

    def _rgb(self, index: int, x: Tensor, codes: Codes, skip: Tensor | None) -> Tensor:
        offset = None if codes.styles is None else codes.styles.rgb[index // 2]
        to_rgb = self.to_rgb[index // 2]
        return to_rgb(x, codes.wplus[:, index + 1], offset, skip, self.config.clamp)
