"""Fuser I_fus: joins F_pred with the features that the generator draws from w.

    F_k = I_fus(F_pred, F_w),    F_w = G(w_{0:k})                              (Eq. 2)

F_pred has the detail of the photo; F_w is what the generator itself would have there.
Shapes: B batch, C channels (512), S side in cells (64).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stylefeatureeditor.backbones.iresnet import FeatureMerger, MergerConfig
from stylefeatureeditor.errors import check_shape


class FuserConfig(MergerConfig):
    """Size of the Fuser."""


class Fuser(nn.Module):
    """I_fus of Eq. 2."""

    def __init__(self, config: FuserConfig) -> None:
        super().__init__()
        self.config = config
        self.body = FeatureMerger(config)

    def forward(self, predicted: Tensor, generated: Tensor) -> Tensor:
        """F_pred and F_w, each (B, C, S, S) -> F_k, the same shape."""
        check_shape("predicted", predicted, (None, self.config.channels, None, None))
        check_shape("generated", generated, tuple(predicted.shape))
        return self.body(torch.cat([predicted, generated], dim=1))
