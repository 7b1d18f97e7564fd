"""UPerNet head: four feature maps of falling resolution -> one logit per class and cell.

Paper: Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018 (Sec. 3.1).
Layout of the weights: `UPerHead` of open-mmlab/mmsegmentation (Apache 2.0), as FaRL uses it.

Shapes: B batch, C_i channels of level i (0 finest), C head channels, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.masks.layers import ConvNormReLU

POOL_SIDES = (1, 2, 3, 6)


class UperHead(nn.Module):
    """Pyramid pooling on the coarsest level, then a feature pyramid down to the finest.

    Args:
        in_channels: C_0 .. C_n, finest first.
        channels: C.
        num_classes: K.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int, num_classes: int) -> None:
        super().__init__()
        *finer, coarsest = in_channels
        self.pooled = nn.ModuleList(
            ConvNormReLU(coarsest, channels, kernel_size=1) for _ in POOL_SIDES
        )
        pooled_channels = coarsest + len(POOL_SIDES) * channels
        self.join_pooled = ConvNormReLU(pooled_channels, channels, kernel_size=3)
        self.lateral = nn.ModuleList(ConvNormReLU(c, channels, kernel_size=1) for c in finer)
        self.smooth = nn.ModuleList(ConvNormReLU(channels, channels, kernel_size=3) for _ in finer)
        self.join_levels = ConvNormReLU(len(in_channels) * channels, channels, kernel_size=3)
        self.classify = nn.Conv2d(channels, num_classes, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return logits (B, K, h, w) at the size of `levels[0]`, finest first."""
        *finer, coarsest = levels
        context = [coarsest]
        for side, conv in zip(POOL_SIDES, self.pooled, strict=True):
            context.append(_resize(conv(functional.adaptive_avg_pool2d(coarsest, side)), coarsest))
        top = self.join_pooled(torch.cat(context, dim=1))

        outputs = [top]
        for level, lateral, smooth in zip(
            reversed(finer), reversed(self.lateral), reversed(self.smooth), strict=True
        ):
            top = lateral(level) + _resize(top, level)
            outputs.insert(0, smooth(top))
        joined = torch.cat([_resize(output, levels[0]) for output in outputs], dim=1)
        return self.classify(self.join_levels(joined))


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)
