"""The protocol of a method: what a row of a table has to do, ours and the compared ones alike.

    state = method.invert(photos)                      # state.reconstruction is X^
    pixels = method.edit(state, direction, strength)   # X'

Whatever keeps to it is measured by `evaluation/`, drawn beside others by `sfe compare`, and edits
whole photos through `MethodEditor`. `docs/examples/new_method.py` adds one.

Shapes: B photos of side `size`, (B, 3, size, size) in [-1, 1].
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.records import CodeShift

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from stylefeatureeditor.editing.direction import Strength
    from stylefeatureeditor.generator.stylegan2 import Generator
    from stylefeatureeditor.methods.inversion import Edits
    from stylefeatureeditor.records import Codes


class State(Protocol):
    """What a method knows of photos once it has inverted them."""

    @property
    def reconstruction(self) -> Tensor:
        """X^, (B, 3, size, size), nominally in [-1, 1], not rounded."""


S = TypeVar("S", bound=State)


class Method(ABC, Generic[S]):
    """One way to invert photos and to edit what came of it.

    Attributes:
        name: row of the table.
        size: side of the photos it takes.
        identity: changes with the weights and settings; results of another identity are another
            method's.
    """

    name: str
    size: int
    identity: str

    @abstractmethod
    def invert(self, photos: Tensor) -> S:
        """Invert and redraw photos, (B, 3, size, size) in [-1, 1]."""

    @abstractmethod
    def edit(self, state: S, direction: EditDirection, strength: float) -> Tensor:
        """Return the photos of `state` edited, (B, 3, size, size)."""


@dataclass(frozen=True, eq=False)
class SeveralEdits(EditDirection):
    """Several directions with their strengths as one, so that a method edits with all at once.

    Attributes:
        edits: direction -> strength at strength 1 of the whole.
    """

    edits: Mapping[EditDirection, Strength]

    @property
    def name(self) -> str:  # type: ignore[override]
        """All names, joined."""
        return " + ".join(direction.name for direction in self.edits)

    def shift(self, codes: Codes, strength: Strength) -> CodeShift:
        """Return the sum of the shifts, each by `strength` times its own."""
        total = CodeShift()
        for direction, own in self.edits.items():
            total = total + direction.shift(codes, own * strength)
        return total


class Network(Protocol):
    """What the classes of this room have in common; any code space that `combine` can shift."""

    generator: Generator
    config: Any

    def invert(self, photos: Tensor) -> Any:
        """(B, 3, S, S) in [-1, 1] -> a `State`."""

    def edit(self, inversion: Any, edits: Edits) -> Tensor:
        """Return the edited photos, (B, 3, size, size)."""


class ComparedMethod(Method[Any]):
    """A network of this room as a row of the table.

    All of them shift w, so all take directions of W, W+ and StyleSpace of their generator; another
    generator's raise a DirectionError or ShapeError.

    Args:
        network: on its device.
        name: row of the table.
    """

    def __init__(self, network: Any, name: str) -> None:
        self.network: Network = network
        self.name, self.size = name, network.config.generator.size
        self.identity = f"{type(network).__name__} {digest(network)}"

    def invert(self, photos: Tensor) -> Any:
        """Return what the network knows of the photos."""
        return self.network.invert(photos.to(self.network.generator.latent_avg))

    def edit(self, state: Any, direction: EditDirection, strength: float) -> Tensor:
        """Return X', drawn by the network."""
        return self.network.edit(state, {direction: strength})


def digest(network: Any) -> str:
    """Return 16 hex digits that change with the config and the weights of a network."""
    found = hashlib.sha256(repr(network.config).encode())
    for name, value in network.state_dict().items():
        if value.is_floating_point():  # a few numbers are enough: training moves every tensor
            found.update(name.encode())
            found.update(value.detach().flatten()[:64].float().cpu().numpy().tobytes())
    return found.hexdigest()[:16]
