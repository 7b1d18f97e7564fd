"""What a training phase shows to the loop, which knows nothing else of it.

    modules = phase.prepare(accelerator)               # once
    metrics = phase.train_step(photos, step)           # its own losses, backward, optimiser steps
    state = phase.state_dict()                         # into a checkpoint, and back

Shapes: B images of this rank and part of the batch, S side of the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator
    from torch import Tensor, nn


class BasePhase(Protocol):
    """What the loop asks of a phase beside its training step. All ranks call everything."""

    def prepare(self, accelerator: Accelerator) -> list[nn.Module]:
        """Move to the device, pass what trains through `accelerator.prepare`, return those modules.

        Called once, before any state is loaded. Modules must start equal on all ranks, and train
        through their `forward`.
        """
        ...

    def validate(self) -> dict[str, float]:
        """Return metrics on held-out images; runs without gradients."""
        ...

    def samples(self) -> Tensor | None:
        """Return a picture of the progress, (3, H, W) in [-1, 1]; runs without gradients."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that a step changes: tensors and plain values, as in `checkpoints.py`."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        ...

    def save_model(self, folder: Path) -> None:
        """Write the model for use, into an empty folder. Only the first rank calls this."""
        ...


class Phase(BasePhase, Protocol):
    """A phase that learns from photos alone."""

    def train_step(self, photos: Tensor, step: int) -> dict[str, float]:
        """Take one optimiser step, or one part of it when gradients accumulate.

        The order that accumulation needs is `accelerator.backward(loss)`, `optimizer.step()`,
        `optimizer.zero_grad()`; an average of weights moves only if `accelerator.sync_gradients`.

        Args:
            photos: (B, 3, S, S) in [-1, 1], this rank's part of the batch.
            step: counted from 0.

        Returns:
            Means over the photos, with the same names on all ranks. All must be finite.
        """
        ...


@runtime_checkable
class LabelledPhase(BasePhase, Protocol):
    """A phase that looks up something of its own for each image."""

    def train_labelled_step(self, photos: Tensor, indices: Tensor, step: int) -> dict[str, float]:
        """As `Phase.train_step`; `indices` (B,) int64 on the CPU number the photos in their set."""
        ...
