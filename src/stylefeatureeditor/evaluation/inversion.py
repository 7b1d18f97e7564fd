"""How well a method redraws photos: Tables 1 and 2 of the paper.

X -> method.invert -> X^         l2, LPIPS, SSIM, ... (X, X^);  FID and KID ({X}, {X^})
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.results import MethodResult, distances_to_photos
from stylefeatureeditor.evaluation.runner import NOTHING_DRAWN, Drawer, run_pass, timed

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.data.images import ImageSet
    from stylefeatureeditor.evaluation.runner import Evaluation
    from stylefeatureeditor.methods.method import Method

SECONDS = "seconds_invert"


def reconstruction(method: Method) -> Drawer:
    """Return what draws X^ and takes the time per photo."""

    def draw(photos: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        start = timed(photos.device)
        pixels = method.reconstruct(method.invert(photos))
        return pixels, {SECONDS: per_photo(timed(photos.device) - start, len(photos))}

    return Drawer(f"reconstruction by {method.identity}", draw, (SECONDS,))


def per_photo(seconds: float, count: int) -> Tensor:
    """Return the time of each photo of a batch, (count,)."""
    return torch.full((count,), seconds / count, dtype=torch.float64)


def evaluate_inversion(method: Method, evaluation: Evaluation) -> MethodResult:
    """Return the row of a method.

    Raises:
        ConfigError: the photos have another side than the method takes, or the folder holds
            another evaluation.
        PhotoError: not one photo can be read.
    """
    evaluation.check_size(method.name, method.size)
    return _evaluate(method.name, reconstruction(method), evaluation)


def evaluate_images(name: str, images: ImageSet, evaluation: Evaluation) -> MethodResult:
    """Return the row of images made elsewhere, one for each photo and in their order.

    ConfigError if another number of images, or another side.
    """
    photos = evaluation.photos
    if (len(images), images.size) != (len(photos), photos.size):
        raise ConfigError(
            f"{name} has {len(images)} images of {images.size} px, but there are "
            f"{len(photos)} photos of {photos.size} px"
        )
    result = _evaluate(name, NOTHING_DRAWN, evaluation, images)
    return replace(result, peak_mib=None)  # it would be that of reading files


def _evaluate(
    name: str, drawer: Drawer, evaluation: Evaluation, given: ImageSet | None = None
) -> MethodResult:
    done = run_pass(evaluation, name, drawer, given=given)
    values = done.table.means(evaluation.seed) | distances_to_photos(evaluation, done)
    return MethodResult.of(name, done, values)
