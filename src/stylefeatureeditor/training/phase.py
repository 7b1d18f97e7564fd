"""The interface of a training phase, which is all that the loop uses.

    modules = phase.prepare(accelerator)               # once
    metrics = phase.train_step(photos, step)           # its own losses, backward, optimiser steps
    state = phase.state_dict()                         # into a checkpoint, and back

All ranks call everything but `samples` and `save_model`, which are the first's. A frozen network
gets no gradient and stays in eval mode, BatchNorm statistics included (docs/adr/0010);
one that trains keeps BatchNorm in the mode its phase asks for.

Shapes: B images of this rank and part of the batch, S side of the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from stylefeatureeditor.device import sent
from stylefeatureeditor.metrics.pixel import SSIM_SIDE, l2, ssim
from stylefeatureeditor.training.ranger import Ranger
from stylefeatureeditor.weights.checkpoint import save_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from accelerate import Accelerator

    from stylefeatureeditor.model import Model
    from stylefeatureeditor.training.image_losses import ImageLoss

BatchNormMode = Literal["batch", "frozen"]
NORMS = (nn.BatchNorm2d, nn.BatchNorm1d, nn.SyncBatchNorm)
Metrics = dict[str, "Tensor | float"]
Rows = dict[str, Tensor]  # (n, ...) by name, of n photos


class HeldOut(Protocol):
    """Photos that no step sees: a tensor (n, 3, S, S) in [-1, 1], or an `Excerpt` of a set."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: list[int], /) -> Tensor: ...


class Phase(ABC):
    """Base of all phases; each adds `prepare`, `train_step` and `parts`.

    Attributes:
        accelerator: set by `prepare`.
        model: what `save_model` writes.
        labels: one row per training image, or None; `train_step` gets those of its photos.
        counters: names of the attributes that a checkpoint holds beside `parts`.
        held_out: photos of `validate` and `samples`; None skips both.
        batch: images that are taken at a time; the loop sets that of a step.
    """

    accelerator: Accelerator
    model: Model
    labels: Tensor | None = None
    counters: tuple[str, ...] = ()
    held_out: HeldOut | None = None
    batch: int = 16

    @abstractmethod
    def prepare(self, accelerator: Accelerator) -> list[nn.Module]:
        """Move to the device, pass what trains through `accelerator.prepare`, return those modules.

        Called once, before any state is loaded. Modules must start equal on all ranks, and train
        through their `forward`.
        """

    @abstractmethod
    def train_step(self, *args: Any, **kwargs: Any) -> Metrics:
        """Take one optimiser step, or one part of it when gradients accumulate.

        The order that accumulation needs is `accelerator.backward(loss)`, `optimizer.step()`,
        `optimizer.zero_grad()`; an average of weights moves only if `accelerator.sync_gradients`.

        Arguments are photos (B, 3, S, S) in [-1, 1], this rank's part of the batch; the step,
        counted from 0; and the photos' rows of `labels`, if there are any.

        Returns:
            Means over the photos, with the same names on all ranks; scalars without a graph stay
            where they are, so that no step waits for the GPU. All must be finite.
        """

    @abstractmethod
    def parts(self) -> dict[str, Any]:
        """Return what a step changes, by the names of a checkpoint: each has a `state_dict`."""

    def validate(self) -> dict[str, float]:
        """Return metrics on held-out images; runs without gradients."""
        return {}

    def samples(self) -> Tensor | None:
        """Return a picture of the progress, (3, H, W) in [-1, 1]; runs without gradients."""
        return None

    def trained(self) -> dict[str, nn.Module]:
        """Return the networks that train, by name."""
        return {}

    def set_training(self) -> None:
        """Put what trains into training mode."""
        for network in self.trained().values():
            network.train()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Put the networks into eval mode, as users get them."""
        for network in self.trained().values():
            network.eval()
        yield
        self.set_training()

    def photos(self, places: Sequence[int]) -> Tensor:
        """Return some of the held-out photos, (b, 3, S, S), on the device."""
        assert self.held_out is not None
        return sent(self.held_out[list(places)], self.accelerator.device)

    @torch.no_grad()
    def rows(self, judge: Callable[[Sequence[int]], Rows], places: Sequence[int]) -> Rows:
        """Return what `judge` finds at places of the held-out photos, `batch` of them at a time.

        The rows are float32, on the device.
        """
        with self.shown():
            found = [judge(places[i : i + self.batch]) for i in range(0, len(places), self.batch)]
        return {name: torch.cat([part[name].float() for part in found]) for name in found[0]}

    def judged(self, judge: Callable[[Sequence[int]], Rows], most: int | None = None) -> Rows:
        """Return `rows` of all held-out photos, or of the first few, on the CPU.

        Each rank does its share, and gets all.
        """
        assert self.held_out is not None
        ranks, count = self.accelerator.num_processes, len(self.held_out)
        count = min(count, most or count)
        share = -(-count // ranks)
        first = self.accelerator.process_index * share
        # as many on every rank: the last photo fills up
        mine = [min(place, count - 1) for place in range(first, first + share)]
        found = self.rows(judge, mine)
        return {name: self.accelerator.gather(row)[:count].cpu() for name, row in found.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all that a step changes: tensors and plain values, as in `checkpoints.py`."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        return state | {name: getattr(self, name) for name in self.counters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        for name in self.counters:
            setattr(self, name, state[name])

    def save_model(self, folder: Path) -> None:
        """Write the model for use, into an empty folder. Only the first rank calls this."""
        save_model(self.model, folder)


class ModelPhase(Phase):
    """A phase that trains one network of the model; the others are frozen.

    Attributes:
        trains: names of what trains, as far as the model has it.
        losses: image losses, by the name that a checkpoint gives to the D of each.
        config: with the fields `ranger` and `batch_norm`.
    """

    trains: tuple[str, ...]
    losses: dict[str, ImageLoss]
    config: Any
    optimizer: Any
    forward: Any

    def trained(self) -> dict[str, nn.Module]:
        """See `Phase`."""
        found = {name: getattr(self.model, name) for name in self.trains}
        return {name: network for name, network in found.items() if network is not None}

    def prepare_model(self, accelerator: Accelerator, forward: type[nn.Module]) -> nn.Module:
        """Return the forward that trains, `forward` of the model, with Ranger as its optimiser."""
        self.accelerator = accelerator
        freeze(self.model)
        # BatchNorm sees the batch of all processes where torch can: on CUDA. Elsewhere each process
        # has its own part, and the statistics of the first are saved.
        several = accelerator.num_processes > 1 and accelerator.device.type == "cuda"
        for name, network in self.trained().items():
            if several:
                network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            setattr(self.model, name, network.requires_grad_())
        self.set_training()
        place: Any = {"device": accelerator.device, "memory_format": accelerator.layout}
        self.model.to(**place)
        for loss in self.losses.values():
            loss.to(**place)
        parameters = [p for network in self.trained().values() for p in network.parameters()]
        ranger = Ranger(parameters, self.config.ranger)
        self.forward, self.optimizer = accelerator.prepare(forward(self.model), ranger)
        return self.forward

    @abstractmethod
    def judge(self, photos: Tensor) -> Rows:
        """Return measures of held-out photos (n, 3, S, S)."""

    @abstractmethod
    def show(self, photos: Tensor) -> Rows:
        """Return the rows of a sample picture, (n, 3, S, S) each, from the top."""

    def validate(self) -> dict[str, float]:
        """Return the means of `judge` over the held-out photos."""
        if self.held_out is None:
            return {}
        return means(self.judged(lambda places: self.judge(self.photos(places))))

    def samples(self) -> Tensor | None:
        """Return the rows of `show` of the first held-out photos."""
        if self.held_out is None:
            return None
        count = min(self.config.samples, len(self.held_out))
        rows = self.rows(lambda places: self.show(self.photos(places)), range(count))
        return picture(rows.values())

    def set_training(self) -> None:
        """See `Phase`."""
        for network in self.trained().values():
            set_training(network, self.config.batch_norm)

    def parts(self) -> dict[str, Any]:
        """See `Phase`: the networks, their optimiser, and each D that a loss keeps for itself."""
        parts = {**self.trained(), "optimizer": self.optimizer}
        kept = {name: loss.discriminator for name, loss in self.losses.items()}
        return parts | {name: network for name, network in kept.items() if network is not None}


def freeze(network: nn.Module) -> None:
    """Freeze a network: no gradients, eval mode."""
    network.requires_grad_(requires_grad=False)
    network.eval()


def set_training(network: nn.Module, batch_norm: BatchNormMode) -> None:
    """Put a network in training mode.

    BatchNorm "batch" normalises by the batch at hand and moves the running statistics; "frozen"
    uses the running statistics and leaves them.
    """
    network.train()
    if batch_norm == "frozen":
        for module in network.modules():
            if isinstance(module, NORMS):
                module.eval()


def likeness(drawn: Tensor, photos: Tensor, of: str = "") -> Rows:
    """Return L2 and, if the images are large enough, SSIM of pairs (n, 3, S, S): (n,) each.

    The names end in `of`.
    """
    drawn = drawn.to(photos.dtype).clamp(-1, 1)
    found = {f"l2{of}": l2(drawn, photos)}
    if photos.shape[-1] >= SSIM_SIDE:
        found[f"ssim{of}"] = ssim(drawn, photos)
    return found


def means(rows: Rows) -> dict[str, float]:
    """Return the mean of each column."""
    return {name: row.mean().item() for name, row in rows.items()}


def picture(rows: Iterable[Tensor]) -> Tensor:
    """Join rows of images, (n, 3, S, S) each, to one picture (3, rows * S, n * S) in [-1, 1]."""
    lines = [torch.cat(list(row.cpu()), dim=2) for row in rows]
    return torch.cat(lines, dim=1).clamp(-1, 1)
