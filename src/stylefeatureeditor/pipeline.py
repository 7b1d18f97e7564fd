"""The method on tensors: aligned photos in, edited pixels out (Eq. 1-7).

    (w, F_k) = I(X)                               invert
    X^  = G(H(F_k, 0), w_{k+1:N})                 reconstruct
    Delta = F_{w_E} - F_{w_E'}                    edit
    F_k' = H(F_k, Delta),  X' = G(F_k', w'_{k+1:N})

What an inversion knows is never computed again: E runs at the first edit only, I never again, and
each distinct code passes the generator's low layers once, all codes of an edit in one batch.

Shapes: B faces, R rows of an edit (B, or more when one face is edited with several strengths).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stylefeatureeditor.editing.delta import masked, resize
from stylefeatureeditor.editing.direction import combine
from stylefeatureeditor.errors import (
    DirectionError,
    MaskError,
    PhotoError,
    ShapeError,
    check_shape,
)
from stylefeatureeditor.inversion.record import Anchor, Inversion
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from stylefeatureeditor.editing.direction import EditDirection, Strength
    from stylefeatureeditor.generator.stylegan2 import Generator
    from stylefeatureeditor.model import Model


ROWS_AT_ONCE = 8  # drawn together on a GPU, so that memory does not grow with the batch


class Pipeline:
    """Runs one model. It keeps nothing between calls; the Inversion does.

    Args:
        model: the four networks, on the device where they shall run.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.fingerprint = fingerprint(model)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.model.generator.latent_avg.device

    @torch.no_grad()
    def invert(self, photos: Tensor) -> Inversion:
        """Return (w, F_k) = I(X); nothing is drawn yet.

        Args:
            photos: (B, 3, size, size) aligned, in [-1, 1].

        Raises:
            ShapeError: another shape.
            PhotoError: the tensor holds integers.
        """
        config = self.model.config
        size = config.generator.size
        check_shape("photos", photos, (None, 3, size, size))
        if not photos.is_floating_point():
            raise PhotoError(f"aligned photos must be floats in [-1, 1], got {photos.dtype}")
        seen = resize(photos.to(self.device, torch.float32), config.encoder_size)
        output = self.model.inverter(seen, self.model.generator, config.feature_layer)
        return Inversion(
            codes=output.codes,
            features=output.features,
            rgb=output.start.rgb,
            encoder_pixels=seen,
            model=self.fingerprint,
        )

    @torch.no_grad()
    def reconstruct(self, inversion: Inversion) -> Tensor:
        """Return X^, (B, 3, size, size), drawing it if it has not been drawn; E does not run.

        Raises:
            ShapeError: the inversion was made by another model.
        """
        self._take(inversion)
        if inversion.pixels is None:
            features = self.model.feature_editor.reconstruct(inversion.features)
            inversion.pixels = self._draw(features, inversion.codes, inversion.rgb)
        return inversion.pixels

    @torch.no_grad()
    def edit(
        self,
        inversion: Inversion,
        edits: Mapping[EditDirection, Strength],
        region: Tensor | None = None,
        *,
        size: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Return X', (R, 3, size, size).

        Args:
            inversion: B faces.
            edits: direction -> strength, one number or (R,); all act at once. With one face and
                (R,) strengths, the face is edited R times.
            region: (B or 1, 1, H, H), 1 = may change; None lets everything change.
            size: side of the picture; a smaller one is quick and coarse. None is the model's.
            dtype: of H's convolutions; torch.bfloat16 is less exact (docs/LOG.md). Other
                engines than torch keep their own.

        Raises:
            ConfigError: G has no layer of that side after F_k.
            DirectionError: a direction does not fit the model, or two have other numbers of rows.
            MaskError: the region has another shape.
            ShapeError: the inversion was made by another model.
        """
        if not edits and size is None:
            return self.reconstruct(inversion)
        self._take(inversion)
        if not edits:
            delta = torch.zeros_like(inversion.features)
            features = self._edit_features(inversion.features, delta, dtype)
            return self._draw(features, inversion.codes, inversion.rgb, size)
        check_rows(edits)
        if region is not None:
            check_region(region, len(inversion))
        codes = combine(inversion.codes, edits)  # w'
        rgb, delta = self._low_layers(inversion, codes, edits)
        if region is not None:
            delta = masked(delta, region.to(delta))
        features = inversion.features.expand(len(codes), -1, -1, -1)
        return self._draw(self._edit_features(features, delta, dtype), codes, rgb, size)

    @torch.no_grad()
    def find_anchor(self, inversion: Inversion) -> None:
        """Let the inversion know w_E and its features, as after an edit, if it does not yet."""
        self._take(inversion)
        if inversion.anchor is None:
            codes = self._encode(inversion)
            features = self.model.generator.features(codes, self.model.config.delta_layer)
            inversion.anchor = Anchor(codes, features)

    def check(self, inversion: Inversion) -> None:
        """Raise ShapeError if another model made the inversion; its codes would mean nothing."""
        if inversion.model != self.fingerprint:
            raise ShapeError(
                "this inversion was made by another model; invert the photo again with this one"
            )

    def _take(self, inversion: Inversion) -> None:
        """Check the inversion and bring it to where the networks are."""
        self.check(inversion)
        if inversion.features.device != self.device:
            inversion.move(self.device)

    def _low_layers(
        self, inversion: Inversion, codes: Codes, edits: Mapping[EditDirection, Strength]
    ) -> tuple[Tensor, Tensor]:
        """Return the image that w' draws up to F_k's resolution, and Delta (Eq. 5)."""
        model, config = self.model, self.model.config
        anchor = inversion.anchor
        before = self._encode(inversion) if anchor is None else anchor.codes  # w_E
        after = combine(before, edits)  # w_E'
        fresh = [after] if anchor else [after, before]
        if config.delta_layer == config.feature_layer:
            start = model.generator.run_to(Codes.cat([codes, *fresh]), config.feature_layer)
            rgb, drawn = start.rgb[: len(codes)], start.features[len(codes) :]
        else:
            rgb = model.generator.run_to(codes, config.feature_layer).rgb
            drawn = model.generator.features(Codes.cat(fresh), config.delta_layer)
        if anchor is None:
            anchor = inversion.anchor = Anchor(before, drawn[len(after) :].clone())
        delta = anchor.features - drawn[: len(after)]
        if model.delta_downsampler is not None:
            delta = model.delta_downsampler(delta)
        return rgb, delta

    def _edit_features(self, features: Tensor, delta: Tensor, dtype: torch.dtype) -> Tensor:
        """Return F_k' = H(F_k, Delta) (Eq. 6) in float32."""
        if dtype == torch.float32:
            return self.model.feature_editor(features, delta)
        with torch.autocast(self.device.type, dtype):
            return self.model.feature_editor(features, delta).float()

    def _encode(self, inversion: Inversion) -> Codes:
        return Codes(self.model.generator.latent_avg + self.model.e4e(inversion.encoder_pixels))

    def _draw(self, features: Tensor, codes: Codes, rgb: Tensor, size: int | None = None) -> Tensor:
        """Draw rows from F_k, a few at a time; on a CPU one by one, which is no slower."""
        generator, layer = self.model.generator, self.model.config.feature_layer
        step = 1 if self.device.type == "cpu" else ROWS_AT_ONCE
        rows = [slice(first, first + step) for first in range(0, len(codes), step)]
        drawn = [
            generator.synthesize_from(features[row], codes.rows(row), layer, rgb[row], size=size)
            for row in rows
        ]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)


def check_rows(edits: Mapping[EditDirection, Strength]) -> None:
    """Raise DirectionError if strengths of several numbers are not equally many."""
    rows = {len(s) for s in edits.values() if isinstance(s, Tensor) and s.ndim}
    if len(rows - {1}) > 1:
        raise DirectionError(
            f"edits of one call need equally many strengths, got {sorted(rows)}; give each "
            "direction one number, or all the same count"
        )


def check_region(region: Tensor, faces: int) -> None:
    """Raise MaskError unless an edit region is (B or 1, 1, H, H) with values in [0, 1]."""
    sides = set(region.shape[2:])
    if region.ndim != 4 or len(sides) > 1 or region.shape[1] != 1 or len(region) not in (1, faces):
        raise MaskError(
            f"an edit region must have shape ({faces}, 1, S, S), got {tuple(region.shape)}"
        )
    if region.dtype != torch.bool and not (region.min() >= 0 and region.max() <= 1):
        raise MaskError("an edit region holds values from 0 (keep) to 1 (may change)")


def fingerprint(model: Model) -> str:
    """Return 16 hex digits that change with the config and the weights of a model."""
    if model.source_fingerprint is not None:
        return model.source_fingerprint
    return network_fingerprint(model, model.config)


def generator_fingerprint(generator: Generator) -> str:
    """Return the same of G alone, for methods that look at nothing else of a model."""
    return network_fingerprint(generator, generator.config)


def network_fingerprint(network: nn.Module, config: object = None) -> str:
    """Return the same of any network; `config` is whatever else decides what it does."""
    digest = hashlib.sha256(repr(config).encode())
    for value in network.state_dict().values():
        if value.is_floating_point():
            part = value[0] if value.ndim else value  # enough: training moves every tensor
            digest.update(part.detach().flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
