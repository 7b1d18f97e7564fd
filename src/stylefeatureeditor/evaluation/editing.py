"""How real edited photos look: Sec. 4.3 of the paper.

    A = photos that have what the edit should add, B = photos that have not
    B' = edited B                                             FID(A, B')

The paper's sentence says FID(B, B'); its table and the release take A, and so does this. An edit
that removes an attribute swaps the two: for "smile-", A are the photos without a smile.

Rotation has no attribute: the photos are dealt into two random halves, one is edited, and FID is
taken between them.

With an attribute classifier, two numbers per photo are added, both against the reconstruction, so
that only the edit counts:

    flip      share of photos judged not to have the target before that are judged to have it after
    leakage   mean change of the probability of every other attribute, in [0, 1]; lower is better

Where it is asked for, Latent Editing Consistency is added (Tov et al. 2021, e4e): whether an edit
can be taken back after it was drawn. I is what finds codes, d the edit's shift of them:

    lec       || I(X) - (I(X') - d) ||_2 over all of W+; lower is better, of one encoder's codes
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.inversion import per_photo
from stylefeatureeditor.evaluation.measures import as_saved
from stylefeatureeditor.evaluation.results import MethodResult, distances_to_photos
from stylefeatureeditor.evaluation.runner import NOTHING_DRAWN, Drawer, run_pass, timed

if TYPE_CHECKING:
    from stylefeatureeditor.data.images import ImageSet
    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.evaluation.runner import Evaluation
    from stylefeatureeditor.methods.method import Method
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
    from stylefeatureeditor.records import Codes

FLIP, LEAKAGE, LEC = "flip", "leakage", "lec"
SECONDS, SECONDS_EDIT = "seconds", "seconds_edit"


@dataclass(frozen=True, kw_only=True)
class EditTask:
    """One column of the editing table."""

    name: str  # its title: "smile-"
    direction: EditDirection
    strength: float
    # of the table of attributes; None deals the photos into random halves
    attribute: str | None = None
    target: int = 1  # 1 if the edit brings the attribute, -1 if it removes it

    def __post_init__(self) -> None:
        if self.target not in (-1, 1):
            raise ConfigError(f"the target of an edit is 1 or -1, got {self.target}")


def edited_photos(
    method: Method, task: EditTask, judge: AttributeClassifier | None, *, lec: bool = False
) -> Drawer:
    """Return what draws X' and takes the times; `judge` adds flip and leakage."""
    column = None
    if judge is not None and task.attribute in judge.config.attributes:
        column = judge.column(task.attribute)

    def draw(photos: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        start = timed(photos.device)
        inversion = method.invert(photos)
        redrawn = method.reconstruct(inversion)
        inverted = timed(photos.device)
        pixels = method.edit(inversion, {task.direction: task.strength})
        end = timed(photos.device)
        values = {
            SECONDS: per_photo(end - start, len(photos)),
            SECONDS_EDIT: per_photo(end - inverted, len(photos)),
        }
        if judge is not None and column is not None:
            before, after = (judge(as_saved(x)).cpu() for x in (redrawn, pixels))  # (B, A)
            values[FLIP] = flips(before[:, column], after[:, column], task.target)
            values[LEAKAGE] = leakage(before, after, column)
        if lec:
            values[LEC] = consistency(method, inversion.codes, pixels, task).cpu()
        return pixels, values

    moved = f"{task.name} {task.strength} along {task.direction.fingerprint}"
    judged = (*(() if column is None else (FLIP, LEAKAGE)), *((LEC,) if lec else ()))
    return Drawer(
        f"{moved} to {task.target} by {method.identity}", draw, (SECONDS, SECONDS_EDIT, *judged)
    )


def consistency(method: Method, codes: Codes, edited: Tensor, task: EditTask) -> Tensor:
    """Return the distance of codes from those of their edited pictures, moved back, (B,).

    NaN where a direction moves no W+, only channels: there is no way back from the picture's codes.
    """
    shift = task.direction.shift(codes, task.strength).wplus
    if shift is None:
        return codes.wplus.new_full((len(codes.wplus),), float("nan"))
    found = method.invert(edited).codes.wplus
    return (codes.wplus - (found - shift)).flatten(1).norm(dim=1)


def flips(before: Tensor, after: Tensor, target: int) -> Tensor:
    """Return 1 where an edit reached the target, 0 where not, NaN where it was there before, (B,).

    `before` and `after` are logits of the attribute, (B,); `target` is 1 or -1.
    """
    reached = (after * target > 0).double()
    return reached.masked_fill(before * target > 0, float("nan"))


def leakage(before: Tensor, after: Tensor, column: int) -> Tensor:
    """Return the mean change of the probabilities of all attributes but `column`, (B,).

    `before` and `after` are logits, (B, A). It is 0 if there is no other attribute.
    """
    change = (after.double().sigmoid() - before.double().sigmoid()).abs()
    others = torch.arange(change.shape[1], device=change.device) != column
    return change[:, others].sum(dim=1) / max(1, int(others.sum()))


def split_by_attribute(
    title: str, attribute: str, target: int, values: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the photos A and B, ascending.

    Args:
        title: of the edit.
        attribute: what it changes.
        target: 1 if it brings that, -1 if it takes it away.
        values: the attribute of each photo, (n,): -1, 0 (unknown) or 1.
    """
    sides = []
    for what, value in (("with", target), ("without", -target)):
        numbers = torch.nonzero(values == value)[:, 0].numpy()
        if len(numbers) < 2:
            state = "yes" if value == 1 else "no"
            raise ConfigError(
                f"{title} compares photos {what} what it brings, but {len(numbers)} of the "
                f"{len(values)} photos have {attribute} = {state}; two are needed at least"
            )
        sides.append(numbers)
    return sides[0], sides[1]


def random_halves(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Deal `count` photos into two halves, both ascending; the first has the odd one."""
    if count < 4:
        raise ConfigError(f"two random halves need at least four photos, got {count}")
    order = np.random.default_rng(seed).permutation(count)
    middle = (count + 1) // 2
    return np.sort(order[:middle]), np.sort(order[middle:])


def evaluate_edited_images(
    name: str,
    edit: str,
    images: ImageSet,
    sides: tuple[np.ndarray, np.ndarray],
    evaluation: Evaluation,
) -> MethodResult:
    """Return the row of photos edited elsewhere: FID(A, B') and KID.

    Args:
        name: of the row.
        edit: its title: "smile-".
        images: a picture for each photo; only those of B are looked at.
        sides: numbers of the photos A and B, from `split_by_attribute`.
        evaluation: the settings.
    """
    real, edited = sides
    done = run_pass(
        evaluation, f"{name} {edit}", NOTHING_DRAWN, indices=edited, given=images, compared=False
    )
    numbers = distances_to_photos(evaluation, done, real)
    row = MethodResult.of(name, done, {f"{edit} {n}": mean for n, mean in numbers.items()})
    return replace(row, peak_mib=None)  # it would be that of reading files


def evaluate_edit(
    method: Method,
    task: EditTask,
    evaluation: Evaluation,
    values: Tensor | None = None,
    judge: AttributeClassifier | None = None,
    *,
    lec: bool = False,
) -> MethodResult:
    """Return a method's numbers for one edit; columns but the times begin with the edit's name."""
    evaluation.check_size(method.name, method.size)
    if values is None:
        real, edited = random_halves(len(evaluation.photos), evaluation.seed)
    else:
        assert task.attribute is not None
        real, edited = split_by_attribute(task.name, task.attribute, task.target, values)
    drawer = edited_photos(method, task, judge, lec=lec)
    done = run_pass(evaluation, f"{method.name} {task.name}", drawer, indices=edited)
    means = done.table.means(evaluation.seed)
    numbers = distances_to_photos(evaluation, done, real)
    shown = (*drawer.columns, "identity", "arcface")
    numbers |= {column: means[column] for column in shown if column in means}
    times = (SECONDS, SECONDS_EDIT)
    return MethodResult.of(
        method.name,
        done,
        {n if n in times else f"{task.name} {n}": mean for n, mean in numbers.items()},
        tuple(f"{task.name}, {kind}" for kind in ("changed most", "changed least", "random")),
    )
