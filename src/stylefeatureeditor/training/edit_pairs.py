"""Edits that the generator itself makes: what phase 2 learns from.

    w_E = E(X),  w_E' = w_E + d;  X_E = G(w_E),  X_E' = G(w_E')
    Delta = F_{w_E} - F_{w_E'}                                                 Eq. 5
    (w, F_k) = I(X_E),  w' = w + d

Nothing here has a gradient: E, I and G are frozen.
Shapes: B photos, S side of the model, C and S_F channels and side of F_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from stylefeatureeditor.editing.delta import resize
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.inversion.inverter import InverterOutput
    from stylefeatureeditor.model import Model

CodeSource = Literal["e4e", "inverter"]


@dataclass(frozen=True)
class TrainingDirection:
    """A direction that H learns from, and the strengths it is used with."""

    direction: EditDirection
    strengths: tuple[float, ...]  # one of them is drawn at a time
    # that positive strengths add, in a classifier's words; they remove "-Young"
    attribute: str = ""

    def __post_init__(self) -> None:
        if not self.strengths:
            raise ConfigError(f"direction '{self.direction.name}' needs at least one strength")

    def share(self, strength: float) -> float:
        """Return how much of the range to its side a strength is, in [-1, 1]."""
        ends = [abs(s) for s in self.strengths if s * strength > 0]
        return strength / max(ends, default=1.0)


@dataclass(frozen=True)
class EditStart:
    """I's features of images, and the codes of an edit."""

    features: Tensor  # F_k, (B, C, S_F, S_F)
    codes: Codes  # w'
    rgb: Tensor  # the image that w' draws up to layer k, (B, 3, S_F, S_F)


@dataclass(frozen=True)
class EditPair(EditStart):
    """An edit made by the generator itself, and I's features of X_E."""

    target: Tensor  # X_E', (B, 3, S, S)
    delta: Tensor  # F_{w_E} - F_{w_E'} at the model's delta layer


@torch.no_grad()
def make_edit(
    model: Model, photos: Tensor, direction: EditDirection, strength: float, source: CodeSource
) -> EditPair:
    """Return an edit of G's pictures of photos X, (B, 3, S, S) in [-1, 1].

    The model is in eval mode. `source` is where w_E comes from: E, or I ("without E").
    """
    config, generator = model.config, model.generator
    before = edit_codes(model, photos, source)
    both = Codes.cat([before, direction.apply(before, strength)])  # w_E, w_E': (2B, N, D)
    start = generator.run_to(both, config.delta_layer)
    # G(w) from what has been drawn of it already
    images = generator.synthesize_from(start.features, both, config.delta_layer, start.rgb)
    drawn, target = images.to(photos.dtype).chunk(2)  # X_E, X_E'
    old, new = start.features.chunk(2)
    begun = begin_edit(model, drawn, direction, strength)
    return EditPair(begun.features, begun.codes, begun.rgb, target, old - new)


@torch.no_grad()
def begin_edit(
    model: Model, photos: Tensor, direction: EditDirection, strength: float
) -> EditStart:
    """Return F_k of `photos`, w' and what w' draws: an edit without its Delta."""
    found = invert(model, photos)
    codes = direction.apply(found.codes, strength)  # w'
    rgb = model.generator.run_to(codes, model.config.feature_layer).rgb
    return EditStart(found.features, codes, rgb)


@torch.no_grad()
def invert(model: Model, photos: Tensor) -> InverterOutput:
    """Return (w, F_k) = I(X) and the start of G's pass of w."""
    seen = resize(photos, model.config.encoder_size)
    return model.inverter(seen, model.generator, model.config.feature_layer)


@torch.no_grad()
def edit_codes(model: Model, photos: Tensor, source: CodeSource) -> Codes:
    """Return w_E."""
    if source == "inverter":
        return invert(model, photos).codes
    seen = resize(photos, model.config.encoder_size)
    return Codes(model.generator.latent_avg + model.e4e(seen))
