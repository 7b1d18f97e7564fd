"""Inversion: all that the method knows of a photo once it has been inverted.

A second edit of the same photo starts from here: neither E, I nor the pass of w runs again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor.records import AlignedFace, Codes, Photo

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True)
class Anchor:
    """The e4e side of Eq. 5, before the edit.

    Attributes:
        codes: w_E.
        features: F_{w_E}, the generator's features at the layer where Delta is taken.
    """

    codes: Codes
    features: Tensor


@dataclass
class Inversion:
    """(w, F_k) = I(X), for B faces, and what belongs to them. Picklable; may be saved to a file.

    Attributes:
        codes: w.
        features: F_k, (B, C, S_F, S_F).
        rgb: the image that w draws up to F_k's resolution, (B, 3, S_F, S_F).
        encoder_pixels: the photos as the encoders see them, (B, 3, S, S) in [-1, 1].
        model: fingerprint of the model that made it.
        faces: where the crops came from; empty when the input was an aligned tensor.
        source: the photo of the faces, as read; None for tensors.
        pixels: the reconstruction G(H(F_k, 0), w), (B, 3, size, size), nominally in [-1, 1], not
            rounded; None until it has been drawn.
        anchor: what the first edit adds, so that E runs once; None before.
    """

    codes: Codes
    features: Tensor
    rgb: Tensor
    encoder_pixels: Tensor
    model: str
    faces: tuple[AlignedFace, ...] = ()
    source: Photo | None = None
    pixels: Tensor | None = None
    anchor: Anchor | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> Inversion:
        """Return the inversion of one face, as a batch of one."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"face {index} of {len(self)}")
        row = index % len(self)
        return self.rows(row, row + 1)

    def rows(self, start: int, end: int) -> Inversion:
        """Return the faces from `start` up to `end`."""
        part = self.map(lambda tensor: tensor[start:end])
        return replace(part, faces=self.faces[start:end])

    def move(self, device: torch.device) -> None:
        """Move every tensor but the faces' own to a device, in place."""
        self.__dict__.update(self.map(lambda tensor: tensor.to(device)).__dict__)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields; rows of a batch come without the rest of the batch's memory."""
        return dict(self.map(_without_neighbours).__dict__)

    def map(self, function: Callable[[Tensor], Tensor]) -> Inversion:
        """Return the record with `function` applied to every tensor but the faces' own."""
        anchor = self.anchor and Anchor(
            self.anchor.codes.map(function), function(self.anchor.features)
        )
        return replace(
            self,
            codes=self.codes.map(function),
            features=function(self.features),
            rgb=function(self.rgb),
            encoder_pixels=function(self.encoder_pixels),
            pixels=None if self.pixels is None else function(self.pixels),
            anchor=anchor,
        )

    @staticmethod
    def cat(parts: list[Inversion]) -> Inversion:
        """Join inversions of one model along the batch; what one lacks, the whole lacks."""
        return type(parts[0])._joined(parts)

    @classmethod
    def _joined(cls, parts: list[Inversion]) -> Inversion:
        faces = tuple(face for part in parts for face in part.faces)
        rows = sum(len(part) for part in parts)
        anchors = [part.anchor for part in parts if part.anchor is not None]
        pixels = [part.pixels for part in parts if part.pixels is not None]
        anchor = (
            Anchor(Codes.cat([a.codes for a in anchors]), torch.cat([a.features for a in anchors]))
            if len(anchors) == len(parts)
            else None
        )
        return Inversion(
            codes=Codes.cat([part.codes for part in parts]),
            features=torch.cat([part.features for part in parts]),
            rgb=torch.cat([part.rgb for part in parts]),
            encoder_pixels=torch.cat([part.encoder_pixels for part in parts]),
            model=parts[0].model,
            faces=faces if len(faces) == rows else (),
            source=parts[0].source if all(p.source is parts[0].source for p in parts) else None,
            pixels=torch.cat(pixels) if len(pixels) == len(parts) else None,
            anchor=anchor,
        )


def _without_neighbours(tensor: Tensor) -> Tensor:
    is_part = tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size()
    return tensor.clone() if is_part else tensor
