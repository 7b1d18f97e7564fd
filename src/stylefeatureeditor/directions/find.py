"""Finding edit directions of a model: every way of `sfe directions fit`, and keeping what is found.

    labelled photos         a boundary between the codes of those with an attribute and the others
    a classifier            labels generated faces for a boundary, or teaches a direction through G
    mirrored photos         what mirroring changes in their codes
    PCA, SeFa               what codes vary in, what G amplifies

Shapes: N styles, D their width, n photos.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch.nn import functional

from stylefeatureeditor.data.attribute_table import read_attribute_table, table_of
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.directions import learned
from stylefeatureeditor.directions.fit import (
    fit_boundary,
    principal_components,
    scaled,
    sefa,
    without,
)
from stylefeatureeditor.directions.labelled import (
    classifier_score,
    drawn_labels,
    encoded_codes,
    mapped_codes,
    table_labels,
)
from stylefeatureeditor.directions.request import FACES_MEASURED
from stylefeatureeditor.editing.direction import LinearDirection
from stylefeatureeditor.editing.import_file import entry_for
from stylefeatureeditor.errors import ConfigError, DirectionError
from stylefeatureeditor.training.run_folder import read_record
from stylefeatureeditor.weights.checkpoint import load_config
from stylefeatureeditor.weights.direction_files import add_own_direction, load_own_directions

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor

    from stylefeatureeditor.data.images import ImageSet
    from stylefeatureeditor.directions.labelled import UsefulRange
    from stylefeatureeditor.directions.request import FitRequest
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
    from stylefeatureeditor.model import Model

    Bar = Callable[[str, int], AbstractContextManager[Any]]  # what is done, steps: has `update`

POOR = 0.6  # accuracy of a boundary that finds next to nothing
CALM = 0.7  # truncation of the faces that a range is measured on


@dataclass(frozen=True)
class Found:
    """A direction before its range is measured."""

    direction: LinearDirection  # what was found
    method: str  # how, for the table
    help: str  # one sentence about its sign
    attribute: str = ""  # that it brings, as the classifier calls it
    # of the boundary on codes held out, 0.5 to 1; None for other ways
    accuracy: float | None = None

    def store(self, useful: UsefulRange, folder: Path) -> None:
        """Make it one of the model's own directions.

        DirectionError if its name is in use; WeightsError if the folder cannot be written.
        """
        entry = entry_for(self.direction, useful[:2], help_text=self.help)
        entry = replace(entry, method=self.method, attribute=self.attribute)
        add_own_direction(entry, folder, load_config(folder).catalog)


@dataclass(frozen=True)
class DirectionSearch:
    """A request with the networks that it needs."""

    request: FitRequest  # what to find
    model: Model  # E and G
    folder: Path  # the model's
    classifier: AttributeClassifier | None  # that the request names
    bar: Bar  # shows progress

    def find(self) -> tuple[list[Found], Tensor]:
        """Return the directions, and codes of faces to measure their ranges on, (n, N, D).

        ConfigError if the model has no trained encoder, or there are too few photos or labels;
        DirectionError if nothing is left of a direction beside those it leaves alone.
        """
        request = self.request
        if request.pca is not None or request.sefa is not None:
            found, faces = self._unlabelled(), None
        elif request.mirror is not None:
            found, faces = self._mirrored(request.mirror)
        else:
            found, faces = self._labelled()
        if faces is None:  # those that G draws well
            generator = self.model.generator
            codes, mean = (
                mapped_codes(generator, FACES_MEASURED, seed=1),
                generator.latent_avg.cpu(),
            )
            faces = (mean + CALM * (codes - mean))[:, None]
            faces = faces.repeat(1, self.model.config.generator.num_styles, 1)
        return found, faces[:: max(1, len(faces) // FACES_MEASURED)][:FACES_MEASURED]

    def _unlabelled(self) -> list[Found]:
        """Components of w, or what G's own layers amplify."""
        request, generator = self.request, self.model.generator
        codes = mapped_codes(generator, max(request.samples, 2 * generator.config.style_dim))
        if request.pca is not None:
            rows, kind, method = principal_components(codes, request.pca), "pca", "GANSpace"
        else:
            rows, kind, method = (
                sefa(generator, codes, request.sefa or 0, request.layers),
                "sefa",
                "SeFa",
            )
        return [
            Found(
                LinearDirection(f"{request.name or kind}_{number}", row, layers=request.layers),
                method,
                f"component {number}, from the strongest",
            )
            for number, row in enumerate(rows)
        ]

    def _mirrored(self, count: int) -> tuple[list[Found], Tensor]:
        """How mirroring photos changes their codes; and the photos' codes."""
        images, name = self._photos(), self.request.name or "mirror"
        with self.bar("encoding photos and their mirror images", len(images)) as progress:
            pairs, _ = encoded_codes(self.model, images, progress.update, mirror=True)
        wplus, mirrored = pairs.unbind(1)
        if count >= len(wplus):
            raise ConfigError(f"{count} components need more than {len(wplus)} photos")
        changes, codes = (mirrored - wplus).flatten(1), wplus.flatten(1)
        rows = functional.normalize(principal_components(changes, count), dim=1)
        found = [
            Found(
                LinearDirection(
                    name if count == 1 else f"{name}_{number}",
                    scaled(row, codes).reshape(wplus.shape[1:]),
                    layers=self.request.layers,
                ),
                f"{len(wplus)} mirrored photos",
                f"component {number} of what mirroring a photo changes",
            )
            for number, row in enumerate(rows)
        ]
        return found, wplus

    def _labelled(self) -> tuple[list[Found], Tensor | None]:
        """The direction of an attribute; the codes of the photos it was found in, if any."""
        request, wplus, labels = self.request, None, None
        if request.data:
            images = self._photos()
            if request.method != "learned" or self.classifier is None:
                labels = self._labels(images)
            with self.bar("encoding photos", len(images)) as progress:
                wplus, numbers = encoded_codes(self.model, images, progress.update)
            codes = wplus if request.per_style else wplus.mean(dim=1)
            labels, what = labels if labels is None else labels[numbers], f"{len(codes)} photos"
        else:
            codes = mapped_codes(self.model.generator, request.samples)
            what = f"{len(codes)} generated faces"
        if request.method == "learned":
            return [self._taught(codes, what)], wplus
        if labels is None:
            assert self.classifier is not None
            score = classifier_score(self.classifier, request.attribute)
            with self.bar("labelling generated faces", len(codes)) as progress:
                labels = drawn_labels(self.model.generator, codes, score, progress.update)
        boundary = fit_boundary(codes.flatten(1), labels, request.method)  # type: ignore[arg-type]
        found = self._of_attribute(boundary.vector, codes, f"InterFaceGAN, {what}")
        return [replace(found, accuracy=boundary.accuracy)], wplus

    def _taught(self, codes: Tensor, what: str) -> Found:
        """The direction that the classifier teaches through G."""
        request = self.request
        assert self.classifier is not None
        with self.bar(f"learning {request.name}", learned.STEPS) as progress:
            unit = learned.learn_direction(
                self.model.generator,
                codes,
                self.classifier,
                request.attribute,
                progress=progress.update,
            )
        return self._of_attribute(unit, codes, f"GANalyze, {what}")

    def _of_attribute(self, vector: Tensor, codes: Tensor, method: str) -> Found:
        """A direction of an attribute, without the named others and one deviation long."""
        request, shape = self.request, codes.shape[1:]  # (D,), or (N, D) with a vector a style
        own, others = load_own_directions(self.folder), []
        for name in request.without:
            other = own.find(name).tensors.get("vector")
            if other is None:
                raise DirectionError(f"--without {name}: only linear directions can be left alone")
            other = other if other.ndim <= len(shape) else other.mean(dim=0)
            others.append(other.expand(shape).flatten())
        unit = functional.normalize(without(vector.flatten(), others), dim=0)
        # one deviation of what G itself draws, however narrow an encoder's codes are
        generator = self.model.generator
        drawn = codes.flatten(1) if request.per_style else mapped_codes(generator, request.samples)
        return Found(
            LinearDirection(
                str(request.name), scaled(unit, drawn).reshape(shape), layers=request.layers
            ),
            method,
            _sign(str(request.column), reverse=request.reverse),
            request.attribute if self.classifier else "",
        )

    def _photos(self) -> ImageSet:
        """The photos, if there is an E to encode them."""
        if "e4e" not in read_record(self.folder):
            raise ConfigError(f"{self.folder} has no trained e4e to encode photos: `sfe train e4e`")
        size, where = self.model.config.generator.size, dict(self.request.where)
        return open_images(self.request.data or (), size, where)

    def _labels(self, images: ImageSet) -> Tensor:
        """1, -1 or 0 of each photo, (n,)."""
        columns = [str(self.request.column)]
        if self.request.labels:
            table = read_attribute_table(self.request.labels, columns).align(images.names)
        else:
            table = table_of(images.names, images.rows, columns)
        labels = table_labels(table.values[:, 0], binary=bool(table.binary))
        return -labels if self.request.reverse else labels


def _sign(column: str, *, reverse: bool) -> str:
    """The effect of strengths of an attribute's direction: `No_Beard` reversed is more beard."""
    words = column.replace("_", " ").strip().lower()
    if words.startswith("no "):
        words, reverse = words[3:], not reverse
    more, less = ("less", "more") if reverse else ("more", "less")
    return f'positive is {more} "{words}", negative is {less}'
