"""BiSeNet as a face parser of aligned crops.

As published (zllrunning/face-parsing.PyTorch, `test.py`): the crop is seen at 512, resized
bilinearly with antialiasing, as PIL does it.

Shapes: B batch, K classes, S side of the crop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.masks.edit_region import FaceParser
from stylefeatureeditor.masks.labels import CELEBAMASK_HQ

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.masks.bisenet import BiSeNet


class BiSeNetParser(FaceParser):
    """Parser of 19 classes; needs no points of the face.

    Args:
        network: with 19 classes.
        input_size: side that the network sees the crop at.
    """

    def __init__(self, network: BiSeNet, *, input_size: int = 512) -> None:
        if network.config.num_classes != len(CELEBAMASK_HQ.names):
            raise ConfigError(
                f"BiSeNetParser: expected a network of {len(CELEBAMASK_HQ.names)} classes, "
                f"got {network.config.num_classes}"
            )
        super().__init__(network, CELEBAMASK_HQ)
        self.input_size = input_size

    def logits(self, pixels: Tensor, points: Tensor | None = None) -> Tensor:
        """Return class logits (B, K, S, S) of crops (B, 3, S, S) in [-1, 1]."""
        del points
        seen = functional.interpolate(
            pixels, (self.input_size, self.input_size), mode="bilinear", antialias=True
        )
        return functional.interpolate(self.network(seen), pixels.shape[2:], mode="bilinear")
