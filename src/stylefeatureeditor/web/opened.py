"""The photo that a visitor opened, and the faces in it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stylefeatureeditor.errors import (
    ConfigError,
    DependencyError,
    FaceError,
    PhotoError,
    WeightsError,
)
from stylefeatureeditor.photo.align import crop, ffhq_quad, outline, whole_photo_as_face
from stylefeatureeditor.photo.image import read_photo, to_tensor, visible
from stylefeatureeditor.photo.landmarks import choose_face, find_faces, turn_sentence
from stylefeatureeditor.records import AlignedFace
from stylefeatureeditor.weights.inversion_file import load_inversion

if TYPE_CHECKING:
    from pathlib import Path

    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.model import Framing
    from stylefeatureeditor.records import Photo

# NASA's portrait of Eileen Collins, public domain; scikit-image brings it
SAMPLE_NAME = "astronaut.png"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the page; all of them hold for any number of visitors.

    Attributes:
        upload_bytes: of one file.
        photo_pixels: of one photo.
        faces: of one photo that can be edited; the largest are offered.
        sessions: visitors that are remembered; the one that was idle longest is forgotten first.
        memory_bytes: photos and inversions of all visitors. What was used last always stays, so
            one visitor's photo and inversion may exceed it.
        waiting: steps that may wait for their turn.
        steps: of one visitor that can be undone.
    """

    upload_bytes: int = 200_000_000
    photo_pixels: int = 50_000_000
    faces: int = 16
    sessions: int = 64
    memory_bytes: int = 2_000_000_000
    waiting: int = 32
    steps: int = 50

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1:
            raise ConfigError(f"every limit must be at least 1, got {self}")


@dataclass(frozen=True)
class Opened:
    """A photo, or an inversion file that brings its photo.

    Attributes:
        name: file name as the visitor knows it.
        photo: the photo.
        landmarks: (68, 2) points of each face, largest first; empty for an aligned crop and for
            an inversion.
        inversion: what the file held; None for a photo.
    """

    name: str
    photo: Photo
    landmarks: tuple[np.ndarray, ...] = ()
    inversion: Inversion | None = None

    @property
    def aligned(self) -> bool:
        """Whether the photo is the crop."""
        return not self.landmarks and self.inversion is None

    @property
    def count(self) -> int:
        """How many faces can be edited."""
        return len(self.inversion) if self.inversion is not None else max(1, len(self.landmarks))

    @property
    def sentence(self) -> str:
        """What the visitor should know of the photo; often nothing."""
        said = turn_sentence(self.landmarks[0]) if self.landmarks else ""
        return f"{self.name}: {said}." if said else ""

    def quads(self, framing: Framing) -> list[np.ndarray]:
        """Return the corners of each crop, (4, 2) in photo pixels, as `AlignedFace.quad`."""
        if self.inversion is not None:
            return [face.quad for face in self.inversion.faces]
        if self.landmarks:
            return [ffhq_quad(points, framing.scale, framing.shift) for points in self.landmarks]
        height, width = self.photo.pixels.shape[:2]
        return [outline(width, height)]

    def face(self, index: int, size: int, framing: Framing) -> AlignedFace:
        """Return one crop of a photo.

        Args:
            index: from 0.
            size: side of the crop.
            framing: how the model frames a face.
        """
        if not self.landmarks:
            return whole_photo_as_face(self.photo, size)
        quad, points = self.quads(framing)[index], self.landmarks[index]
        pixels = to_tensor(crop(visible(self.photo), quad, size))
        return AlignedFace(pixels, self.photo.pixels, quad, points)


def open_photo(source: Path | np.ndarray, name: str, limits: Limits, *, aligned: bool) -> Opened:
    """Read a photo and find its faces.

    Args:
        source: a file, or pixels.
        name: as the visitor knows the file; it is what sentences call it.
        limits: pixels and faces.
        aligned: the photo is an aligned crop: no face is searched.

    Raises:
        PhotoError: it cannot be read, or is too large.
        FaceError: no face was found, or an aligned crop is not square.
        DependencyError: the extra `faces` is not installed.
    """
    try:
        photo = read_photo(source, max_pixels=limits.photo_pixels)
    except PhotoError as error:
        raise PhotoError(str(error).replace(getattr(source, "name", name), name)) from error
    if aligned:
        whole_photo_as_face(photo, 8)  # a photo that is not square is refused here
        return Opened(name, photo)
    try:
        faces = choose_face(find_faces(visible(photo), all_sizes=True), "all")
    except FaceError as error:
        raise FaceError(
            f"no face was found in {name}: use a photo that shows a whole face from the front, or "
            "tick “aligned crop” under Model"
        ) from error
    return Opened(name, photo, tuple(face.landmarks for face in faces[: limits.faces]))


def open_inversion(path: Path, name: str, limits: Limits) -> Opened:
    """Read an inversion file.

    Raises:
        WeightsError: it is damaged, no inversion, or holds no photo.
        PhotoError: its photo is too large.
    """
    try:
        inversion = load_inversion(path)
    except WeightsError as error:
        raise WeightsError(str(error).replace(str(path), name)) from error
    if inversion.source is None or not inversion.faces:
        raise WeightsError(f"{name} holds no photo, so there is nothing to show: open the photo")
    height, width = inversion.source.pixels.shape[:2]
    if height * width > limits.photo_pixels or len(inversion) > limits.faces:
        raise PhotoError(
            f"{name} holds {len(inversion)} faces of a photo of {width} x {height}, more than "
            f"this page takes: {limits.faces} faces, {limits.photo_pixels / 1e6:g} megapixels"
        )
    return Opened(name, inversion.source, inversion=inversion)


def scaled(face: AlignedFace, photo: np.ndarray) -> AlignedFace:
    """Return a face as if it had been cut from a smaller copy of its photo, (h, w, 3)."""
    height, width = face.photo.shape[:2]
    factor = np.array([photo.shape[1] / width, photo.shape[0] / height])
    return replace(face, photo=photo, quad=face.quad * factor, landmarks=None)


def has_sample() -> bool:
    """Return whether there is a sample."""
    return importlib.util.find_spec("skimage") is not None


def sample_pixels() -> np.ndarray:
    """Return the sample, (512, 512, 3) uint8.

    Raises:
        DependencyError: scikit-image is not installed.
    """
    try:
        from skimage.data import astronaut
    except ImportError as error:
        raise DependencyError(
            'the sample comes with scikit-image: run `pip install "stylefeatureeditor[demo]"`'
        ) from error
    return astronaut()
