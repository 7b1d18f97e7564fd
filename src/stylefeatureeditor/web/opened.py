"""The photo that a visitor opened, and the faces in it."""

from __future__ import annotations

import importlib.util
import io
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stylefeatureeditor.errors import (
    DependencyError,
    FaceError,
    PhotoError,
    SfeError,
    WeightsError,
)
from stylefeatureeditor.photo.align import ffhq_quad, middle_square
from stylefeatureeditor.photo.image import read_photo, turned, visible
from stylefeatureeditor.photo.landmarks import face_in_box, find_faces, turn_sentence
from stylefeatureeditor.records import AlignedFace
from stylefeatureeditor.weights.inversion_file import load_inversion

if TYPE_CHECKING:
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.model import Framing
    from stylefeatureeditor.photo.session_file import SavedPhoto
    from stylefeatureeditor.records import Photo
    from stylefeatureeditor.web.films import Film
    from stylefeatureeditor.web.limits import Limits

# NASA's portrait of Eileen Collins, public domain; scikit-image brings it
SAMPLE_NAME = "astronaut.png"
NO_FACE = "No face was found: turn the photo, or press “The face is here” and draw a box around it."
NO_FACE_IN_FRAME = "No face was found in this frame: move to another one."


@dataclass(frozen=True)
class Opened:
    """A photo, or an inversion file that brings its photo. Only the file is kept; pixels can go.

    Attributes:
        name: file name as the visitor knows it.
        content: the file.
        size: width and height of the turned photo.
        turns: quarter turns to the left that the visitor gave it.
        landmarks: (68, 2) points of each face, largest first.
        aligned: the photo is the crop.
        placed: the visitor pointed at a face; a command cannot know of it.
        inversion: what the file held; None for a photo.
        film: the photo is a frame of it.
        time: of the frame, in ticks of the clip.
    """

    name: str
    content: bytes
    size: tuple[int, int]
    turns: int = 0
    landmarks: tuple[np.ndarray, ...] = ()
    aligned: bool = False
    placed: bool = False
    inversion: Inversion | None = None
    film: Film | None = None
    time: int = 0

    @property
    def count(self) -> int:
        """How many faces can be edited."""
        if self.inversion is not None:
            return len(self.inversion)
        return 1 if self.aligned else len(self.landmarks)

    @property
    def sentence(self) -> str:
        """What the visitor should know of the photo; often nothing."""
        if not self.count:
            return NO_FACE if self.film is None else NO_FACE_IN_FRAME
        if self.aligned and self.size[0] != self.size[1]:
            return f"{self.name} is not square: its middle square is edited."
        said = turn_sentence(self.landmarks[0]) if self.landmarks else ""
        return f"{self.name}: {said}." if said else ""

    def read(self, limits: Limits) -> Photo:
        """Return the photo; reading takes a while."""
        if self.inversion is not None and self.inversion.source is not None:
            return self.inversion.source
        return turned(_read(self.content, self.name, limits), self.turns)

    def quads(self, framing: Framing) -> list[np.ndarray]:
        """Return the corners of each crop, (4, 2) in photo pixels, as `AlignedFace.quad`."""
        if self.inversion is not None:
            return [face.quad for face in self.inversion.faces]
        if self.aligned:
            return [middle_square(*self.size)]
        return [ffhq_quad(points, framing.scale, framing.shift) for points in self.landmarks]

    def turned(self, limits: Limits) -> tuple[Opened, Photo]:
        """Return the photo after one more turn, its faces searched again, and its pixels."""
        if self.inversion is not None:
            raise PhotoError("a saved inversion cannot be turned: open its photo")
        if self.film is not None:
            raise PhotoError("a film cannot be turned here: turn it with a program for films")
        photo = turned(self.read(limits), 1)
        found = () if self.aligned else largest_faces(photo, limits)
        turns, size = (self.turns + 1) % 4, self.size[::-1]
        return replace(self, turns=turns, size=size, landmarks=found, placed=False), photo

    def with_face(self, box: tuple[float, float, float, float], limits: Limits) -> Opened:
        """Return the photo with one more face.

        Args:
            box: left, top, right, bottom in parts of the photo's width and height.
            limits: faces of a photo.
        """
        if self.inversion is not None or self.aligned:
            raise FaceError("this file holds its faces already")
        if self.count >= limits.faces:
            raise FaceError(f"a photo may have {limits.faces} faces here")
        (left, top, right, bottom), (width, height) = box, self.size
        pixels = visible(self.read(limits))
        face = face_in_box(pixels, (left * width, top * height, right * width, bottom * height))
        return replace(self, landmarks=(*self.landmarks, face.landmarks), placed=True)


def open_photo(
    content: bytes, name: str, limits: Limits, *, aligned: bool = False
) -> tuple[Opened, Photo]:
    """Read a photo and find its faces; there may be none."""
    photo = _read(content, name, limits)
    height, width = photo.pixels.shape[:2]
    found = () if aligned else largest_faces(photo, limits)
    return Opened(name, content, (width, height), landmarks=found, aligned=aligned), photo


def open_frame(film: Film, second: float, limits: Limits) -> tuple[Opened, Photo]:
    """Read the frame of a film that is shown at a second, and find its faces."""
    frame, buffer = film.frame(second), io.BytesIO()
    Image.fromarray(frame.pixels).save(buffer, "PNG", compress_level=1)
    opened, photo = open_photo(buffer.getvalue(), film.name, limits)
    return replace(opened, film=film, time=frame.time), photo


def open_saved(saved: SavedPhoto, limits: Limits) -> tuple[Opened, Photo]:
    """Read a photo of a session, its faces where they were."""
    photo = turned(_read(saved.content, saved.name, limits), saved.turns)
    height, width = photo.pixels.shape[:2]
    opened = Opened(
        saved.name, saved.content, (width, height), saved.turns, saved.landmarks, saved.aligned
    )
    quads = [ffhq_quad(points) for points in saved.landmarks]
    if len(quads) > limits.faces or _area(quads, opened.size) > limits.crop_photos:
        raise FaceError(f"{saved.name} has larger or more faces than this page takes")
    return replace(opened, placed=True), photo


def open_inversion(content: bytes, name: str, limits: Limits) -> tuple[Opened, Photo]:
    """Read an inversion file."""
    with tempfile.TemporaryDirectory(prefix="sfe-") as folder:
        path = Path(folder, "a.safetensors")
        path.write_bytes(content)
        try:
            inversion = load_inversion(path)
        except WeightsError as error:
            raise WeightsError(str(error).replace(str(path), name)) from error
    if inversion.source is None or not inversion.faces:
        raise WeightsError(f"{name} holds no photo, so there is nothing to show: open the photo")
    height, width = inversion.source.pixels.shape[:2]
    crops = _area([face.quad for face in inversion.faces], (width, height))
    if (
        height * width > limits.photo_pixels
        or len(inversion) > limits.faces
        or crops > limits.crop_photos
    ):
        raise PhotoError(
            f"{name} holds {len(inversion)} faces, {crops:.1f} times as large as their photo of "
            f"{width} x {height}, more than this page takes: {limits.faces} faces, "
            f"{limits.crop_photos} times, {limits.photo_pixels / 1e6:g} megapixels"
        )
    opened = Opened(name, b"", (width, height), inversion=inversion)
    return opened, inversion.source


def placed(inversion: Inversion, photo: Photo, size: tuple[int, int]) -> Inversion:
    """Return an inversion as if its faces had been cut from a copy of their photo.

    Args:
        inversion: with quads and landmarks in a photo of `size`.
        photo: the copy, or the photo itself.
        size: width and height that the faces are measured in.
    """
    height, width = photo.pixels.shape[:2]
    factor = np.array([width / size[0], height / size[1]])
    faces = tuple(
        AlignedFace(
            face.pixels,
            photo.pixels,
            face.quad * factor,
            None if face.landmarks is None else (face.landmarks + 0.5) * factor - 0.5,
        )
        for face in inversion.faces
    )
    return replace(inversion, faces=faces, source=photo)


def has_sample() -> bool:
    """Return whether there is a sample."""
    return importlib.util.find_spec("skimage") is not None


def sample() -> bytes:
    """Return the sample, a PNG of 512 x 512."""
    try:
        from skimage.data import astronaut
    except ImportError as error:
        raise DependencyError(
            'the sample comes with scikit-image: run `pip install "stylefeatureeditor[demo]"`'
        ) from error
    buffer = io.BytesIO()
    Image.fromarray(astronaut()).save(buffer, "PNG")
    return buffer.getvalue()


def _read(content: bytes, name: str, limits: Limits) -> Photo:
    try:
        return read_photo(content, max_pixels=limits.photo_pixels)
    except SfeError as error:
        raise type(error)(str(error).replace("the file", name, 1)) from error


def largest_faces(photo: Photo, limits: Limits) -> tuple[np.ndarray, ...]:
    """Return the (68, 2) landmarks of the largest faces, as many as the limits allow."""
    found = [face.landmarks for face in find_faces(visible(photo), all_sizes=True)]
    found = found[: limits.faces]
    size = photo.pixels.shape[1::-1]
    while len(found) > 1 and _area(list(map(ffhq_quad, found)), size) > limits.crop_photos:
        found.pop()
    return tuple(found)


def _area(quads: list[np.ndarray], size: tuple[int, int]) -> float:
    """The boxes of all crops together, in photos."""
    low = [quad.min(axis=0).clip(0, size) for quad in quads]
    high = [quad.max(axis=0).clip(0, size) for quad in quads]
    area = sum(float(np.prod(b - a)) for a, b in zip(low, high, strict=True))
    return area / (size[0] * size[1])
