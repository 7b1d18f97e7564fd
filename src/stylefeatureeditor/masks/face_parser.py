"""A face parser, and the region that an edit may change by its classes (mask, App. 9).

    background = sigmoid(logit of the background class) >= 0.995
    edit region = 1 - background

That is the rule of the release (AIRI-Institute/StyleFeatureEditor, `runners/simple_runner.py`):
a sigmoid of the background logit alone, not a softmax over the classes. (The release's README and
its script name other thresholds; the code of the runner is followed.)
The release writes the mask to a JPEG and reads it back; here it stays exact.

Shapes: B batch, K classes, S side of the crop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.errors import check_shape
from stylefeatureeditor.masks.labels import RELEASED_THRESHOLD

if TYPE_CHECKING:
    from stylefeatureeditor.masks.labels import FaceLabels


def background_mask(
    logits: Tensor, background: int = 0, threshold: float = RELEASED_THRESHOLD
) -> Tensor:
    """Return 1 where the parser is sure of the background, else 0: (B, 1, S, S).

    Logits (B, K, S, S) are at the size wanted already: logits are resized, not masks.
    """
    sure = torch.sigmoid(logits[:, background : background + 1]) >= threshold
    return sure.to(logits.dtype)


def class_mask(logits: Tensor, classes: tuple[int, ...]) -> Tensor:
    """Return 1 where the most likely class is one of `classes`, else 0: (B, 1, S, S)."""
    chosen = torch.tensor(classes, device=logits.device)
    best = logits.argmax(dim=1, keepdim=True)
    return torch.isin(best, chosen).to(logits.dtype)


class FaceParser(nn.Module, ABC):
    """A network with the preprocessing it was trained with, and the names of its classes."""

    def __init__(self, network: nn.Module, labels: FaceLabels) -> None:
        super().__init__()
        self.network = network
        self.labels = labels

    @abstractmethod
    def logits(self, pixels: Tensor, points: Tensor | None = None) -> Tensor:
        """Return class logits (B, K, S, S) of FFHQ-aligned crops (B, 3, S, S) in [-1, 1].

        `points` are five of each face, (B, 5, 2), see `face_frame.py`; None takes those of an
        average FFHQ crop. Some parsers ignore them.
        """

    @torch.no_grad()
    def edit_region(
        self,
        pixels: Tensor,
        *regions: str,
        points: Tensor | None = None,
        threshold: float = RELEASED_THRESHOLD,
    ) -> Tensor:
        """Return where an edit may change the crops, (B, 1, S, S) of 1 (may) and 0 (must not).

        `pixels` and `points` are as in `logits`. `regions` are names from `labels.regions`, joined,
        each pixel counted to its most likely class; without any, all but the background, by the
        threshold of `background_mask`. ShapeError for pixels of another shape; MaskError if the
        parser has no such region.
        """
        check_shape("pixels", pixels, (None, 3, pixels.shape[-1], pixels.shape[-1]))
        classes = self.labels.indices(regions)
        self.eval()
        logits = self.logits(pixels, points)
        if classes:
            return class_mask(logits, classes)
        return 1 - background_mask(logits, self.labels.background, threshold)


class ConvNormReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU: (B, C_in, H, W) -> (B, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply all three."""
        return functional.relu(self.bn(self.conv(x)))


def standardise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Take pixels in [-1, 1] to zero mean and unit variance; `mean` and `std` are of [0, 1]."""
    centre, spread = (pixels.new_tensor(value).view(1, -1, 1, 1) for value in (mean, std))
    return ((pixels + 1) / 2 - centre) / spread
