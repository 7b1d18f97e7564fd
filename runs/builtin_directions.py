"""The directions of the built-in model, found in faces that its generator draws.

    python runs/builtin_directions.py MODEL CLASSIFIER PICTURE [--turn 3]

The classifier scores drawn faces, and its scores are regressed on w. A direction is the likeliest
change of w that raises one score and leaves those in `keeps` alone: the shortest one in Mahalanobis
length, so that G knows the faces it leads to. GANSpace (Haerkoenen et al., 2020): `turn` is a
principal component of w, which one a look at PICTURE says. A direction moves only the layers that
its subject lives in. Which directions, layers and lengths are kept was decided by eye, on PICTURE:
two faces along each of them (docs/LOG.md). They take the place of those that the model had.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from stylefeatureeditor.directions.fit import principal_components, scaled
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

FACES, BATCH = 6000, 50
RIDGE = 1e-3  # of the mean variance of w
FAR_END = 3.0  # strength at both ends of every range
STEPS, ZOOM, LABEL, CALM = 7, 96, 110, 0.7  # of the picture; CALM is its truncation


@dataclass(frozen=True)
class Wanted:
    """A direction to find.

    Attributes:
        name, group, help: as the catalogue lists them.
        attribute: column of the classifier; empty takes a principal component.
        layers: first style vector it moves, and the one after the last.
        deviations: at the far end, of the score, or of w along a component.
        keeps: scores that stay.
    """

    name: str
    attribute: str
    group: str
    layers: tuple[int, int]
    deviations: float
    help: str
    keeps: tuple[str, ...] = ("Male", "Smiling")


LOOKS = ("Male", "Wavy_Hair", "Bangs", "Blond_Hair", "Black_Hair", "Brown_Hair", "Straight_Hair")
LOOKS += ("Heavy_Makeup", "Wearing_Lipstick", "Receding_Hairline", "Young", "Wearing_Hat")
WANTED = (
    Wanted(
        "smile",
        "Smiling",
        "expression",
        (3, 6),
        4.5,
        "Positive smiles more, negative less.",
        (*LOOKS, "Wearing_Earrings"),
    ),
    Wanted("turn", "", "pose", (0, 3), 2, "Turns the face to one side; the sign says which."),
    Wanted(
        "gender",
        "Male",
        "person",
        (0, 5),
        2,
        "Positive is more masculine, negative more feminine.",
        ("Smiling", "Young"),
    ),
    Wanted(
        "beard",
        "Goatee",
        "person",
        (3, 7),
        3,
        "Positive grows a beard, negative shaves it.",
        ("Smiling", "Pale_Skin"),
    ),
    Wanted(
        "bangs",
        "Bangs",
        "hair",
        (2, 5),
        2,
        "Positive brings hair onto the forehead, negative takes it away.",
    ),
    Wanted(
        "hairline",
        "Receding_Hairline",
        "hair",
        (1, 5),
        2.5,
        "Positive takes hair from the head, negative lets it grow.",
    ),
    Wanted(
        "blond_hair",
        "Blond_Hair",
        "hair",
        (6, 10),
        3,
        "Positive makes the hair lighter, negative darker.",
        ("Male", "Smiling", "Pale_Skin"),
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
    entries, directions = [], []
    for wanted in WANTED:
        if wanted.attribute:
            vector = likeliest_change(codes, scores, wanted, classifier)
            method = f"regression of scores, {FACES} generated faces"
        else:
            component = principal_components(codes, given.turn + 1)[given.turn]
            vector = scaled(functional.normalize(component, dim=0), codes)
            method = f"GANSpace, {FACES} generated faces"
        found = LinearDirection(
            wanted.name, vector * wanted.deviations / FAR_END, layers=wanted.layers
        )
        directions.append(found)
        entry = entry_for(found, (-FAR_END, FAR_END), help_text=wanted.help, group=wanted.group)
        entries.append(replace(entry, method=method, attribute=wanted.attribute))
    save_own_directions(Catalog(tuple(entries)), folder)
    sheet(directions, generator).save(given.picture)


def likeliest_change(
    codes: Tensor, scores: Tensor, wanted: Wanted, classifier: AttributeClassifier
) -> Tensor:
    """Return (D,), the change of w that raises the score by one deviation and keeps others.

    The scores' slopes are A = C^-1 X^T Y, with C the covariance of w. Of all d with A^T d = t, the
    one of least d^T C^-1 d is C A (A^T C A)^-1 t.
    """
    columns = [classifier.column(name) for name in (wanted.attribute, *wanted.keeps)]
    chosen = scores[:, columns]
    rows = (codes - codes.mean(0)).double()
    labels = ((chosen - chosen.mean(0)) / chosen.std(0)).double()
    covariance = rows.T @ rows / len(rows)
    between = rows.T @ labels / len(rows)  # C A
    ridge = RIDGE * covariance.diag().mean() * torch.eye(len(covariance))
    slopes = torch.linalg.solve(covariance + ridge, between)
    target = functional.one_hot(torch.tensor(0), len(columns)).double()
    inner = slopes.T @ covariance @ slopes
    return (covariance @ slopes @ torch.linalg.solve(inner, target)).float()


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
