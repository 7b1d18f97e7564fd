"""What a training phase shows to the loop, which knows nothing else of it.

    modules = phase.prepare(accelerator)               # once
    metrics = phase.train_step(photos, step)           # its own losses, backward, optimiser steps
    state = phase.state_dict()                         # into a checkpoint, and back

All ranks call everything but `save_model`. Shapes: B images of this rank and part of the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stylefeatureeditor.weights.checkpoint import save_model

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator
    from torch import Tensor, nn

    from stylefeatureeditor.model import Model


class Phase:
    """A phase, but for what each has of its own: `prepare`, `train_step` and `parts`.

    Attributes:
        accelerator: set by `prepare`.
        model: what `save_model` writes.
        labels: one row per training image, or None; `train_step` gets those of its photos.
        counters: names of the attributes that a checkpoint holds beside `parts`.
    """

    accelerator: Accelerator
    model: Model
    labels: Tensor | None = None
    counters: tuple[str, ...] = ()

    def prepare(self, accelerator: Accelerator) -> list[nn.Module]:
        """Move to the device, pass what trains through `accelerator.prepare`, return those modules.

        Called once, before any state is loaded. Modules must start equal on all ranks, and train
        through their `forward`.
        """
        raise NotImplementedError

    def train_step(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Take one optimiser step, or one part of it when gradients accumulate.

        The order that accumulation needs is `accelerator.backward(loss)`, `optimizer.step()`,
        `optimizer.zero_grad()`; an average of weights moves only if `accelerator.sync_gradients`.

        Args:
            *args: photos (B, 3, S, S) in [-1, 1], this rank's part of the batch; the step, counted
                from 0; and the photos' rows of `labels`, if there are any.
            **kwargs: none.

        Returns:
            Means over the photos, with the same names on all ranks. All must be finite.
        """
        raise NotImplementedError

    def parts(self) -> dict[str, Any]:
        """Return what a step changes, by the names of a checkpoint: each has a `state_dict`."""
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """Return metrics on held-out images; runs without gradients."""
        return {}

    def samples(self) -> Tensor | None:
        """Return a picture of the progress, (3, H, W) in [-1, 1]; runs without gradients."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return all that a step changes: tensors and plain values, as in `checkpoints.py`."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        return state | {name: getattr(self, name) for name in self.counters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        for name in self.counters:
            setattr(self, name, state[name])

    def save_model(self, folder: Path) -> None:
        """Write the model for use, into an empty folder. Only the first rank calls this."""
        save_model(self.model, folder)
