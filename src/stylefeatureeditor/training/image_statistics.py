"""Two numbers that tell early whether a generator goes astray; no network is needed.

They do not replace FID: neither knows what a face is.

Shapes: n and m images of side S, in [-1, 1], or their thumbnails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylefeatureeditor.device import average_pool
from stylefeatureeditor.metrics.pixel import frechet_distance

if TYPE_CHECKING:
    from torch import Tensor

THUMBNAIL_SIDE = 8


def thumbnails(images: Tensor) -> Tensor:
    """Return images (n, 3, S, S) averaged down to 8 x 8 pixels, (n, 192)."""
    return average_pool(images, THUMBNAIL_SIDE).flatten(1)


def thumbnail_distance(drawn: Tensor, photos: Tensor) -> float:
    """Return the Frechet distance of thumbnails; lower is better.

    It sees colour, pose and loss of variety, not detail. More images bring the floor down that
    photos of the same kind reach.

    Args:
        drawn: (n, 192), more than one.
        photos: (m, 192), more than one.
    """
    statistics = [(rows.mean(dim=0), rows.T.cov()) for rows in (drawn, photos)]
    return frechet_distance(*statistics[0], *statistics[1]).item()


def detail(images: Tensor) -> Tensor:
    """Return the mean square difference of neighbouring pixels of images (n, 3, S, S): (n,)."""
    steps = [images.diff(dim=dim).square().flatten(1).mean(dim=1) for dim in (-1, -2)]
    return steps[0] + steps[1]
