"""Faster networks for inference: the same weights and sums, in another order.

`quicken` gives the modules of a finished network classes of this file. These are for a CPU, float32
and no gradients; elsewhere, and during export, they do what the plain modules do. Layers are drawn
in bands from 2 * BAND px on, and photos go channels last. docs/LOG.md has the timings.

Shapes: B batch, C_in and C_out channels, S side of the input in cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.ir_se50 import IRBlock, IRTrunk
from stylefeatureeditor.backbones.iresnet import FeatureMerger, IResNetBranch, IResNetTrunk
from stylefeatureeditor.editing.e4e import E4e, Levels, PyramidEncoder
from stylefeatureeditor.generator.layers import ModulatedConv, StyledLayer, ToRGB, upsample_rgb
from stylefeatureeditor.generator.stylegan2 import Generator
from stylefeatureeditor.inversion.feature_style_encoder import FeatureStyleEncoder
from stylefeatureeditor.runtimes.coarse import draw_coarsely
from stylefeatureeditor.runtimes.convolution import (
    Conv3x3,
    convolve,
    cpu_layout,
    is_3x3,
    is_plain_cpu,
    normalized,
    winograd,
    winograd_pays,
)

if TYPE_CHECKING:
    from stylefeatureeditor.generator.stylegan2 import PartialImage
    from stylefeatureeditor.records import Codes

Norm = nn.BatchNorm2d
ContentLayers = tuple[Norm, nn.Conv2d, Norm, nn.PReLU, nn.Conv2d, Norm]

BAND = 128  # rows of the largest layers that a CPU draws at once

Network = TypeVar("Network", bound=nn.Module)


class QuickModulatedConv(ModulatedConv):
    """Convolves by `convolve`; a single picture's style and demodulation may go into the kernel."""

    def energy(self) -> Tensor:
        """Return the sums of squares as a product, which is faster than a sum."""
        squares = self.weight.flatten(2).square()
        return squares @ squares.new_ones(squares.shape[2])

    def forward(
        self,
        x: Tensor,
        code: Tensor,
        style_offset: Tensor | None,
        bias: Tensor,
        gain: float = 1.0,
        border: Tensor | None = None,
    ) -> Tensor:
        """Return what `ModulatedConv.forward` does."""
        if border is not None or torch.is_grad_enabled():
            return super().forward(x, code, style_offset, bias, gain, border)
        style, scale = self.style(code, style_offset, gain)
        weight, is_rgb = self.weight, self.weight.shape[2] == 1
        x = x if is_rgb else cpu_layout(x)
        if not is_rgb and not self.upsample and winograd_pays(x, weight):
            return winograd(x, weight, (style, torch.zeros_like(style)), (scale, bias[None]))
        if x.shape[0] == 1 and weight.numel() < x.numel():  # no pass over the pixels
            folded = weight * style[0, :, None, None] * scale[0, :, None, None, None]
            return self._convolve(x, folded.to(x.dtype), bias.to(x.dtype))
        x = self._convolve(x * style.to(x.dtype)[:, :, None, None], weight.to(x.dtype), None)
        bias = bias.to(x.dtype)[:, None, None]
        return torch.addcmul(bias, x, scale.to(x.dtype)[:, :, None, None])

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not self.upsample:
            is_rgb = weight.shape[2] == 1
            return functional.conv2d(x, weight, bias) if is_rgb else convolve(x, weight, bias)
        is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        layout = torch.channels_last if is_last else torch.contiguous_format
        weight = weight.transpose(0, 1).contiguous(memory_format=layout)
        x = functional.conv_transpose2d(x, weight, stride=2)
        kernel = self.blur_kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return functional.conv2d(x, kernel, bias, padding=1, groups=x.shape[1])


class QuickGenerator(Generator):
    """Draws its largest layers in bands, and small pictures on a coarser grid."""

    def _draw(
        self, codes: Codes, start: PartialImage | None, first: int, *, random_noise: bool = False
    ) -> Tensor:
        up = self.config.num_layers - 2
        is_large = up >= first and self.config.size > BAND
        if random_noise or not is_large or not is_plain_cpu(codes.wplus):
            return super()._draw(codes, start, first, random_noise=random_noise)
        return self._draw_in_bands(up, self._run(codes, start, first, up), codes)

    def _draw_small(self, codes: Codes, start: PartialImage, first: int, last: int) -> Tensor:
        return draw_coarsely(self, self._run(codes, start, first, last), codes, last)

    def _draw_in_bands(self, up: int, start: PartialImage, codes: Codes) -> Tensor:
        """Run an upsampling layer, the one after it and their RGB layer, BAND rows at a time.

        The features between the layers then stay in the processor's cache, and only the image,
        (B, 3, 2S, 2S), has the picture's size (docs/LOG.md). A row needs one more row of the layer
        before on either side, and the upsampling two rows of its input.
        """
        x, side = start.features, 2 * start.features.shape[2]
        to_rgb = self.to_rgb[up // 2 + 1]
        assert isinstance(to_rgb, ToRGB)
        rgb = upsample_rgb(start.rgb, to_rgb.conv.blur_kernel)
        for top in range(0, side, BAND):
            bottom = min(side, top + BAND)
            first, last = max(0, top // 2 - 2), min(side // 2, bottom // 2 + 2)  # rows of x
            upper, lower = max(0, top - 1), min(side, bottom + 1)  # rows between the layers
            band = self._band(up, x[:, :, first:last], codes, slice(2 * first, 2 * last))
            band = band[:, :, upper - 2 * first : lower - 2 * first]
            band = self._band(up + 1, band, codes, slice(upper, lower))
            band = band[:, :, top - upper : bottom - upper]
            rgb[:, :, top:bottom] += self._rgb(up + 1, band, codes, None)
        return rgb

    def _band(self, index: int, x: Tensor, codes: Codes, rows: slice) -> Tensor:
        """Run one layer on some rows of its input; `rows` are those of its output."""
        layer, clamp = self.layers[index], self.config.clamp
        assert isinstance(layer, StyledLayer)
        offset = None if codes.styles is None else codes.styles.conv[index]
        x = layer.convolve(x, codes.wplus[:, index], offset)
        x = layer.finish(x, layer.noise[:, :, rows])
        return x if clamp is None else x.clamp(-clamp, clamp)


class QuickIRBlock(IRBlock):
    """Its norms are part of the convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what `IRBlock.forward` does."""
        branch = self.activation(normalized(x, self.norm1, self.conv1, None))
        branch = normalized(branch, None, self.conv2, self.norm2)
        return self.shortcut(x) + self.excite(branch)


class QuickIResNetBranch(IResNetBranch):
    """Its norms are part of the convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what `IResNetBranch.forward` does."""
        x = self.activation(normalized(x, self.norm1, self.conv1, self.norm2))
        return normalized(x, None, self.conv2, self.norm3)


class QuickContent(nn.Sequential):
    """The Feature-Style encoder's way to F_pred: its norms are part of the convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what the modules make of x, one after another."""
        norm1, conv1, norm2, activation, conv2, norm3 = cast("ContentLayers", self)
        x = activation(normalized(x, norm1, conv1, norm2))
        return normalized(x, None, conv2, norm3)


class ChannelsLast(nn.Module):
    """Mixin that gives a network its input channels last."""

    def forward(self, x: Tensor) -> Any:
        """Return what the network makes of x."""
        return super().forward(cpu_layout(x))


class QuickIRTrunk(ChannelsLast, IRTrunk):
    """Takes its photos channels last."""


class QuickIResNetTrunk(ChannelsLast, IResNetTrunk):
    """Takes its photos channels last."""


class QuickFeatureMerger(ChannelsLast, FeatureMerger):
    """Takes its features channels last."""


class QuickPyramidEncoder(PyramidEncoder):
    """Gives its heads contiguous levels: strided convolutions read their kernel as stored."""

    def styles(self, levels: Levels, num_styles: int | None = None) -> Tensor:
        """Return what `PyramidEncoder.styles` does."""
        maps = (levels.coarse, levels.middle, levels.fine, levels.shallow)
        return super().styles(Levels(*(level.contiguous() for level in maps)), num_styles)


class QuickE4e(QuickPyramidEncoder, E4e):
    """E, with such levels."""


QUICK: dict[type[nn.Module], type[nn.Module]] = {
    Generator: QuickGenerator,
    ModulatedConv: QuickModulatedConv,
    IRBlock: QuickIRBlock,
    IRTrunk: QuickIRTrunk,
    IResNetBranch: QuickIResNetBranch,
    IResNetTrunk: QuickIResNetTrunk,
    FeatureMerger: QuickFeatureMerger,
    PyramidEncoder: QuickPyramidEncoder,
    E4e: QuickE4e,
}


def quicken(network: Network) -> Network:
    """Return the network itself, with the quick modules of this file.

    Weights, their names and the network's results stay, the latter as far as float32 goes.
    """
    for module in network.modules():
        if isinstance(module, FeatureStyleEncoder):
            module.content.__class__ = QuickContent
        if type(module) is nn.Conv2d and is_3x3(module):
            module.__class__ = Conv3x3
        elif type(module) in QUICK:
            module.__class__ = QUICK[type(module)]
    return network
