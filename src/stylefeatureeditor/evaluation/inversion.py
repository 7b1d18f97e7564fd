"""How well a method redraws photos: Tables 1 and 2 of the paper.

X -> method.invert -> X^         l2, LPIPS, SSIM, ... (X, X^);  FID and KID ({X}, {X^})
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.peak import read_peak
from stylefeatureeditor.evaluation.results import (
    MethodResult,
    distances_to_photos,
    pictures_of,
)
from stylefeatureeditor.evaluation.runner import Drawn, PhotosThemselves, timed

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.evaluation.photo_sets import PhotoSet
    from stylefeatureeditor.evaluation.results import Plan
    from stylefeatureeditor.evaluation.runner import Drawer
    from stylefeatureeditor.methods.method import Method

SECONDS = "seconds_invert"


class Reconstructor:
    """Draws X^ and takes the time per photo."""

    columns: tuple[str, ...] = (SECONDS,)

    def __init__(self, method: Method) -> None:
        self.method = method
        self.identity = f"reconstruction by {method.identity}"

    def draw(self, photos: Tensor, given: Tensor | None) -> Drawn:
        """Return the reconstructions."""
        del given
        start = timed(photos.device)
        pixels = self.method.reconstruct(self.method.invert(photos))
        seconds = (timed(photos.device) - start) / len(photos)
        return Drawn(pixels, {SECONDS: torch.full((len(photos),), seconds, dtype=torch.float64)})


def evaluate_inversion(method: Method, plan: Plan) -> MethodResult:
    """Return the row of a method.

    Raises:
        ConfigError: the photos have another side than the method takes, or the folder holds
            another evaluation.
        PhotoError: not one photo can be read.
    """
    if method.size != plan.photos.size:
        raise ConfigError(
            f"{method.name} takes photos of {method.size} px, but these are opened at "
            f"{plan.photos.size} px"
        )
    return _evaluate(method.name, Reconstructor(method), plan)


def evaluate_images(name: str, images: PhotoSet, plan: Plan) -> MethodResult:
    """Return the row of images made elsewhere, one for each photo and in their order.

    Raises:
        ConfigError: another number of images, or another side.
    """
    if (len(images), images.size) != (len(plan.photos), plan.photos.size):
        raise ConfigError(
            f"{name} has {len(images)} images of {images.size} px, but there are "
            f"{len(plan.photos)} photos of {plan.photos.size} px"
        )
    return _evaluate(name, PhotosThemselves(), plan, images)


def _evaluate(name: str, drawer: Drawer, plan: Plan, given: PhotoSet | None = None) -> MethodResult:
    task = plan.task(name, drawer, given=given)
    table = plan.run(task, name)
    means = {column: table.mean(column, plan.seed) for column in task.columns}
    values = {column: mean for column, mean in means.items() if mean is not None}
    values |= distances_to_photos(plan, task, table)
    return MethodResult(
        name,
        values,
        len(table),
        table.errors,
        pictures_of(task, table),
        None if given is not None else read_peak(task.folder),
    )
