"""3x3 convolutions of inference on a CPU: the same sums in fewer products.

    Y = A^T [(G g G^T) * (B^T d B)] A         Winograd's F(4x4, 3x3): 36 products for 144

d is a tile of 6 x 6 cells, g a kernel, Y the 4 x 4 cells they make, * the product of the matrices'
elements, summed over input channels; Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks" (2016). The matrices interpolate at 0, +-1/sqrt(2), +-sqrt(2) and infinity: half the
rounding of the usual 0, +-1, +-2 (docs/LOG.md).

The shape alone decides, so that pictures are the same on every processor: tiles from LEAST_CHANNELS
and LEAST_TILES on, one product up to MOST_CELLS, else torch's convolution (timings: docs/LOG.md).
Scales and shifts of the channels before and after, such as BatchNorm, are applied while cells are
copied into tiles and out of them, and so cost no pass of their own.

Shapes: B batch, C and O input and output channels, S side in cells, T tiles.
"""

from __future__ import annotations

from functools import cache
from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

TILE = 4  # cells per side that one tile makes
TILES_AT_ONCE = 256  # their 36 products per channel stay in the cache
LEAST_CHANNELS = 128  # below, tiling costs what it saves
LEAST_TILES = 64  # below, transforming the kernel costs what it saves
MOST_CELLS = 64  # of an output; up to here a plain convolution mostly rearranges its kernel

_A = 1 / sqrt(2)
_B = sqrt(2)
INPUT = (  # B^T
    (1, 0, -2.5, 0, 1, 0),
    (0, -_B, -2, _A, 1, 0),
    (0, _B, -2, -_A, 1, 0),
    (0, -_A, -0.5, _B, 1, 0),
    (0, _A, -0.5, -_B, 1, 0),
    (0, 1, 0, -2.5, 0, 1),
)
KERNEL = (  # G
    (1, 0, 0),
    (-2 / 3, -2 / 3 * _A, -1 / 3),
    (-2 / 3, 2 / 3 * _A, -1 / 3),
    (1 / 6, _B / 6, 1 / 3),
    (1 / 6, -_B / 6, 1 / 3),
    (0, 0, 1),
)
OUTPUT = (  # A^T
    (1, 1, 1, 1, 1, 0),
    (0, _A, -_A, _B, -_B, 0),
    (0, 0.5, 0.5, 2, 2, 0),
    (0, _A / 2, -_A / 2, 2 * _B, -2 * _B, 1),
)


Affine = tuple["Tensor", "Tensor"]  # scale and shift per channel, (B or 1, C) each


class Conv3x3(nn.Conv2d):
    """A convolution that `is_3x3`, run as `convolve` does."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, O, S / stride, S / stride)."""
        return convolve(x, self.weight, self.bias, self.stride[0])


def is_3x3(conv: nn.Conv2d) -> bool:
    """Whether a convolution has 3x3 taps, zeros around, one group, and a stride of 1 or 2."""
    sizes = (conv.kernel_size, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
    is_small = conv.stride in ((1, 1), (2, 2))
    return is_small and sizes == ((3, 3), (1, 1), (1, 1), 1, "zeros")


def normalized(
    x: Tensor, before: nn.BatchNorm2d | None, conv: nn.Conv2d, after: nn.BatchNorm2d | None
) -> Tensor:
    """Return after(conv(before(x))), (B, O, S / stride, S / stride); None is no norm."""
    norms = [norm for norm in (before, after) if norm is not None]
    is_fixed = not any(norm.training or norm.running_mean is None for norm in norms)
    if is_fixed and conv.bias is None and conv.stride == (1, 1) and winograd_pays(x, conv.weight):
        return winograd(x, conv.weight, _affine(before), _affine(after))
    y = conv(x if before is None else before(x))
    return y if after is None else after(y)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """Return the 3x3 convolution with zeros around, (B, O, S / stride, S / stride).

    Channels last is the faster layout for large S.
    """
    if stride == 1 and winograd_pays(x, weight):
        y = winograd(x, weight)
    elif product_pays(x, weight, stride):
        cells = functional.unfold(x, 3, padding=1, stride=stride)  # (B, 9C, S S)
        y = (weight.flatten(1) @ cells).unflatten(2, (x.shape[2] // stride, -1))
    else:
        if is_plain_cpu(x) and weight.numel() > 8 * x.numel():
            x = x.contiguous()  # channels last would rearrange the kernel as well
        return functional.conv2d(x, weight, bias, stride, padding=1)
    return y if bias is None else y.add_(bias[:, None, None])


def is_plain_cpu(x: Tensor) -> bool:
    """Whether x is float32 on a CPU, without gradients, tracing or autocast."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def cpu_layout(x: Tensor) -> Tensor:
    """Return x channels last where that is faster: on a CPU without gradients (docs/LOG.md)."""
    return x.contiguous(memory_format=torch.channels_last) if is_plain_cpu(x) else x


def winograd_pays(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution of stride 1 shall go through tiles."""
    if not _may_be_rearranged(x, weight):
        return False
    batch, _, height, width = x.shape
    tiles = batch * (height // TILE) * (width // TILE)
    return height % TILE == width % TILE == 0 and tiles >= LEAST_TILES


def product_pays(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether a convolution shall be one matrix product, which reads the kernel as stored."""
    if not _may_be_rearranged(x, weight):
        return False
    batch, _, height, width = x.shape
    cells = batch * (height // stride) * (width // stride)
    return height % stride == width % stride == 0 and cells <= MOST_CELLS


def _may_be_rearranged(x: Tensor, weight: Tensor) -> bool:
    is_wide = min(weight.shape[:2]) >= LEAST_CHANNELS
    return is_plain_cpu(x) and weight.dtype == x.dtype and is_wide


def _affine(norm: nn.BatchNorm2d | None) -> Affine | None:
    """Return a BatchNorm in eval mode as scale and shift."""
    if norm is None:
        return None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale[None], (norm.bias - norm.running_mean * scale)[None]


def winograd(
    x: Tensor, weight: Tensor, before: Affine | None = None, after: Affine | None = None
) -> Tensor:
    """Return after(conv(before(x))), (B, O, S, S), channels last; for what `winograd_pays` lets in.

    `before` and `after` are scale and shift of the channels, (B or 1, C) each; the zeros around are
    neither scaled nor shifted.
    """
    (batch, channels, height, width), out = x.shape, len(weight)
    columns, rows = width // TILE, max(1, TILES_AT_ONCE * TILE // width)
    to_input, to_kernel, to_output = _transforms()
    kernels = (to_kernel @ weight.reshape(-1, 9).t()).view(36, out, channels).transpose(1, 2)
    framed = x.new_zeros(height + 2, width + 2, channels)
    y = x.new_empty(batch, height // TILE, TILE, width // TILE, TILE, out)
    down, right, _ = framed.stride()
    for picture in range(batch):
        _copy(framed[1:-1, 1:-1], x[picture].permute(1, 2, 0), before, picture)
        for first in range(0, height // TILE, rows):
            count = min(rows, height // TILE - first)
            tiles = framed[TILE * first :].as_strided(
                (6, 6, count, columns, channels), (down, right, TILE * down, TILE * right, 1)
            )
            tiles = (to_input @ tiles.reshape(36, -1)).view(36, -1, channels)
            products = torch.bmm(tiles, kernels)  # (36, T, O)
            cells = (to_output @ products.view(36, -1)).view(TILE, TILE, count, columns, out)
            _copy(y[picture, first : first + count], cells.permute(2, 0, 3, 1, 4), after, picture)
    return y.view(batch, height, width, out).permute(0, 3, 1, 2)


def _copy(target: Tensor, source: Tensor, affine: Affine | None, picture: int) -> None:
    """Write source, or scale * source + shift, channels being the last dimension."""
    if affine is None:
        target.copy_(source)
    else:
        scale, shift = (part[picture % len(part)] for part in affine)
        torch.addcmul(shift, source, scale, out=target)


@cache
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """B^T, G and A^T for both sides of a tile at once: (36, 36), (36, 9), (16, 36)."""
    tables = (INPUT, KERNEL, OUTPUT)
    matrices = [torch.tensor(rows, dtype=torch.float64, device="cpu") for rows in tables]
    to_input, to_kernel, to_output = (torch.kron(m, m).float() for m in matrices)
    return to_input, to_kernel, to_output
