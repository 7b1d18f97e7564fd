"""Feature Editor H: moves the inverted features the way an edit moves the generator's own.

    F_k' = H(F_k, Delta)                                                       (Eq. 6)

F_k is rich enough to redraw the photo but stiff under editing. Delta (Eq. 5, `delta.py`) is the
change the same edit makes to a plain e4e reconstruction: it says where to repaint, and how.
H sees both, so the detail of the photo survives the edit. Delta = 0 asks for no edit.

Shapes: B batch, C channels (512), S side in cells (64, layer k = 9 of the generator).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stylefeatureeditor.backbones.iresnet import FeatureMerger, MergerConfig
from stylefeatureeditor.errors import check_shape


class FeatureEditorConfig(MergerConfig):
    """Size of H."""


class FeatureEditor(nn.Module):
    """H of Eq. 6: merge F_k with Delta, then refine at constant side.

    H(F_k, 0) is not F_k: H is trained to keep real photos sharp there (Sec. 3.4), so inference
    passes through it even when there is nothing to edit.
    Fully convolutional, so S is free; it runs in the dtype of its weights.
    """

    def __init__(self, config: FeatureEditorConfig) -> None:
        super().__init__()
        self.config = config
        self.body = FeatureMerger(config)

    def forward(self, features: Tensor, delta: Tensor) -> Tensor:
        """Return the edited features F_k', (B, C, S, S).

        Args:
            features: F_k from the Inverter, (B, C, S, S). Activations: signed and unbounded.
            delta: F_w - F_w' of the e4e code, same shape. Before minus after, as in Eq. 5:
                negating it asks for the opposite edit.
        """
        check_shape("features", features, (None, self.config.channels, None, None))
        check_shape("delta", delta, tuple(features.shape))
        return self.body(torch.cat([features, delta], dim=1))
