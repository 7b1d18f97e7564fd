"""StyleFeatureEditor itself on tensors: aligned photos in, edited pixels out (Eq. 1-7).

    (w, F_k) = I(X)                               invert
    X^  = G(H(F_k, 0), w_{k+1:N})                 reconstruct
    Delta = F_{w_E} - F_{w_E'}                    edit
    F_k' = H(F_k, Delta),  X' = G(F_k', w'_{k+1:N})

What an inversion knows is never computed again: E runs at the first edit only, I never again, and
each distinct code passes the generator's low layers once, all codes of an edit in one batch.

Shapes: B faces, R rows of an edit (B, or more when one face is edited with several strengths).
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stylefeatureeditor.editing.delta import check_region, masked, resize
from stylefeatureeditor.editing.direction import combine, seeing
from stylefeatureeditor.errors import check_shape
from stylefeatureeditor.inversion.record import Anchor, Inversion
from stylefeatureeditor.methods.method import OnModel, count_rows
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from stylefeatureeditor.generator.stylegan2 import PartialImage
    from stylefeatureeditor.methods.method import Edits


class Sfe(OnModel):
    """Runs one model. It keeps nothing between calls; the Inversion does."""

    word, title = "sfe", "SFE"
    needs = ("e4e", "inverter", "feature_editor")

    @cached_property
    def fingerprint(self) -> str:
        """The model's own, since inversions are kept in files."""
        return self.model.fingerprint

    def encode(self, photos: Tensor) -> Inversion:
        """Return (w, F_k) = I(X); nothing is drawn yet."""
        config = self.config
        check_shape("photos", photos, (None, 3, self.size, self.size))
        seen = resize(photos, config.encoder_size)
        output = self.model.inverter(seen, self.generator, config.feature_layer)
        return Inversion(output.codes, output.features, output.start.rgb, seen)

    @torch.no_grad()
    def from_codes(self, codes: Codes, photos: Tensor | None = None) -> Inversion:
        """Return w with F_k fitted to the photos, or F_k = F_w of codes alone; see `Method`."""
        layer = self.config.feature_layer
        codes = codes.map(lambda tensor: tensor.to(self.device, torch.float32))
        if photos is not None:
            check_shape("photos", photos, (len(codes), 3, self.size, self.size))
            seen = resize(photos.to(self.device, torch.float32), self.config.encoder_size)
            known = self.model.inverter(seen, self.generator, layer, codes)
            return Inversion(codes, known.features, known.start.rgb, seen, self.fingerprint)
        start = self.generator.run_to(codes, layer)
        drawn = self.generator.synthesize_from(start.features, codes, layer, start.rgb)
        seen = resize(drawn, self.config.encoder_size)
        anchor = Anchor(codes, self.generator.features(codes, self.config.delta_layer))
        return Inversion(
            codes, start.features, start.rgb, seen, self.fingerprint, pixels=drawn, anchor=anchor
        )

    def reconstruct(self, inversion: Inversion) -> Tensor:
        """Return X^, (B, 3, size, size), drawing it if it has not been drawn; E does not run."""
        self.take(inversion)
        if inversion.pixels is None:
            inversion.pixels = self.edit(inversion, {}, size=self.size)
        return inversion.pixels

    @torch.no_grad()
    def edit(
        self,
        inversion: Inversion,
        edits: Edits,
        region: Tensor | None = None,
        *,
        size: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Return X', (R, 3, size, size); arguments and errors as `Method.edit`."""
        if not edits and size is None:
            return self.reconstruct(inversion)
        self.take(inversion)
        assert inversion.features is not None
        assert inversion.rgb is not None
        codes, rgb, delta = inversion.codes, inversion.rgb, torch.zeros_like(inversion.features)
        if edits:
            count_rows(edits, len(inversion))
            if region is not None:
                check_region(region, len(inversion))
            edits = seeing(edits, inversion.encoder_pixels)
            codes = combine(codes, edits)  # w'
            rgb, delta = self._low_layers(inversion, codes, edits)
            if region is not None:
                delta = masked(delta, region.to(delta))
        features = inversion.features.expand(len(codes), -1, -1, -1)
        is_exact = dtype == torch.float32
        with nullcontext() if is_exact else torch.autocast(self.device.type, dtype):
            features = self.model.feature_editor(features, delta).float()  # F_k' (Eq. 6)
        drawn, layer, step = [], self.config.feature_layer, self.rows_at_once
        for row in (slice(start, start + step) for start in range(0, len(codes), step)):
            some = features[row], codes.rows(row), layer, rgb[row]
            drawn.append(self.generator.synthesize_from(*some, size=size))
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)

    @torch.no_grad()
    def find_anchor(self, inversion: Inversion) -> None:
        """Store w_E and its features in the inversion, as an edit does, unless they are there."""
        self.take(inversion)
        if inversion.anchor is None:
            codes = self._encode(inversion)
            features = self.generator.features(codes, self.config.delta_layer)
            inversion.anchor = Anchor(codes, features)

    def _low_layers(
        self, inversion: Inversion, codes: Codes, edits: Edits
    ) -> tuple[Tensor, Tensor]:
        """Return the image that w' draws up to F_k's resolution, and Delta (Eq. 5)."""
        generator, config = self.generator, self.config
        anchor = inversion.anchor
        before = self._encode(inversion) if anchor is None else anchor.codes  # w_E
        after = combine(before, edits)  # w_E'
        fresh = [after] if anchor else [after, before]
        if config.delta_layer == config.feature_layer:
            halfway = generator.run_to(Codes.cat([codes, *fresh]), config.feature_layer)
            rgb, drawn = halfway.rgb[: len(codes)], halfway.features[len(codes) :]
        else:
            rgb = generator.run_to(codes, config.feature_layer).rgb
            drawn = generator.features(Codes.cat(fresh), config.delta_layer)
        if anchor is None:
            anchor = inversion.anchor = Anchor(before, drawn[len(after) :].clone())
        delta = anchor.features - drawn[: len(after)]
        if self.model.delta_downsampler is not None:
            delta = self.model.delta_downsampler(delta)
        return rgb, delta

    def _encode(self, inversion: Inversion) -> Codes:
        return Codes(self.generator.latent_avg + self.model.e4e(inversion.encoder_pixels))


class SfeWithoutH(OnModel):
    """The Inverter alone, as phase 1 leaves it: X^ = G(F_k, w) (Eq. 4).

    Its edits carry the change of the generator's own features over to F_k, as Feature-Style does:
    F_k' = F_k - Delta with Delta = F_w - F_w', since there is no H.
    """

    word, title = "sfe-without-h", "SFE without H"
    needs = ("inverter",)

    def encode(self, photos: Tensor) -> Inversion:
        """Return w, F_k and F_w, and G(F_k, w)."""
        layer = self.config.feature_layer
        seen = resize(photos, self.config.encoder_size)
        output = self.model.inverter(seen, self.generator, layer)
        pixels = self.generator.synthesize_from(
            output.features, output.codes, layer, output.start.rgb
        )
        return Inversion(output.codes, pixels=pixels, kept=(output.features, output.start))

    def draw(self, codes: Codes, kept: tuple[Tensor, PartialImage]) -> Tensor:
        """Return G(F_k - Delta, w')."""
        features, start = kept
        moved = self.generator.run_to(codes, self.config.feature_layer)
        features = features - (start.features - moved.features)
        return self.generator.synthesize_from(features, codes, self.config.feature_layer, moved.rgb)
