"""Two numbers that tell early whether a generator goes astray; no network is needed.

They do not replace FID: neither knows what a face is.

Shapes: n and m images of side S, in [-1, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from stylefeatureeditor.metrics.pixel import frechet_distance

if TYPE_CHECKING:
    from torch import Tensor

THUMBNAIL_SIDE = 8


def thumbnail_distance(drawn: Tensor, photos: Tensor) -> float:
    """Return the Frechet distance of images averaged down to 8 x 8 pixels; lower is better.

    It sees colour, pose and loss of variety, not detail. More images bring the floor down that
    photos of the same kind reach.

    Args:
        drawn: (n, 3, S, S), more than one.
        photos: (m, 3, S, S), more than one.
    """
    means, covariances = [], []
    for images in (drawn, photos):
        small = functional.adaptive_avg_pool2d(images, THUMBNAIL_SIDE).flatten(1)  # (n, 192)
        means.append(small.mean(dim=0))
        covariances.append(small.T.cov())
    return frechet_distance(means[0], covariances[0], means[1], covariances[1]).item()


def detail(images: Tensor) -> float:
    """Return the mean square difference of neighbouring pixels of images (n, 3, S, S)."""
    return (images.diff(dim=-1).square().mean() + images.diff(dim=-2).square().mean()).item()
