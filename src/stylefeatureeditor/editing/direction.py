"""Edit directions: what a strength adds to the codes of a photo.

    linear       d = s * a * v                                      on style vectors [start, end)
    PCA          d = (s - <w_0 - mean, c> / std) * std * c          on style vectors [start, end)
    StyleSpace   d = s * a * offset                                 on the modulation vectors

s is the strength and a the method's own scale, so that a published strength means the same here.
Every shift is computed from the unedited codes: several edits are the codes plus the sum of their
shifts, and their order does not matter.

Shapes: B batch, N style vectors (18 at 1024), D code width (512), C channels of one modulation
vector.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from stylefeatureeditor.editing.direction_names import check_sizes
from stylefeatureeditor.errors import DirectionError
from stylefeatureeditor.records import Codes, CodeShift, StyleLayout, StyleSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

Strength = float | Tensor  # one number, or (B,): one per row of the codes

# copies on other devices, by (id of the tensor, device, dtype)
_SENT: WeakKeyDictionary[EditDirection, dict[tuple[object, ...], Tensor]] = WeakKeyDictionary()
STYLESPACE_SCALE = 3.0  # the released code multiplies a StyleSpace strength by 3


class EditDirection(ABC):
    """One attribute that codes can be moved along. Directions compare and hash by identity.

    Attributes:
        name: what messages and file names call it.
    """

    name: str

    @abstractmethod
    def shift(self, codes: Codes, strength: Strength) -> CodeShift:
        """Return what `strength` adds to `codes`; the codes stay as they are.

        Args:
            codes: the unedited codes, B rows.
            strength: one number for all rows, or (B,); one row of codes takes any number of them.

        Raises:
            DirectionError: the direction or the strength does not fit the codes.
        """

    def seeing(self, photos: Tensor | None) -> EditDirection:  # noqa: ARG002
        """Return the direction for these photos, (B, 3, S, S); most do not use them."""
        return self

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with every number of the direction."""
        content = b"".join(_bytes(value) for value in vars(self).values())
        return hashlib.sha256(content).hexdigest()[:16]

    def apply(self, codes: Codes, strength: Strength) -> Codes:
        """Return the codes moved by `strength`: w' = w + d of Eq. 7."""
        return codes + self.shift(codes, strength)

    def _beside(self, codes: Codes, tensor: Tensor) -> Tensor:
        """Return one of its tensors on the codes' device, in their dtype; it is copied once."""
        like = codes.wplus
        if (tensor.device, tensor.dtype) == (like.device, like.dtype):
            return tensor
        known, place = _SENT.setdefault(self, {}), (id(tensor), like.device, like.dtype)
        if place not in known:
            known[place] = tensor.to(like)
        return known[place]

    @staticmethod
    def linear(vector: Tensor, name: str = "linear") -> LinearDirection:
        """Return the direction w' = w + strength * vector, for a (D,) or (N, D) vector."""
        return LinearDirection(name, vector)


@dataclass(frozen=True, eq=False)
class LinearDirection(EditDirection):
    """w' = w + strength * scale * vector: InterFaceGAN, boundaries, and every fitted vector."""

    name: str
    vector: Tensor  # (D,), the same for every style vector, or (N, D)
    scale: float = 1.0  # 0.5 for InterFaceGAN vectors, 1 for boundaries
    # the style vectors it moves, [start, end); None means all
    layers: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.vector.ndim not in (1, 2) or not self.vector.is_floating_point():
            raise DirectionError(
                f"direction '{self.name}': expected a float vector of shape (D,) or (N, D), "
                f"got {tuple(self.vector.shape)} of {self.vector.dtype}"
            )

    def shift(self, codes: Codes, strength: Strength) -> CodeShift:
        """Return strength * scale * vector, (B or 1, N, D)."""
        check_strength(self.name, codes, strength)
        check_width(self.name, self.vector, codes)
        rows = on_layers(self.name, self._beside(codes, self.vector), codes, self.layers)
        return CodeShift(times(strength, self.scale * rows[None]))


@dataclass(frozen=True, eq=False)
class PcaDirection(EditDirection):
    """GANSpace as published: the strength is the coordinate to reach, in standard deviations.

    A code's present coordinate is that of its style vector 0, whichever layers are moved; strength
    0 therefore means the average face along this axis, not "no edit".
    """

    name: str
    component: Tensor  # c, (D,), of unit length
    mean: Tensor  # (D,), the centre of the components
    std: float  # spread of the codes along c
    # the style vectors it moves, [start, end); None means all
    layers: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.component.ndim != 1 or self.mean.shape != self.component.shape:
            raise DirectionError(
                f"direction '{self.name}': expected a component and a mean of one shape (D,), got "
                f"{tuple(self.component.shape)} and {tuple(self.mean.shape)}"
            )
        if not (isfinite(self.std) and self.std > 0):
            raise DirectionError(f"direction '{self.name}': std must be positive, got {self.std}")

    def shift(self, codes: Codes, strength: Strength) -> CodeShift:
        """Return what brings the coordinate to `strength`, (B, N, D)."""
        check_strength(self.name, codes, strength)
        check_width(self.name, self.component, codes)
        component, mean = (self._beside(codes, each) for each in (self.component, self.mean))
        coordinate = (codes.wplus[:, 0] - mean) @ component / self.std  # (B,)
        target = strength.to(coordinate) if isinstance(strength, Tensor) else strength
        step = on_layers(self.name, component * self.std, codes, self.layers)
        return CodeShift(times(target - coordinate, step[None]))


@dataclass(frozen=True, eq=False)
class StyleSpaceDirection(EditDirection):
    """Adds strength * scale * offset to the modulation vectors; the W+ code stays."""

    name: str
    offset: StyleSpace  # one row per layer, (1, C), of the generator the direction is meant for
    scale: float = 1.0  # 3 for single channels, 1 / 1.5 for StyleCLIP text directions

    @staticmethod
    def of_channels(
        name: str, channels: tuple[tuple[int, int], ...], layout: StyleLayout
    ) -> StyleSpaceDirection:
        """Return the direction that moves single channels by 3 * strength.

        Raises:
            DirectionError: the generator has no such layer or channel.
        """
        conv = [torch.zeros(1, width) for width in layout.conv]
        rgb = tuple(torch.zeros(1, width) for width in layout.rgb)
        numbers = conv_of_style_layers(len(layout.conv))
        for layer, channel in channels:
            if not (0 <= layer < len(numbers) and 0 <= channel < layout.conv[numbers[layer]]):
                raise DirectionError(
                    f"direction '{name}' edits channel {channel} of style layer {layer}; this "
                    "generator has none: it was made for a larger one"
                )
            conv[numbers[layer]][0, channel] += 1
        return StyleSpaceDirection(name, StyleSpace(tuple(conv), rgb), STYLESPACE_SCALE)

    def shift(self, codes: Codes, strength: Strength) -> CodeShift:
        """Return strength * scale * offset, (B or 1) rows for every layer."""
        check_strength(self.name, codes, strength)
        rows = self.offset.map(lambda row: times(strength, self.scale * self._beside(codes, row)))
        return CodeShift(styles=rows)


def combine(codes: Codes, edits: Mapping[EditDirection, Strength]) -> Codes:
    """Return the codes with several edits at once: w + sum of the shifts, in any order."""
    shift = CodeShift()
    for direction, strength in edits.items():
        shift = shift + direction.shift(codes, strength)
    return codes + shift


def seeing(
    edits: Mapping[EditDirection, Strength], photos: Tensor | None
) -> dict[EditDirection, Strength]:
    """Return the edits for these photos, (B, 3, S, S) in [-1, 1]."""
    return {direction.seeing(photos): strength for direction, strength in edits.items()}


def conv_of_style_layers(num_convs: int) -> tuple[int, ...]:
    """Return the convolution that each numbered style layer edits.

    Published StyleSpace channels number every modulated layer: the 4 x 4 convolution and its RGB
    layer, then two convolutions and an RGB layer per resolution. The released code edits
    convolutions only and gives an RGB number to the convolution before it, except the very first,
    which it gives to the one after.
    """
    numbers = [0, 1]
    for first in range(1, num_convs, 2):  # the upsampling convolution of each resolution
        numbers += [first, first + 1, first + 1]
    return tuple(numbers)


def style_layers_of_convs(num_convs: int) -> tuple[int, ...]:
    """Return the published number of each convolution: 0, 2, 3, 5, 6, 8, ..."""
    return tuple(3 * ((conv + 1) // 2) - conv % 2 for conv in range(num_convs))


def _bytes(value: object) -> bytes:
    if isinstance(value, Tensor):
        return value.detach().float().cpu().numpy().tobytes()
    if isinstance(value, nn.Module):
        return b"".join(map(_bytes, value.state_dict().values()))
    if isinstance(value, StyleSpace):
        return b"".join(map(_bytes, (*value.conv, *value.rgb)))
    return b"" if callable(value) else repr(value).encode()


def times(strength: Strength, change: Tensor) -> Tensor:
    """Return strength * change for a change of B or 1 rows and a strength of one number or (B,)."""
    if isinstance(strength, Tensor) and strength.ndim:
        strength = strength.to(change).reshape(-1, *[1] * (change.ndim - 1))
    return strength * change


def on_layers(name: str, rows: Tensor, codes: Codes, layers: tuple[int, int] | None) -> Tensor:
    """Return (N, D): `rows`, (D,) or (N, D), on the style vectors [start, end), zero elsewhere."""
    num_styles, width = codes.wplus.shape[1:]
    rows = rows.expand(num_styles, width)
    if layers is None:
        return rows
    start, end = layers
    if not 0 <= start < end <= num_styles:
        raise DirectionError(
            f"direction '{name}' moves style vectors {start} to {end - 1}, the codes have "
            f"{num_styles}: it was made for another generator"
        )
    moved = torch.zeros_like(rows)
    moved[start:end] = rows[start:end]
    return moved


def check_width(name: str, vector: Tensor, codes: Codes) -> None:
    """Raise DirectionError unless a (D,) or (N, D) vector fits the codes."""
    expected = codes.wplus.shape[-vector.ndim :]
    if vector.shape != expected:
        raise DirectionError(
            f"direction '{name}' has shape {tuple(vector.shape)}, the codes need "
            f"{tuple(expected)}: it was made for another generator"
        )


def check_strength(name: str, codes: Codes, strength: Strength) -> None:
    """Raise DirectionError unless the strength is one number of sensible size, or one per row."""
    if not isinstance(strength, Tensor):
        check_sizes(name, [strength])
        return
    if strength.device.type == "cpu":  # reading a GPU's would wait for it
        check_sizes(name, strength.flatten().tolist())
    if strength.ndim > 1 or (strength.ndim == 1 and len(codes) not in (1, len(strength))):
        raise DirectionError(
            f"strength of '{name}': expected one number or ({len(codes)},), "
            f"got {tuple(strength.shape)}"
        )
