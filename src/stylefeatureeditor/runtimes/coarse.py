"""The upper layers of G on a coarser grid: a small picture of the whole network, quickly.

A layer of side S is run at side s = S / r. Its kernel's taps, one fine cell apart, lie 1 / r of a
coarse cell apart and are interpolated onto the coarse cells; upsampling and its blur are dropped,
and noise is averaged over r x r cells. Style, demodulation and activation are unchanged: smooth
features stay, fine ones are missing. G's own RGB image of side s will not do: the layers above it
draw most of what is seen (docs/LOG.md).

Shapes: B batch, C and O input and output channels, s side of the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from stylefeatureeditor.generator.layers import StyledLayer, activate

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.generator.layers import ModulatedConv
    from stylefeatureeditor.generator.stylegan2 import Generator, PartialImage
    from stylefeatureeditor.records import Codes


def draw_coarsely(generator: Generator, start: PartialImage, codes: Codes, first: int) -> Tensor:
    """Return a small picture X', (B, 3, s, s)."""
    x, rgb = start.features, start.rgb
    offset, clamp = codes.styles, generator.config.clamp
    for index in range(first, generator.config.num_layers):
        layer, factor = generator.layers[index], generator.config.side(index + 1) // x.shape[-1]
        assert isinstance(layer, StyledLayer)
        added = None if offset is None else offset.conv[index]
        x = _styled(layer, x, codes.wplus[:, index], added, factor)
        if clamp is not None:
            x = x.clamp(-clamp, clamp)
        if index % 2 == 0:
            to_rgb = generator.to_rgb[index // 2]
            added = None if offset is None else offset.rgb[index // 2]
            rgb = rgb + to_rgb(x, codes.wplus[:, index + 1], added, None, clamp)
    return rgb


def _styled(
    layer: StyledLayer, x: Tensor, code: Tensor, offset: Tensor | None, factor: int
) -> Tensor:
    """One layer: (B, C, s, s) -> (B, O, s, s)."""
    style, scale = layer.conv.style(code, offset, gain=1.0)
    kernel = coarse_kernel(layer.conv, factor).to(x.dtype)
    x = functional.conv2d(x * style.to(x.dtype)[:, :, None, None], kernel, padding=1)
    x = x * scale.to(x.dtype)[:, :, None, None]
    # a mean, not a pooling: other engines compute it once, before they run
    cells = layer.noise.unflatten(3, (-1, factor)).unflatten(2, (-1, factor))  # (1, 1, s, r, s, r)
    noise = cells.mean(dim=(3, 5)) * layer.noise_strength
    x = x + (noise + layer.bias[:, None, None]).to(x.dtype)
    return activate(x)


def coarse_kernel(conv: ModulatedConv, factor: int) -> Tensor:
    """Return (O, C, 3, 3): the taps `1 / factor` apart instead of one, interpolated onto cells."""
    near = 1 / factor
    taps = torch.eye(3, dtype=conv.weight.dtype, device=conv.weight.device)
    onto = near * taps + (1 - near) * taps[1]  # each tap, and the middle one
    kernel = conv.weight.flip(2, 3) if conv.upsample else conv.weight  # a transposed one is turned
    return onto.t() @ kernel @ onto
