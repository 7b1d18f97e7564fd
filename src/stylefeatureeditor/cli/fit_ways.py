"""The ways of `sfe directions fit` to find directions; its flags are in `fitting.py`.

Shapes: N styles, D their width, n photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.output import Progress, warn
from stylefeatureeditor.errors import ConfigError, DirectionError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torch import Size, Tensor

    from stylefeatureeditor.data.images import ImageSet
    from stylefeatureeditor.directions.labelled import Score
    from stylefeatureeditor.editing.direction import LinearDirection
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
    from stylefeatureeditor.model import Model

POOR = 0.6  # accuracy of a boundary that finds next to nothing


@dataclass(frozen=True)
class Found:
    """A direction before its range is measured.

    Attributes:
        direction: what was found.
        method: how, for the table.
        help: one sentence about its sign.
        attribute: that it brings, as the classifier calls it.
        note: what to tell the user.
    """

    direction: LinearDirection
    method: str
    help: str
    attribute: str = ""
    note: str = ""


def from_photos(args: argparse.Namespace, model: Model, folder: Path) -> tuple[list[Found], Tensor]:
    """A boundary between the codes of labelled photos; the photos' codes beside it, (n, N, D)."""
    images = _open(args, model, folder)
    labels = _labels(args, images)
    wplus, numbers = _encode(model, images)
    codes = wplus if args.per_style else wplus.mean(dim=1)
    found = _boundary(args, model, codes, labels[numbers], folder, f"{len(wplus)} photos")
    return [found], wplus


def learned(
    args: argparse.Namespace, model: Model, folder: Path, classifier: AttributeClassifier | None
) -> tuple[list[Found], Tensor | None]:
    """What the classifier teaches through G; the codes it was learnt on if they are photos'."""
    from stylefeatureeditor.directions.labelled import mapped_codes
    from stylefeatureeditor.directions.learned import STEPS, learn_direction

    assert classifier is not None
    faces = None
    if args.data:
        wplus, _ = _encode(model, _open(args, model, folder))
        codes, what, faces = wplus, f"{len(wplus)} photos", wplus
        if not args.per_style:
            codes = wplus.mean(dim=1)
    else:
        codes = mapped_codes(model.generator, args.samples)
        what = f"{len(codes)} generated faces"
    with Progress(f"learning {args.name}", STEPS) as progress:
        unit = learn_direction(
            model.generator, codes, classifier, _attribute(args), progress=progress.update
        )
    return [_labelled(args, model, folder, unit, codes, f"GANalyze, {what}")], faces


def mirrored(
    args: argparse.Namespace, model: Model, folder: Path
) -> tuple[list[Found], Tensor | None]:
    """What mirroring photos changes in their codes; the photos' codes beside it."""
    from torch.nn import functional

    from stylefeatureeditor.directions.fit import principal_components, scaled
    from stylefeatureeditor.directions.labelled import encoded_codes
    from stylefeatureeditor.editing.direction import LinearDirection

    images = _open(args, model, folder)
    with Progress("encoding photos and their mirror images", len(images)) as progress:
        wplus, mirrored = encoded_codes(model, images, progress.update, mirror=True)[0].unbind(1)
    if args.mirror >= len(wplus):
        raise ConfigError(f"{args.mirror} components need more than {len(wplus)} photos")
    changes, codes = (mirrored - wplus).flatten(1), wplus.flatten(1)
    rows = functional.normalize(principal_components(changes, args.mirror), dim=1)
    found = [
        Found(
            LinearDirection(
                args.name or "mirror" if args.mirror == 1 else f"{args.name or 'mirror'}_{number}",
                scaled(row, codes).reshape(wplus.shape[1:]),
                layers=args.layers,
            ),
            f"{len(wplus)} mirrored photos",
            f"component {number} of what mirroring a photo changes",
        )
        for number, row in enumerate(rows)
    ]
    return found, wplus


def _open(args: argparse.Namespace, model: Model, folder: Path) -> ImageSet:
    """The photos of --data, if there is an E to encode them."""
    from stylefeatureeditor.data.images import open_images
    from stylefeatureeditor.training.run_folder import read_record

    if "e4e" not in read_record(folder):
        raise ConfigError(f"{folder} has no trained e4e to encode photos: `sfe train e4e`")
    return open_images(args.data, model.config.generator.size, dict(args.where))


def _encode(model: Model, images: ImageSet) -> tuple[Tensor, list[int]]:
    from stylefeatureeditor.directions.labelled import encoded_codes

    with Progress("encoding photos", len(images)) as progress:
        return encoded_codes(model, images, progress.update)


def _attribute(args: argparse.Namespace) -> str:
    return f"-{args.column}" if args.reverse else str(args.column)


def _labels(args: argparse.Namespace, images: ImageSet) -> Tensor:
    from stylefeatureeditor.data.attribute_table import read_attribute_table, table_of
    from stylefeatureeditor.directions.labelled import table_labels

    columns = [args.column]
    if args.labels:
        table = read_attribute_table(args.labels, columns).align(images.names)
    else:
        table = table_of(images.names, images.rows, columns)
    labels = table_labels(table.values[:, 0], binary=bool(table.binary))
    return -labels if args.reverse else labels


def from_classifier(
    args: argparse.Namespace, model: Model, folder: Path, score: Score
) -> list[Found]:
    """A boundary between generated codes that a classifier labels."""
    from stylefeatureeditor.directions.labelled import drawn_labels, mapped_codes

    codes = mapped_codes(model.generator, args.samples)
    with Progress("labelling generated faces", len(codes)) as progress:
        labels = drawn_labels(model.generator, codes, score, progress.update)
    return [_boundary(args, model, codes, labels, folder, f"{len(codes)} generated faces")]


def _boundary(
    args: argparse.Namespace,
    model: Model,
    codes: Tensor,
    labels: Tensor,
    folder: Path,
    what: str,
) -> Found:
    from dataclasses import replace

    from stylefeatureeditor.directions.fit import fit_boundary

    boundary = fit_boundary(codes.flatten(1), labels, args.method)
    if boundary.accuracy < POOR:
        warn(f"{args.name}: the boundary tells only {boundary.accuracy:.0%} apart, chance is 50%")
    vector = boundary.vector.reshape(codes.shape[1:])
    found = _labelled(args, model, folder, vector, codes, f"InterFaceGAN, {what}")
    note = f"; {boundary.accuracy:.0%} of held-out codes lie on the right side"
    return replace(found, note=note)


def _labelled(
    args: argparse.Namespace,
    model: Model,
    folder: Path,
    vector: Tensor,
    codes: Tensor,
    method: str,
) -> Found:
    """A direction of an attribute, without the named others and one deviation long."""
    from torch.nn import functional

    from stylefeatureeditor.directions.fit import scaled, without
    from stylefeatureeditor.directions.labelled import mapped_codes
    from stylefeatureeditor.editing.direction import LinearDirection

    shape = codes.shape[1:]  # (D,), or (N, D) with a vector for each style
    others = [other.expand(shape).flatten() for other in _others(args.without, folder, shape)]
    unit = functional.normalize(without(vector.flatten(), others), dim=0)
    # one deviation of what G itself draws, however narrow an encoder's codes are
    drawn = codes.flatten(1) if args.per_style else mapped_codes(model.generator, args.samples)
    direction = LinearDirection(args.name, scaled(unit, drawn).reshape(shape), layers=args.layers)
    way = "away from" if args.reverse else "towards"
    attribute = _attribute(args) if args.classifier else ""
    return Found(direction, method, f"positive strengths lead {way} {args.column}", attribute)


def _others(names: list[str], folder: Path, shape: Size) -> list[Tensor]:
    """The vectors of a model's linear directions, of the shape of a new one or (D,)."""
    from stylefeatureeditor.weights.direction_files import load_own_directions

    own, vectors = load_own_directions(folder), []
    for name in names:
        vector = own.find(name).tensors.get("vector")
        if vector is None:
            raise DirectionError(f"--without {name}: only linear directions can be left alone")
        vectors.append(vector if vector.ndim <= len(shape) else vector.mean(dim=0))
    return vectors


def unlabelled(args: argparse.Namespace, model: Model) -> list[Found]:
    """Components of w, or what G's own layers amplify."""
    from stylefeatureeditor.directions.fit import principal_components, sefa
    from stylefeatureeditor.directions.labelled import mapped_codes
    from stylefeatureeditor.editing.direction import LinearDirection

    codes = mapped_codes(model.generator, max(args.samples, 2 * model.config.generator.style_dim))
    if args.pca is not None:
        rows, kind, method = principal_components(codes, args.pca), "pca", "GANSpace"
    else:
        generator = model.generator
        rows, kind, method = sefa(generator, codes, args.sefa, args.layers), "sefa", "SeFa"
    return [
        Found(
            LinearDirection(f"{args.name or kind}_{number}", row, layers=args.layers),
            method,
            f"component {number}, from the strongest",
        )
        for number, row in enumerate(rows)
    ]
