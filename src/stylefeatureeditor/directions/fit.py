"""Finding linear directions among codes: boundaries, principal components, SeFa.

    boundary      n of  w . n = c, which separates the codes with an attribute from those without
                  (InterFaceGAN, Shen et al., 2020); n - P n takes others out, P projecting on them
    components    eigenvectors of the codes' covariance (GANSpace, Haerkoenen et al., 2020)
    sefa          eigenvectors of A^T A, A the affine layers' weights (Shen and Zhou, 2021)

Every vector is as long as the standard deviation of the codes along it, so that strength 1 means
one deviation for all of them.

Shapes: M codes, D their width, K directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional

from stylefeatureeditor.errors import ConfigError, DependencyError, DirectionError, check_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stylefeatureeditor.generator.stylegan2 import Generator

Method = Literal["logistic", "svm", "mean"]

FEWEST = 8  # codes with, and without, an attribute
HELD_OUT = 5  # every fifth code judges the boundary
PENALTY = 1.0  # per code, of the squared boundary: axes in which codes hardly vary count little
NEWTON_STEPS = 25
NOTHING_LEFT = 1e-3  # length of a unit vector that others have been taken out of


@dataclass(frozen=True)
class Boundary:
    """The boundary between codes with an attribute and codes without."""

    vector: Tensor  # (D,), towards those with it; as long as the codes' deviation along it
    accuracy: float  # share of held-out codes on the right side, mean of both kinds, 0.5 to 1


def fit_boundary(codes: Tensor, labels: Tensor, method: Method = "logistic") -> Boundary:
    """Fit a linear boundary to codes (M, D); both kinds weigh the same, however rare one is.

    Labels (M,) are above 0 with the attribute, below 0 without, 0 or NaN unknown. A "mean" is the
    difference of the means, which a weak encoder or a few codes cannot lead astray. ShapeError if
    the shapes differ; ConfigError for too few codes of one kind; DependencyError for an SVM without
    scikit-learn.
    """
    check_shape("labels", labels, (len(codes),))
    known = labels.nan_to_num() != 0
    codes, has = codes[known].double(), labels[known] > 0
    for kind, count in (("with", int(has.sum())), ("without", int((~has).sum()))):
        if count < FEWEST:
            raise ConfigError(
                f"a boundary needs at least {FEWEST} codes {kind} the attribute, got {count}: "
                "label more of them"
            )
    center, spread = codes.mean(dim=0), codes.std(dim=0).square().mean().sqrt()
    unit = (codes - center) / spread.clamp(min=1e-12)
    judges = _every(has, HELD_OUT)
    normal, offset = _separate(unit[~judges], has[~judges], method)
    said = unit[judges] @ normal + offset > 0
    right = [(said[has[judges] == kind] == kind).double().mean() for kind in (True, False)]
    vector = functional.normalize(normal, dim=0)
    return Boundary(scaled(vector, codes).float(), float(sum(right)) / 2)


def without(vector: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Return a vector less its projection on others; DirectionError if nothing is left."""
    if not others:
        return vector
    stacked = torch.stack(list(others), dim=1).double()
    basis, spread, _ = torch.linalg.svd(stacked, full_matrices=False)
    basis = basis[:, spread > 1e-6 * spread[0]]  # orthonormal, (D, rank)
    left = vector.double() - basis @ (basis.T @ vector.double())
    if left.norm() < NOTHING_LEFT * vector.norm():
        raise DirectionError("the direction lies within those it should leave alone: name fewer")
    return left.to(vector)


def principal_components(codes: Tensor, count: int) -> Tensor:
    """Return the directions in which codes (M, D) spread most, widest first, (`count`, D).

    ConfigError if D < `count`.
    """
    _check_count(count, codes.shape[1])
    centred = codes.double() - codes.double().mean(dim=0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)  # ascending
    return _rows(vectors, count, codes)


def sefa(
    generator: Generator, codes: Tensor, count: int, layers: tuple[int, int] | None = None
) -> Tensor:
    """Return the directions that the affine layers amplify most, (K, D), the strongest first.

    ConfigError if there are fewer than `count` dimensions, or no such layers.
    """
    width, styles = generator.config.style_dim, generator.config.num_layers
    _check_count(count, width)
    start, end = (0, styles) if layers is None else layers
    if not 0 <= start < min(end, styles):
        raise ConfigError(f"SeFa reads the affine layers 0 to {styles - 1}, got {start} to {end}")
    names = [f"layers.{index}.conv.affine.weight" for index in range(start, end)]
    weights = torch.cat([generator.get_parameter(name).detach().cpu() for name in names]).double()
    _, vectors = torch.linalg.eigh(weights.T @ weights)
    return _rows(vectors, count, codes)


def scaled(vector: Tensor, codes: Tensor) -> Tensor:
    """Return a unit vector (D,) as long as the deviation of codes (M, D) along it."""
    along = codes.double() @ vector.double()
    return vector * along.std().to(vector)


def _rows(vectors: Tensor, count: int, codes: Tensor) -> Tensor:
    """The last columns, as rows; the sign is such that the largest entry is positive."""
    rows = vectors.T.flip(0)[:count]
    largest = rows.abs().argmax(dim=1, keepdim=True)
    rows = rows * rows.gather(1, largest).sign()
    return torch.stack([scaled(row, codes) for row in rows]).float()


def _check_count(count: int, width: int) -> None:
    if not 1 <= count <= width:
        raise ConfigError(f"codes of width {width} have 1 to {width} directions, got {count}")


def _every(has: Tensor, step: int) -> Tensor:
    """Mark every `step`-th code of each kind."""
    marked = torch.zeros_like(has)
    for kind in (has, ~has):
        marked[kind.nonzero()[step - 1 :: step, 0]] = True
    return marked


def _separate(codes: Tensor, has: Tensor, method: Method) -> tuple[Tensor, Tensor]:
    """Return normal (D,) and offset of the boundary."""
    if method == "logistic":
        return _logistic(codes, has)
    if method == "mean":
        one, other = codes[has].mean(dim=0), codes[~has].mean(dim=0)
        return one - other, -(one + other) @ (one - other) / 2
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise DependencyError(
            "an SVM needs scikit-learn: run `pip install scikit-learn`"
        ) from error
    cost = 1 / (PENALTY * len(codes))
    machine = LinearSVC(C=cost, class_weight="balanced", dual=False, max_iter=5000)
    machine.fit(codes.numpy(), has.numpy())
    return torch.from_numpy(machine.coef_[0]), torch.from_numpy(machine.intercept_)[0]


def _logistic(codes: Tensor, has: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise  sum_i b_i softplus(-y_i (x_i . n + c)) + M penalty / 2 |n|^2  (Newton's method)."""
    x = torch.cat([codes, codes.new_ones(len(codes), 1)], dim=1)  # the last weight is c
    y = has.to(codes)
    balance = torch.where(has, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    penalty = codes.new_full((x.shape[1],), PENALTY * len(x))
    penalty[-1] = 1e-6
    weights = codes.new_zeros(x.shape[1])

    def loss(at: Tensor) -> Tensor:
        return (balance * functional.softplus((1 - 2 * y) * (x @ at))).sum() + (
            penalty * at.square()
        ).sum() / 2

    for _ in range(NEWTON_STEPS):
        p = torch.sigmoid(x @ weights)
        slope = x.T @ (balance * (p - y)) + penalty * weights
        curve = (x * (balance * p * (1 - p))[:, None]).T @ x + penalty.diag()
        step = torch.linalg.solve(curve, slope)
        while loss(weights - step) > loss(weights) and step.abs().max() > 1e-8:
            step = step / 2
        weights = weights - step
        if step.abs().max() < 1e-8:
            break
    return weights[:-1], weights[-1]
