"""Delta: how an edit changes the features that the generator draws from the e4e code.

    Delta = F_{w_E} - F_{w_E'},    w_E = E(X),  w_E' = w_E + d                 (Eq. 5)

Before minus after. Under a mask, Delta is multiplied by the region that may change (App. 9).

Faces take Delta where F_k lives (k = 9). Cars take it at layer 11, twice as fine, and one trainable
iresnet layer brings it to F_k's shape (App. 7; docs/adr/0008).

Shapes: B batch, C and S channels and side of F_k (512 x 64 x 64).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.iresnet import IResNetLayer
from stylefeatureeditor.errors import MOST_LAYERS, WIDEST, MaskError, check_shape, check_sizes


@dataclass(frozen=True, kw_only=True)
class DeltaDownsamplerConfig:
    """Shapes on both sides of the cars' extra layer; the defaults are layer 11 to layer 9."""

    in_channels: int = 256
    out_channels: int = 512
    stride: int = 2

    def __post_init__(self) -> None:
        check_sizes(self, (self.in_channels, self.out_channels), WIDEST)
        check_sizes(self, (self.stride,), MOST_LAYERS)


class DeltaDownsampler(nn.Module):
    """The cars' extra layer: (B, 256, 128, 128) -> (B, 512, 64, 64)."""

    def __init__(self, config: DeltaDownsamplerConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = IResNetLayer(config.in_channels, config.out_channels, config.stride)

    def forward(self, delta: Tensor) -> Tensor:
        """Bring Delta from the finer layer to the shape of F_k."""
        check_shape("delta", delta, (None, self.config.in_channels, None, None))
        return self.layer(delta)


def masked(delta: Tensor, region: Tensor) -> Tensor:
    """Multiply Delta by the region that may change (App. 9)."""
    check_shape("region", region, (None, 1, None, None))
    return delta * resize(region, delta.shape[-1])


def check_region(region: Tensor, faces: int) -> None:
    """Raise MaskError unless an edit region is (B or 1, 1, H, H) with values in [0, 1]."""
    sides = set(region.shape[2:])
    if region.ndim != 4 or len(sides) > 1 or region.shape[1] != 1 or len(region) not in (1, faces):
        raise MaskError(
            f"an edit region must have shape ({faces}, 1, S, S), got {tuple(region.shape)}"
        )
    if region.dtype != torch.bool and not (region.min() >= 0 and region.max() <= 1):
        raise MaskError("an edit region holds values from 0 (keep) to 1 (may change)")


def resize(pixels: Tensor, side: int) -> Tensor:
    """Resize (B, C, H, W) to `side`, as the release does: bilinear, no antialiasing."""
    if pixels.shape[-2:] == (side, side):
        return pixels
    return functional.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)
