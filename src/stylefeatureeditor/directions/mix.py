"""Mixing two photos A and B: pictures between them, and what A takes from B.

    between     w = (1 - t) w_A + t w_B,  F_k = (1 - t) F_A + t F_B
    styles      d = w_B - w_A on the style vectors [start, end)
    attribute   d = s v,  s = <w_B - w_A, v> / <v, v>,  v a linear direction

The last two are edits of A: its details follow by Delta, as in every edit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.editing.direction import EditDirection, LinearDirection
from stylefeatureeditor.errors import DirectionError, FaceError
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.inversion.record import Inversion


def toward(
    a: Inversion, b: Inversion, layers: tuple[int, int] | None = None, name: str = "toward"
) -> LinearDirection:
    """Return the direction from A to B, B at strength 1; FaceError unless both have one face."""
    if len(a) != 1 or len(b) != 1:
        raise FaceError("two photos are mixed a face at a time: choose one of each")
    return LinearDirection(name, (b.codes.wplus - a.codes.wplus)[0], layers=layers)


def strength_like(a: Inversion, b: Inversion, direction: EditDirection) -> float:
    """Return the strength at which A has as much of an attribute as B.

    DirectionError if the direction is not linear, FaceError as `toward`.
    """
    if not isinstance(direction, LinearDirection):
        raise DirectionError("an attribute is taken from a photo along linear directions only")
    step = direction.shift(a.codes, 1.0).wplus
    assert step is not None
    change = toward(a, b).vector
    return float((change * step[0]).sum() / step.square().sum())


@torch.no_grad()
def between(editor: Editor, a: Inversion, b: Inversion, shares: Sequence[float]) -> list[Tensor]:
    """Return the pictures between A (share 0) and B (share 1), each (1, 3, size, size).

    Methods other than ours keep A's details and move its codes. ShapeError if another method made
    the inversions, FaceError as `toward`.
    """
    direction, method = toward(a, b), editor.method
    for inversion in (a, b):
        method.take(inversion)
    if a.features is None or b.features is None:
        return [method.edit(a, {direction: share}) for share in shares]
    drawn = []
    for share in shares:
        codes = Codes(torch.lerp(a.codes.wplus, b.codes.wplus, share))
        rgb = method.generator.run_to(codes, editor.model.config.feature_layer).rgb
        features = torch.lerp(a.features, b.features, share)
        halfway = replace(a, codes=codes, features=features, rgb=rgb, pixels=None, anchor=None)
        drawn.append(method.reconstruct(halfway))
    return drawn
