"""Edit directions from photos, labels and a classifier, with their useful strengths.

    codes    E of labelled photos, or what the mapping network gives, labelled by a classifier
    range    from the strength at which half of the faces score at most 5 % to that at which half
             of them score at least 95 %; nowhere beyond the strength that changes a picture as
             much as a face differs from another, times `CHANGE`, nor beyond `MOST_DEVIATIONS`

Faces are drawn by G alone, G(w + s d): what the direction does, whatever I and H make of it.

Shapes: M codes, N styles, D their width, n faces that a range is measured on, S side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylefeatureeditor.editing.delta import resize
from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.photo.contact_sheet import draw_grid
from stylefeatureeditor.photo.image import save_photo, to_uint8
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training.attribute_edits import find_attribute

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stylefeatureeditor.data.images import ImageSet
    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.generator.stylegan2 import Generator
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
    from stylefeatureeditor.model import Model

    Score = Callable[[Tensor], Tensor]  # images (n, 3, S, S) to logits (n,)

LOW, HIGH = 0.05, 0.95  # scores at the ends of a range
CHANGE = 0.7  # of the distance between two faces
MOST_DEVIATIONS = 5.0  # deviations of the codes; no face is so far out
LONGEST = 1000.0  # strengths that the search does not pass
SHORTEST = 0.25  # of the range that the change allows: less is no slider
HALVINGS = 7  # steps of the search for a strength
BATCH = 16
SHOWN = 3  # pictures of a strip on either side of 0
RAREST = 0.05  # share of codes that count as having an attribute, if the classifier sees none


class UsefulRange(NamedTuple):
    """Strengths that give plausible pictures."""

    low: float  # the lowest, below 0
    high: float  # the highest, above 0
    # median score of the classifier at both; None without one
    scores: tuple[float, float] | None = None


@torch.no_grad()
def mapped_codes(generator: Generator, count: int, seed: int = 0) -> Tensor:
    """Return w = f(z) of random z, (M, D)."""
    draw = torch.Generator().manual_seed(seed)
    z = torch.randn(count, generator.config.latent_dim, generator=draw)
    parts = z.to(generator.latent_avg.device).split(1024)
    return torch.cat([generator.map(part).wplus[:, 0] for part in parts]).cpu()


@torch.no_grad()
def encoded_codes(
    model: Model,
    images: ImageSet,
    progress: Callable[[int], None] | None = None,
    *,
    mirror: bool = False,
) -> tuple[Tensor, list[int]]:
    """Return w_E = latent_avg + E(X) of the readable images, (M, N, D), and their numbers.

    PhotoError if none can be read.
    """
    latent_avg = model.generator.latent_avg
    rows, numbers = [], []
    for first in range(0, len(images), 4 * BATCH):
        last = min(first + 4 * BATCH, len(images))
        found, photos = images.readable_photos(range(first, last))
        if found:
            seen = resize(photos.to(latent_avg.device), model.config.encoder_size)
            ways = [seen, seen.flip(3)] if mirror else [seen]
            codes = [(latent_avg + model.e4e(way)).cpu() for way in ways]
            rows.append(torch.stack(codes, dim=1) if mirror else codes[0])
            numbers += found
        if progress is not None:
            progress(last)
    if not rows:
        raise PhotoError(
            f"none of the {len(images)} photos can be read; first: {images.skipped[0]}"
        )
    return torch.cat(rows), numbers


@torch.no_grad()
def drawn_labels(
    generator: Generator, codes: Tensor, score: Score, progress: Callable[[int], None] | None = None
) -> Tensor:
    """Return 1 or -1 for each code (M, D): whether the face it draws scores above a half.

    If hardly any does, or nearly all do, the extreme `RAREST` count.
    """
    logits = []
    for first in range(0, len(codes), BATCH):
        part = codes[first : first + BATCH]
        logits.append(score(draw(generator, part)).cpu())
        if progress is not None:
            progress(first + len(part))
    found = torch.cat(logits)
    ends = torch.quantile(found, torch.tensor([RAREST, 1 - RAREST]))
    threshold = float(torch.zeros(()).clamp(*ends))
    return torch.where(found > threshold, 1.0, -1.0)


def table_labels(values: Tensor, *, binary: bool) -> Tensor:
    """Return 1, -1, or 0 for unknown, of a column (M,): numbers are split at their median."""
    if binary:
        return values
    known = ~values.isnan()
    return torch.where(known, (values - values[known].median()).sign(), 0.0)


def classifier_score(classifier: AttributeClassifier, attribute: str) -> Score:
    """Return images -> logits of an attribute, or of its absence; ConfigError if it is unknown."""
    column, sign = find_attribute(classifier, attribute)
    return lambda images: sign * classifier(images)[:, column]


@torch.no_grad()
def measure_range(
    generator: Generator, wplus: Tensor, direction: EditDirection, score: Score | None
) -> UsefulRange:
    """Return the useful range; ConfigError below two faces, or if the direction changes nothing."""
    if len(wplus) < 2:
        raise ConfigError(f"a range is measured on at least 2 faces, got {len(wplus)}")
    before = draw(generator, wplus)
    other = _distance(before, before.roll(1, dims=0))

    def at(strength: float) -> Tensor:
        return draw(generator, direction.apply(Codes(wplus), strength).wplus)

    ends, scores, far = [], [], []
    for sign, wanted in ((-1, LOW), (1, HIGH)):

        def too_far(strength: float, sign: int = sign) -> bool:
            return _distance(before, at(sign * strength)) >= CHANGE * other

        def reached(strength: float, sign: int = sign, wanted: float = wanted) -> bool:
            return sign * (_median_score(score, at(sign * strength)) - wanted) >= 0

        end = bound = _first(too_far, LONGEST)
        if score is not None:
            end = max(SHORTEST * bound, _first(reached, bound))
        far.append(bound)
        ends.append(sign * _rounded(min(end, MOST_DEVIATIONS)))
        if score is not None:
            scores.append(_median_score(score, at(ends[-1])))
    if max(far) >= LONGEST:
        raise ConfigError(f"direction '{direction.name}' hardly changes the picture: leave it out")
    low, high = ends
    return UsefulRange(low, high, (scores[0], scores[1]) if scores else None)


@torch.no_grad()
def draw_strip(
    generator: Generator,
    wplus: Tensor,
    direction: EditDirection,
    useful: UsefulRange,
    folder: Path,
) -> Path:
    """Write a row of pictures a face, over the range; return the file, or raise PhotoError."""
    steps = [step / SHOWN for step in range(-SHOWN, SHOWN + 1)]
    strengths = torch.tensor([s * (useful.high if s > 0 else -useful.low) for s in steps])
    rows = []
    for face in wplus:
        codes = direction.apply(Codes(face[None]), strengths.to(face))
        rows.append([Image.fromarray(tile) for tile in to_uint8(draw(generator, codes.wplus))])
    labels = [f"{strength:+.2g}" if strength else "0" for strength in strengths.tolist()]
    folder.mkdir(exist_ok=True)
    return save_photo(np.asarray(draw_grid(labels, rows)), folder / f"{direction.name}.png")


def draw(generator: Generator, codes: Tensor) -> Tensor:
    """Return G(w) of codes (M, N, D), or (M, D) for all styles, a few at a time."""
    parts = as_wplus(codes, generator).to(generator.latent_avg.device).split(BATCH)
    return torch.cat([generator.synthesize(Codes(part)) for part in parts])


def as_wplus(codes: Tensor, generator: Generator) -> Tensor:
    """Return codes (M, D), or (M, N, D) as they are, as (M, N, D)."""
    if codes.ndim == 3:
        return codes
    return codes[:, None].expand(-1, generator.config.num_styles, -1)


def _distance(first: Tensor, second: Tensor) -> float:
    """Return the mean over images of the root of their mean squared difference."""
    pairs = (first.clamp(-1, 1) - second.clamp(-1, 1)).square().mean(dim=(1, 2, 3))
    return pairs.sqrt().mean().item()


def _median_score(score: Score | None, images: Tensor) -> float:
    assert score is not None
    return torch.sigmoid(score(images).float()).median().item()


def _first(holds: Callable[[float], bool], limit: float) -> float:
    """Return about the first strength in (0, limit] at which something holds, or the limit."""
    high = min(1.0, limit)
    while not holds(high):
        if high >= limit:
            return limit
        high = min(2 * high, limit)
    low = 0.0 if high <= 1 else high / 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _rounded(value: float) -> float:
    """Round to two digits that matter."""
    return round(value, 1 - math.floor(math.log10(value))) if value > 0 else value
