"""The methods of the paper's own networks, behind the protocol of `methods/method.py`.

| method      | codes                | what redraws the photo                      |
|-------------|----------------------|---------------------------------------------|
| Sfe         | w from I, w_E from E | G(H(F_k, Delta), w')          Eq. 3-7       |
| SfeWithoutH | w from I             | G(F_k - (F_w - F_w'), w')     after phase 1 |
| E4eMethod   | w_E from E           | G(w_E')                                     |

Methods that fit each photo are in `w_optimisation.py` and `pivotal_tuning.py`, those that the paper
compares with in `methods/`. Time is taken by whoever calls, in the same way for all.

Shapes: B photos of side `size`, (B, 3, size, size) in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.editing.delta import resize
from stylefeatureeditor.editing.direction import combine
from stylefeatureeditor.methods.method import Method
from stylefeatureeditor.pipeline import Pipeline
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.inversion.inverter import InverterOutput
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.model import Model


@dataclass(frozen=True)
class SfeState:
    """The method's own record, drawn."""

    inversion: Inversion
    reconstruction: Tensor


class Sfe(Method[SfeState]):
    """StyleFeatureEditor itself."""

    def __init__(self, model: Model, name: str = "SFE") -> None:
        self.pipeline = Pipeline(model)
        self.name, self.size = name, model.config.generator.size
        self.identity = f"sfe {self.pipeline.fingerprint}"

    def invert(self, photos: Tensor) -> SfeState:
        """Return (w, F_k) and G(H(F_k, 0), w)."""
        inversion = self.pipeline.invert(photos)
        return SfeState(inversion, self.pipeline.reconstruct(inversion))

    def edit(self, state: SfeState, direction: EditDirection, strength: float) -> Tensor:
        """Return G(H(F_k, Delta), w')."""
        return self.pipeline.edit(state.inversion, {direction: strength})


@dataclass(frozen=True)
class FeatureState:
    """Codes and features of phase 1, drawn."""

    output: InverterOutput
    reconstruction: Tensor


class SfeWithoutH(Method[FeatureState]):
    """The Inverter alone, as phase 1 leaves it: X^ = G(F_k, w) (Eq. 4).

    Its edits carry the change of the generator's own features over to F_k, as Feature-Style does:
    F_k' = F_k - Delta with Delta = F_w - F_w', since there is no H that knows better.
    """

    def __init__(self, model: Model, name: str = "SFE without H") -> None:
        self.model = model
        self.name, self.size = name, model.config.generator.size
        self.identity = f"sfe-without-h {Pipeline(model).fingerprint}"

    @torch.no_grad()
    def invert(self, photos: Tensor) -> FeatureState:
        """Return F_k and G(F_k, w)."""
        model, config = self.model, self.model.config
        seen = resize(photos.to(model.generator.latent_avg), config.encoder_size)
        output = model.inverter(seen, model.generator, config.feature_layer)
        drawn = model.generator.synthesize_from(
            output.features, output.codes, config.feature_layer, output.start.rgb
        )
        return FeatureState(output, drawn)

    @torch.no_grad()
    def edit(self, state: FeatureState, direction: EditDirection, strength: float) -> Tensor:
        """Return G(F_k - Delta, w')."""
        generator, layer = self.model.generator, self.model.config.feature_layer
        codes = combine(state.output.codes, {direction: strength})
        moved = generator.run_to(codes, layer)
        features = state.output.features - (state.output.start.features - moved.features)
        return generator.synthesize_from(features, codes, layer, moved.rgb)


@dataclass(frozen=True)
class CodeState:
    """Codes alone, drawn."""

    codes: Codes
    reconstruction: Tensor


class E4eMethod(Method[CodeState]):
    """The encoder E alone: X^ = G(E(X))."""

    def __init__(self, model: Model, name: str = "e4e") -> None:
        self.model = model
        self.name, self.size = name, model.config.generator.size
        self.identity = f"e4e {Pipeline(model).fingerprint}"

    @torch.no_grad()
    def invert(self, photos: Tensor) -> CodeState:
        """Return w_E and G(w_E)."""
        generator = self.model.generator
        seen = resize(photos.to(generator.latent_avg), self.model.config.encoder_size)
        codes = Codes(generator.latent_avg + self.model.e4e(seen))
        return CodeState(codes, generator.synthesize(codes))

    @torch.no_grad()
    def edit(self, state: CodeState, direction: EditDirection, strength: float) -> Tensor:
        """Return G(w_E + d)."""
        return self.model.generator.synthesize(combine(state.codes, {direction: strength}))
