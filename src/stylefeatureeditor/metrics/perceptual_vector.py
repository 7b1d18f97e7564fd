"""A perceptual distance as the squared length of a difference of vectors.

    D(X, Y) = |v(X) - v(Y)|^2,    v(X) = concat_l sqrt(a_l / P_l) f_l(X) / |f_l(X)|

f_l are the activations of a layer, P_l their cells, a_l the weight of each channel. With the
networks and weights of LPIPS this is LPIPS. With an attribute classifier and equal weights it is a
substitute for machines without those files, whose values compare with no published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
    from stylefeatureeditor.metrics.perceptual import Lpips

Activations = Callable[[Tensor], Sequence[Tensor]]


class PerceptualVector:
    """v, and D by `distance`; `name` is of the networks, for the identity of a run.

    `activations` takes images (B, 3, S, S) in [-1, 1] to unit vectors per cell, (B, C, H, W) each;
    `weights` are a_l, (C,) for each, None for equal ones.
    """

    def __init__(
        self, name: str, activations: Activations, weights: Sequence[Tensor] | None = None
    ) -> None:
        self.name, self._activations, self._weights = name, activations, weights

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return v, (B, any)."""
        layers = self._activations(pixels)
        parts = []
        for place, layer in enumerate(layers):
            scale = layer.new_ones(layer.shape[1])
            if self._weights is not None:
                scale = self._weights[place]
            scale = (scale / layer[0, 0].numel()).sqrt()
            parts.append((layer * scale[:, None, None]).flatten(1))
        return torch.cat(parts, dim=1)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return D per pair of images, (B,)."""
        return (self(first) - self(second)).square().sum(dim=1)


def lpips_vector(network: Lpips) -> PerceptualVector:
    """Return LPIPS as vectors."""
    return PerceptualVector("LPIPS", network.activations, list(network.weights))


def classifier_vector(classifier: AttributeClassifier) -> PerceptualVector:
    """Return the stand-in made of a classifier's four stages."""

    def activations(pixels: Tensor) -> list[Tensor]:
        return [functional.normalize(stage, dim=1) for stage in classifier.features(pixels)]

    return PerceptualVector("attribute classifier", activations)


def pixel_vector() -> PerceptualVector:
    """Return plain pixels, for machines with neither network: D is three times the mean square."""
    return PerceptualVector("pixels", lambda pixels: [pixels])
