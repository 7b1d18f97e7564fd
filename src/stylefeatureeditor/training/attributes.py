"""Training the attribute classifier: which of A attributes a face has.

    L = sum_ia  u_ia  b_a(y_ia)  BCE(y_ia, logit_ia)  /  sum_ia u_ia

u is 0 where the table does not know. b weighs the rarer answer of an attribute up: with p the share
of yes among the known, b(yes) = (1 / 2p)^balance and b(no) = (1 / 2(1 - p))^balance. At balance 0
accuracy is what counts, at 1 both answers count alike.

Adam with decoupled weight decay; the rate rises over a tenth of the run and falls as a cosine.
Several processes: each has its own BatchNorm statistics, those of the first are saved.

Shapes: N images, B batch, A attributes, S side in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003 (fields' types are read)
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.data.attribute_table import read_attribute_table, table_of
from stylefeatureeditor.data.images import Excerpt
from stylefeatureeditor.device import sent
from stylefeatureeditor.errors import ConfigError, check_shape
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.training.loop import Run, RunResult, fit
from stylefeatureeditor.training.phase import HeldOut, Metrics, Phase
from stylefeatureeditor.training.run_folder import finish_run, open_data

if TYPE_CHECKING:
    from accelerate import Accelerator

    from stylefeatureeditor.data.attribute_table import AttributeTable
    from stylefeatureeditor.data.images import ImageSet

WARM_UP = 0.1  # share of the run in which the rate rises
FILE = "attributes.safetensors"


@dataclass(frozen=True, kw_only=True)
class AttributeTrainingConfig:
    """How the classifier is trained.

    Attributes:
        network: its size; without attributes it learns every yes-or-no column of the table.
        lr: highest rate of Adam.
        weight_decay: decoupled.
        balance: how far the rarer answer is weighed up, 0 to 1.
        steps: length of the rate's schedule; the loop's steps.
        jitter: largest random shift of a photo, in pixels, edges repeated.
    """

    network: AttributeClassifierConfig = field(default_factory=AttributeClassifierConfig)
    lr: float = 3e-3
    weight_decay: float = 1e-2
    balance: float = 0.0
    steps: int = 1000
    jitter: int = 3

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.weight_decay < 0 or self.steps < 1 or self.jitter < 0:
            raise ConfigError(
                f"lr and steps must be positive, weight_decay and jitter not negative, got {self}"
            )
        if not 0 <= self.balance <= 1:
            raise ConfigError(f"balance must lie in [0, 1], got {self.balance}")


@dataclass(frozen=True, kw_only=True)
class AttributesRun(Run):
    """Train a classifier of attributes: it finds directions and judges edits.

    Attributes:
        labels: table of attributes, .csv or CelebA's .txt; None takes the one beside the images.
    """

    labels: Path | None = None
    training: AttributeTrainingConfig = field(default_factory=AttributeTrainingConfig)


class AttributePhase(Phase):
    """Trains `classifier`.

    Tables are those of the training and of the held-out images, in their order. ConfigError if the
    tables lack an attribute, or one of them is no yes-or-no column.
    """

    def __init__(
        self,
        config: AttributeTrainingConfig,
        table: AttributeTable,
        held_out: HeldOut | None = None,
        held_out_table: AttributeTable | None = None,
    ) -> None:
        names = config.network.attributes or table.binary
        if not names or not set(names) <= set(table.binary):
            raise ConfigError(
                f"expected columns of yes and no, got {', '.join(names) or 'none'}; "
                f"the table has {', '.join(table.binary) or 'none'}"
            )
        self.config = replace(config, network=replace(config.network, attributes=names))
        self.labels: Tensor = table.select(names).values  # (N, A) of -1, 0, 1
        self.held_out = held_out
        self.held_out_labels = None
        if held_out is not None and held_out_table is not None:
            self.held_out_labels = held_out_table.select(names).values
            check_shape("held_out_table", self.held_out_labels, (len(held_out), len(names)))
        self.classifier = AttributeClassifier(self.config.network)
        self.answers = list(answer_weights(self.labels, config.balance))  # b(yes), b(no)

    def prepare(self, accelerator: Accelerator) -> list[nn.Module]:
        """Prepare the classifier and its optimiser."""
        self.accelerator = accelerator
        self.classifier.train()
        self.answers = [weights.to(accelerator.device) for weights in self.answers]
        self.optimizer: Any = torch.optim.AdamW(
            self.classifier.parameters(), lr=self.config.lr, weight_decay=self.config.weight_decay
        )
        self.wrapped, self.optimizer = accelerator.prepare(self.classifier, self.optimizer)
        return [self.wrapped]

    def train_step(self, photos: Tensor, step: int, labels: Tensor) -> Metrics:
        """Take one step on photos (B, 3, S, S) and their labels (B, A) of -1, 0, 1."""
        labels = sent(labels, photos.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * rate(step, self.config.steps)

        logits = self.wrapped(shifted(photos, self.config.jitter))
        loss = self._loss(logits, labels)
        self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()

        known = labels != 0
        right = ((logits > 0) == (labels > 0)) & known
        return {"loss": loss.detach(), "accuracy": right.sum() / known.sum().clamp(min=1)}

    def validate(self) -> dict[str, float]:
        """Return accuracy on the held-out photos: overall and per attribute.

        `balanced` is the mean of the accuracies among those with and those without an attribute.
        """
        if self.held_out is None or self.held_out_labels is None:
            return {}
        judge = lambda places: {"logits": self.classifier(self.photos(places))}  # noqa: E731
        logits = self.judged(judge)["logits"]
        labels = self.held_out_labels
        metrics: dict[str, float] = {}
        for place, name in enumerate(self.config.network.attributes):
            said, truth = logits[:, place] > 0, labels[:, place]
            metrics[f"accuracy/{name}"] = _share(said == (truth > 0), truth != 0)
            sides = [_share(said, truth > 0), _share(~said, truth < 0)]
            metrics[f"balanced/{name}"] = sum(sides) / 2
        means = {
            kind: sum(v for k, v in metrics.items() if k.startswith(kind)) / labels.shape[1]
            for kind in ("accuracy", "balanced")
        }
        return means | metrics

    def parts(self) -> dict[str, Any]:
        """See `Phase`."""
        return {"classifier": self.classifier, "optimizer": self.optimizer}

    def save_model(self, folder: Path) -> None:
        """Write attributes.safetensors, for `AttributeClassifier.load`."""
        self.classifier.save(folder / FILE)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        yes, no = self.answers
        weights = torch.where(labels > 0, yes, no) * (labels != 0)
        each = functional.binary_cross_entropy_with_logits(
            logits, (labels > 0).to(logits), weights, reduction="sum"
        )
        return each / (labels != 0).sum().clamp(min=1)

    def trained(self) -> dict[str, nn.Module]:
        """See `Phase`."""
        return {"classifier": self.classifier}


def train_attributes(config: AttributesRun, out: Path, *, resume: bool = False) -> RunResult:
    """Train the attribute classifier; `out` is the run's folder, `resume` goes on.

    Raises:
        SfeError: see `open_data`, `AttributePhase` and `fit`.
    """
    torch.manual_seed(config.loop.seed)
    size = config.training.network.size
    images = open_data(config.data, size)
    table = _table(images, config.labels)
    held_out = held_out_table = None
    if config.data.test_where:
        test = config.data.open(size, config.data.test_where)
        held_out = Excerpt(test, range(len(test)))
        held_out_table = _table(test, config.labels).align(held_out.names)
    training = replace(config.training, steps=config.loop.steps)  # the rate's schedule
    phase = AttributePhase(training, table, held_out, held_out_table)
    result = fit(phase, images, replace(config, training=phase.config), out, resume=resume)
    return finish_run(result, None, "attributes", None)


def _table(images: ImageSet, labels: Path | None) -> AttributeTable:
    if labels is None:
        return table_of(images.names, images.rows)
    return read_attribute_table(labels).align(images.names)


def answer_weights(labels: Tensor, balance: float) -> tuple[Tensor, Tensor]:
    """Return b(yes) and b(no) of the module's text, (A,) each, from labels (N, A) of -1, 0, 1."""
    yes, no = (labels > 0).sum(dim=0), (labels < 0).sum(dim=0)
    share = (yes + 1) / (yes + no + 2)  # never 0 or 1
    return (0.5 / share) ** balance, (0.5 / (1 - share)) ** balance


def rate(step: int, steps: int) -> float:
    """Return the share of the highest rate at a step: a straight rise, then half a cosine."""
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    done = min(1.0, (step - rise) / max(1, steps - rise))
    return 0.5 * (1 + math.cos(math.pi * done))


def shifted(photos: Tensor, reach: int) -> Tensor:
    """Move a batch by one random vector of whole pixels, `reach` at most; edges are repeated."""
    if reach == 0:
        return photos
    side = photos.shape[-1]
    down, right = torch.randint(0, 2 * reach + 1, (2,)).tolist()
    padded = functional.pad(photos, (reach, reach, reach, reach), mode="replicate")
    return padded[:, :, down : down + side, right : right + side]


def _share(hits: Tensor, among: Tensor) -> float:
    """Return the share of hits among some; 0 if there are none, so that logs stay finite."""
    return hits[among].float().mean().item() if bool(among.any()) else 0.0
