"""How real edited photos look: Sec. 4.3 of the paper.

    A = photos that have what the edit should bring, B = photos that have not
    B' = edited B                                             FID(A, B')

The paper's sentence says FID(B, B'); its table and the release take A, and so does this. An edit
that removes an attribute swaps the two: for "smile-", A are the photos without a smile.

Rotation has no attribute: the photos are dealt into two random halves, one is edited, and FID is
taken between them.

With an attribute classifier, two numbers per photo are added, both against the reconstruction, so
that only the edit counts:

    flip      share of photos judged not to have the target before that are judged to have it after
    leakage   mean change of the probability of every other attribute, in [0, 1]; lower is better
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.measures import as_saved
from stylefeatureeditor.evaluation.peak import read_peak
from stylefeatureeditor.evaluation.results import (
    MethodResult,
    pictures_of,
    set_distances,
)
from stylefeatureeditor.evaluation.rows import StoredFeatures
from stylefeatureeditor.evaluation.runner import Drawn, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.evaluation.results import Plan
    from stylefeatureeditor.evaluation.rows import Table
    from stylefeatureeditor.evaluation.runner import Pass
    from stylefeatureeditor.methods.method import Method

MOST, LEAST = "changed most", "changed least"
FLIP, LEAKAGE = "flip", "leakage"
SECONDS, SECONDS_EDIT = "seconds", "seconds_edit"


@dataclass(frozen=True)
class Judge:
    """An attribute classifier, as far as this file knows it.

    Attributes:
        attributes: A names.
        logits: (B, 3, S, S) in [-1, 1] to (B, A); above 0 means yes.
    """

    attributes: tuple[str, ...]
    logits: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class EditTask:
    """One column of the editing table.

    Attributes:
        name: its title: "smile-".
        direction: what moves the codes.
        strength: by how much.
        attribute: of the table of attributes; None deals the photos into random halves.
        target: 1 if the edit brings the attribute, -1 if it removes it.
    """

    name: str
    direction: EditDirection
    strength: float
    attribute: str | None = None
    target: int = 1

    def __post_init__(self) -> None:
        if self.target not in (-1, 1):
            raise ConfigError(f"the target of an edit is 1 or -1, got {self.target}")


class EditDrawer:
    """Draws X' and takes the time of an inversion with its edit, and of the edit alone."""

    def __init__(self, method: Method, task: EditTask, judge: Judge | None) -> None:
        self.method, self.task = method, task
        moved = f"{task.name} {task.strength} along {task.direction.fingerprint}"
        self.identity = f"{moved} to {task.target} by {method.identity}"
        self.columns: tuple[str, ...] = (SECONDS, SECONDS_EDIT)
        self.judge = None
        if judge is not None and task.attribute in judge.attributes:
            self.judge, self.column = judge, judge.attributes.index(task.attribute)
            self.columns += (FLIP, LEAKAGE)

    def draw(self, photos: Tensor, given: Tensor | None) -> Drawn:
        """Return the edited photos."""
        del given
        start = timed(photos.device)
        inversion = self.method.invert(photos)
        before = self.method.reconstruct(inversion)
        inverted = timed(photos.device)
        pixels = self.method.edit(inversion, {self.task.direction: self.task.strength})
        end = timed(photos.device)
        values = {
            SECONDS: torch.full((len(photos),), (end - start) / len(photos)),
            SECONDS_EDIT: torch.full((len(photos),), (end - inverted) / len(photos)),
        }
        if self.judge is not None:
            before = self.judge.logits(as_saved(before))  # (B, A)
            after = self.judge.logits(as_saved(pixels))
            values[FLIP] = flips(before[:, self.column], after[:, self.column], self.task.target)
            values[LEAKAGE] = leakage(before, after, self.column)
        return Drawn(pixels, values)


def flips(before: Tensor, after: Tensor, target: int) -> Tensor:
    """Return 1 where an edit reached the target, 0 where not, NaN where it was there before, (B,).

    Args:
        before: logits of the attribute, (B,).
        after: the same after the edit.
        target: 1 or -1.
    """
    reached = (after * target > 0).double()
    return reached.masked_fill(before * target > 0, float("nan"))


def leakage(before: Tensor, after: Tensor, column: int) -> Tensor:
    """Return the mean change of the probability of all attributes but one, (B,); 0 if it is alone.

    Args:
        before: logits, (B, A).
        after: the same after the edit.
        column: the attribute that may change.
    """
    change = (after.double().sigmoid() - before.double().sigmoid()).abs()
    others = torch.arange(change.shape[1], device=change.device) != column
    return change[:, others].sum(dim=1) / max(1, int(others.sum()))


def split_by_attribute(task: EditTask, values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the photos A and B, ascending.

    Args:
        task: the edit.
        values: its attribute for each photo, (n,): -1, 0 (unknown) or 1.

    Raises:
        ConfigError: one of them is empty.
    """
    sides = []
    for what, value in (("with", task.target), ("without", -task.target)):
        numbers = torch.nonzero(values == value)[:, 0].numpy()
        if len(numbers) < 2:
            state = "yes" if value == 1 else "no"
            raise ConfigError(
                f"{task.name} compares photos {what} what it brings, but {len(numbers)} of the "
                f"{len(values)} photos have {task.attribute} = {state}; two are needed at least"
            )
        sides.append(numbers)
    return sides[0], sides[1]


def random_halves(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Deal `count` photos into two halves, both ascending; the first has the odd one.

    Raises:
        ConfigError: there are fewer than four.
    """
    if count < 4:
        raise ConfigError(f"two random halves need at least four photos, got {count}")
    order = np.random.default_rng(seed).permutation(count)
    middle = (count + 1) // 2
    return np.sort(order[:middle]), np.sort(order[middle:])


def evaluate_edit(
    method: Method,
    task: EditTask,
    plan: Plan,
    values: Tensor | None = None,
    judge: Judge | None = None,
) -> MethodResult:
    """Return a method's numbers for one edit; columns but the times begin with the edit's name.

    Args:
        method: edits.
        task: the edit.
        plan: the settings.
        values: the attribute of each photo, (n,): -1, 0 (unknown) or 1; None for random halves.
        judge: adds flip and leakage, if it knows the attribute.

    Raises:
        ConfigError: a split is empty, or the sides of photos and method differ.
    """
    if method.size != plan.photos.size:
        raise ConfigError(
            f"{method.name} takes photos of {method.size} px, but these are opened at "
            f"{plan.photos.size} px"
        )
    if values is None:
        real, edited = random_halves(len(plan.photos), plan.seed)
    else:
        real, edited = split_by_attribute(task, values)
    work = plan.task(f"{method.name} {task.name}", EditDrawer(method, task, judge), indices=edited)
    table = plan.run(work, f"{method.name} {task.name}")
    numbers = _distances(plan, work, table, real)
    for column in (*work.drawer.columns, "identity", "arcface"):
        mean = table.mean(column, plan.seed)
        if mean is not None:
            numbers[column] = mean
    return MethodResult(
        method.name,
        {n if n in (SECONDS, SECONDS_EDIT) else f"{task.name} {n}": m for n, m in numbers.items()},
        len(table),
        table.errors,
        pictures_of(
            work, table, (f"{task.name}, {MOST}", f"{task.name}, {LEAST}", f"{task.name}, random")
        ),
        read_peak(work.folder),
    )


def _distances(plan: Plan, work: Pass, table: Table, real: np.ndarray) -> dict:
    """Return FID(A, B') and KID(A, B') for every describer."""
    if not work.describers:
        return {}
    reference, photos = plan.describe_photos()
    readable = np.intersect1d(real, photos.indices)
    numbers: dict = {}
    for describer in work.describers:
        side_a = StoredFeatures(reference.features(describer), readable)
        side_b = StoredFeatures(work.features(describer), table.indices)
        numbers |= set_distances(side_a, side_b, describer, plan.seed)
    return numbers
