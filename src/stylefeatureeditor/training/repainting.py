"""What phase 2 draws: G(H(F_k, Delta), w_{k+1:N}), and where an untrained H begins.

Shapes: B images, S side of the model, C and S_F channels and side of F_k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from stylefeatureeditor.editing.feature_editor import FeatureEditor
    from stylefeatureeditor.model import Model
    from stylefeatureeditor.records import Codes


def begin_at_difference(feature_editor: FeatureEditor) -> None:
    """Let an untrained H return F_k - Delta: its merge subtracts, its layers add nothing."""
    merge = feature_editor.body.merge
    unit = torch.eye(len(merge.weight))[:, :, None, None]  # (C, C, 1, 1)
    with torch.no_grad():
        merge.weight.copy_(torch.cat([unit, -unit], dim=1))
        merge.bias.zero_()  # type: ignore[union-attr]
        for branch in feature_editor.body.branches:
            branch.norm3.weight.zero_()  # type: ignore[union-attr, operator]
            branch.norm3.bias.zero_()  # type: ignore[union-attr, operator]


class Repainting(nn.Module):
    """H and the upper layers of G as one forward, as wrappers for several processes need it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.feature_editor = model.feature_editor
        self.delta_downsampler = model.delta_downsampler
        self.generator = model.generator
        self.layer = model.config.feature_layer

    def forward(self, features: Tensor, delta: Tensor | None, codes: Codes, rgb: Tensor) -> Tensor:
        """Return G(H(F_k, Delta), w_{k+1:N}), (B, 3, S, S); Delta None is zero.

        Args:
            features: F_k, (B, C, S_F, S_F).
            delta: at the model's delta layer.
            codes: w, or w' of an edit.
            rgb: what the codes draw up to layer k.
        """
        if delta is None:
            changed = self.feature_editor(features, torch.zeros_like(features))
        elif self.delta_downsampler is None:
            changed = self.feature_editor(features, delta)
        else:
            changed = self.feature_editor(features, self.delta_downsampler(delta))
        return self.generator.synthesize_from(changed, codes, self.layer, rgb)
