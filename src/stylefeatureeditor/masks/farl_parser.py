"""FaRL as a face parser of aligned crops.

The release lets RetinaFace find the five points and parses the whole photo; an aligned crop holds
one face at a known place, so the points come from the landmarks that aligned it, or from the
average FFHQ crop. Frames and class order are those of FacePerceiver/facer.

Shapes: B batch, K classes, S side of the crop, T side of the network's input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylefeatureeditor.errors import ConfigError, check_shape
from stylefeatureeditor.masks.edit_region import FaceParser
from stylefeatureeditor.masks.face_frame import (
    average_points,
    celebamask_hq_frame,
    lapa_frame,
)
from stylefeatureeditor.masks.labels import FARL_CELEBAMASK_HQ, LAPA

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.masks.face_frame import FaceFrame
    from stylefeatureeditor.masks.farl import FarlNetwork


class FarlParser(FaceParser):
    """FaRL with the frame and the classes of the data it was trained on.

    The number of classes tells the two published models apart: 11 is LaPa, 19 CelebAMask-HQ.
    """

    def __init__(self, network: FarlNetwork) -> None:
        published = {len(labels.names): labels for labels in (LAPA, FARL_CELEBAMASK_HQ)}
        labels = published.get(network.config.num_classes)
        if labels is None:
            raise ConfigError(
                f"FarlParser: expected a network of {len(LAPA.names)} (LaPa) or "
                f"{len(FARL_CELEBAMASK_HQ.names)} (CelebAMask-HQ) classes, "
                f"got {network.config.num_classes}"
            )
        super().__init__(network, labels)
        self.input_size = network.config.input_size

    def frame(self, points: Tensor) -> FaceFrame:
        """Return the way into the frame that this model was trained in, for points (B, 5, 2)."""
        if self.labels is LAPA:
            return lapa_frame(points, self.input_size)
        return celebamask_hq_frame(points, self.input_size)

    def logits(self, pixels: Tensor, points: Tensor | None = None) -> Tensor:
        """Return class logits (B, K, S, S) of crops (B, 3, S, S) in [-1, 1].

        Args:
            pixels: the crops.
            points: five points of each face, (B, 5, 2) in crop coordinates, (x, y).

        Raises:
            ShapeError: `points` is not (B, 5, 2).
        """
        if points is None:
            points = average_points(pixels)
        check_shape("points", points, (len(pixels), 5, 2))
        frame = self.frame(points.to(pixels))
        return frame.restore(self.network(frame.sample(pixels)), pixels.shape[-1])
