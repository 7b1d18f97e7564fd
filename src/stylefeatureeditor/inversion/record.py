"""Inversion: all that a method knows of a photo once it has been inverted.

A second edit of the same photo starts from here: neither E, I nor the pass of w runs again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stylefeatureeditor.records import AlignedFace, Codes, Photo

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Anchor:
    """The e4e side of Eq. 5, before the edit."""

    codes: Codes  # w_E
    features: Tensor  # F_{w_E}, the generator's features at the layer where Delta is taken


@dataclass
class Inversion:
    """B faces as a method knows them; ours: (w, F_k) = I(X). Picklable; ours may go to a file.

    Attributes:
        codes: w.
        features: F_k, (B, C, S_F, S_F); None for other methods than ours.
        rgb: the image that w draws up to F_k's resolution, (B, 3, S_F, S_F); None likewise.
        encoder_pixels: the photos as the encoders see them, (B, 3, S, S) in [-1, 1].
        model: fingerprint of the method that made it.
        faces: where the crops came from; empty when the input was an aligned tensor.
        source: the photo of the faces, as read; None for tensors.
        pixels: the reconstruction, of ours G(H(F_k, 0), w), (B, 3, size, size), nominally in
            [-1, 1], not rounded; None until it has been drawn.
        anchor: computed by the first edit, so that E runs once; None before.
        kept: of other methods: tensors with a row for each face, also in tuples, mappings and
            records.
    """

    codes: Codes
    features: Tensor | None = None
    rgb: Tensor | None = None
    encoder_pixels: Tensor | None = None
    model: str = ""
    faces: tuple[AlignedFace, ...] = ()
    source: Photo | None = None
    pixels: Tensor | None = None
    anchor: Anchor | None = None
    kept: Any = None

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
        return replace(self, **{name: _mapped(function, getattr(self, name)) for name in _PER_FACE})

    @staticmethod
    def cat(parts: list[Inversion]) -> Inversion:
        """Join inversions of one method along the batch; a field that one lacks becomes None."""
        faces = tuple(face for part in parts for face in part.faces)
        source = parts[0].source
        return Inversion(
            **{name: _joined([getattr(part, name) for part in parts]) for name in _PER_FACE},
            model=parts[0].model,
            faces=faces if len(faces) == sum(map(len, parts)) else (),
            source=source if all(part.source is source for part in parts) else None,
        )


_PER_FACE = ("codes", "features", "rgb", "encoder_pixels", "pixels", "anchor", "kept")


def _mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """`function` applied to every tensor in a record, mapping or tuple."""
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: _mapped(function, getattr(value, f.name)) for f in fields(value)}
        return replace(value, **parts)
    if isinstance(value, Mapping):
        return {key: _mapped(function, item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_mapped(function, item) for item in value)
    return value


def _joined(values: list[Any]) -> Any:
    """Join values of one kind along the batch; None if one is None."""
    first = values[0]
    if any(value is None for value in values):
        return None
    if isinstance(first, Tensor):
        return torch.cat(values)
    if isinstance(first, Codes):
        return Codes.cat(values)
    if is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in fields(first)]
        return replace(
            first, **{n: _joined([getattr(value, n) for value in values]) for n in names}
        )
    if isinstance(first, Mapping):
        return {key: _joined([value[key] for value in values]) for key in first}
    if isinstance(first, tuple):
        return tuple(_joined(list(items)) for items in zip(*values, strict=True))
    return first


def _without_neighbours(tensor: Tensor) -> Tensor:
    is_part = tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size()
    return tensor.clone() if is_part else tensor
