"""The directions of the built-in model, found in faces that its generator draws.

    python runs/builtin_directions.py MODEL CLASSIFIER PICTURE [--turn 3]

InterFaceGAN (Shen et al., 2020): the classifier scores drawn faces, and a boundary in W parts the
sixth with the highest score from the sixth with the lowest. GANSpace (Haerkoenen et al., 2020):
`turn` is a principal component of w, which one a look at PICTURE says. A direction moves only the
layers that its subject lives in, so that a smile leaves the hair alone. Which directions and layers
are kept was decided by eye, on PICTURE: two faces along each of them (docs/LOG.md). They take the
place of the directions that the model had.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from stylefeatureeditor.directions.fit import (
    fit_boundary,
    principal_components,
    scaled,
    without,
)
from stylefeatureeditor.directions.labelled import as_wplus, draw, mapped_codes
from stylefeatureeditor.editing.catalog import Catalog
from stylefeatureeditor.editing.direction import LinearDirection
from stylefeatureeditor.editing.import_file import entry_for
from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
from stylefeatureeditor.photo.image import to_uint8
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training.run_folder import model_folder
from stylefeatureeditor.weights.checkpoint import load_model
from stylefeatureeditor.weights.direction_files import save_own_directions

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.generator.stylegan2 import Generator

FACES, SHARE, BATCH = 6000, 6, 50  # one of SHARE faces on each side of a boundary
FAR_END = 3.0  # strength at both ends of every range
STEPS, ZOOM, LABEL, CALM = 7, 96, 110, 0.7  # of the picture; CALM is its truncation


@dataclass(frozen=True)
class Wanted:
    """A direction to find.

    Attributes:
        name, group, help: as the catalogue lists them.
        attribute: column of the classifier; empty takes a principal component.
        layers: first style vector it moves, and the one after the last.
        deviations: at the far end, in standard deviations of w along the direction.
        beside: directions found before it that it leaves alone.
    """

    name: str
    attribute: str
    group: str
    layers: tuple[int, int]
    deviations: float
    help: str
    beside: tuple[str, ...] = ()


WANTED = (
    Wanted("smile", "Smiling", "expression", (3, 6), 3, "Positive smiles more, negative less."),
    Wanted("turn", "", "pose", (0, 3), 2, "Turns the face to one side; the sign says which."),
    Wanted(
        "gender",
        "Male",
        "person",
        (0, 5),
        2,
        "Positive is more masculine, negative more feminine.",
        ("smile",),
    ),
    Wanted(
        "makeup",
        "Heavy_Makeup",
        "person",
        (5, 10),
        3,
        "Positive is more make-up, negative less.",
        ("smile",),
    ),
    Wanted(
        "blond_hair",
        "Blond_Hair",
        "hair",
        (6, 10),
        3,
        "Positive makes the hair lighter, negative darker.",
        ("gender", "smile"),
    ),
    Wanted(
        "bangs",
        "Bangs",
        "hair",
        (2, 5),
        2,
        "Positive brings hair onto the forehead, negative takes it away.",
        ("gender", "smile"),
    ),
    Wanted(
        "wavy_hair",
        "Wavy_Hair",
        "hair",
        (2, 6),
        2,
        "Positive makes the hair wavier, negative straighter.",
        ("gender",),
    ),
)


def main() -> None:
    """Find them, store them, draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="model or run whose directions they become")
    parser.add_argument("classifier", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--turn", type=int, default=3, help="the component that turns the head")
    given = parser.parse_args()
    folder = model_folder(given.model)
    generator = load_model(folder).generator
    classifier = AttributeClassifier.load(given.classifier).eval()
    codes = mapped_codes(generator, FACES)
    with torch.no_grad():
        scores = torch.cat([classifier(draw(generator, part)) for part in codes.split(BATCH)])
    vectors: dict[str, Tensor] = {}
    entries, directions = [], []
    for wanted in WANTED:
        if wanted.attribute:
            score = scores[:, classifier.column(wanted.attribute)]
            vector = fit_boundary(codes, extremes(score)).vector
            method = f"InterFaceGAN, {FACES} generated faces"
        else:
            vector = principal_components(codes, given.turn + 1)[given.turn]
            method = f"GANSpace, {FACES} generated faces"
        vector = functional.normalize(without(vector, [vectors[n] for n in wanted.beside]), dim=0)
        vectors[wanted.name] = scaled(vector, codes)
        found = LinearDirection(
            wanted.name, vectors[wanted.name] * wanted.deviations / FAR_END, layers=wanted.layers
        )
        directions.append(found)
        entry = entry_for(found, (-FAR_END, FAR_END), help_text=wanted.help, group=wanted.group)
        entries.append(replace(entry, method=method, attribute=wanted.attribute))
    save_own_directions(Catalog(tuple(entries)), folder)
    sheet(directions, generator).save(given.picture)


def extremes(score: Tensor) -> Tensor:
    """Return labels (n,): 1 for the highest scores, -1 for the lowest, 0 between them."""
    order, count = score.argsort(), len(score) // SHARE
    labels = torch.zeros(len(score))
    labels[order[:count]], labels[order[-count:]] = -1, 1
    return labels


def sheet(found: list[LinearDirection], generator: Generator) -> Image.Image:
    """Return a picture with a line a direction: two faces along it."""
    mean = generator.latent_avg
    faces = as_wplus(mean + CALM * (mapped_codes(generator, 2, seed=8) - mean), generator)
    strengths = torch.linspace(-FAR_END, FAR_END, STEPS)
    picture = Image.new("RGB", (LABEL + 2 * STEPS * ZOOM, len(found) * ZOOM), "white")
    for row, direction in enumerate(found):
        ImageDraw.Draw(picture).text((8, row * ZOOM + ZOOM // 2), direction.name, fill="black")
        moved = [direction.apply(Codes(face[None]), strengths).wplus for face in faces]
        with torch.no_grad():
            tiles = to_uint8(draw(generator, torch.cat(moved)))
        for column, tile in enumerate(tiles):
            small = Image.fromarray(tile).resize((ZOOM, ZOOM), Image.Resampling.LANCZOS)
            picture.paste(small, (LABEL + column * ZOOM, row * ZOOM))
    return picture


if __name__ == "__main__":
    main()
