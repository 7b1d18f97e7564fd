"""A generator with some weights replaced, for methods that tune G to each photo."""

from __future__ import annotations

from copy import deepcopy
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stylefeatureeditor.generator.stylegan2 import Generator
    from stylefeatureeditor.records import Codes

    Weights = Mapping[str, Tensor]


def reweighted(generator: Generator, weights: Weights) -> Generator:
    """Return G with other weights by name; all other tensors are shared with `generator`."""
    shared: dict[int, object] = {
        id(tensor): tensor for tensor in chain(generator.parameters(), generator.buffers())
    }
    for name, weight in weights.items():
        own = nn.Parameter(weight, requires_grad=False)
        shared[id(generator.get_parameter(name))] = own
    return deepcopy(generator, shared)


def draw_each(generator: Generator, codes: Codes, weights: Callable[[int], Weights]) -> Tensor:
    """Draw rows of codes, each with its own weights by name, made for one row at a time."""
    rows = range(len(codes))
    drawn = (
        reweighted(generator, weights(i)).synthesize(codes.rows(slice(i, i + 1))) for i in rows
    )
    return torch.cat(list(drawn))
