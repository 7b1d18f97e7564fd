"""Fuser I_fus: F_pred meets the features that the generator itself would draw.

    F_k = I_fus(F_pred, F_w),    F_w = G(w_{0:k})                              (Eq. 2)

F_pred has the detail of the photo, F_w speaks the generator's language; the Fuser joins them.
Shapes: B batch, C channels (512), S side in cells (64).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stylefeatureeditor.backbones.iresnet import FeatureMerger
from stylefeatureeditor.errors import MOST_LAYERS, WIDEST, check_shape, check_sizes


@dataclass(frozen=True, kw_only=True)
class FuserConfig:
    """Size of the Fuser; the defaults are the released face model."""

    channels: int = 512
    num_residual_layers: int = 5  # docs/adr/0004

    def __post_init__(self) -> None:
        check_sizes(self, (self.channels,), WIDEST)
        check_sizes(self, (self.num_residual_layers,), MOST_LAYERS)


class Fuser(nn.Module):
    """I_fus of Eq. 2."""

    def __init__(self, config: FuserConfig) -> None:
        super().__init__()
        self.config = config
        self.body = FeatureMerger(config.channels, config.num_residual_layers)

    def forward(self, predicted: Tensor, generated: Tensor) -> Tensor:
        """Return F_k, (B, C, S, S).

        Args:
            predicted: F_pred, (B, C, S, S).
            generated: F_w, the same shape.

        Raises:
            ShapeError: a shape differs.
        """
        check_shape("predicted", predicted, (None, self.config.channels, None, None))
        check_shape("generated", generated, tuple(predicted.shape))
        return self.body(torch.cat([predicted, generated], dim=1))
