"""Faces in a photo and their 68 landmarks, by dlib: what the FFHQ crop is made from.

The landmark model was trained on iBUG 300-W and is for research use only; so is what is made with
it. It comes with the optional extra `stylefeatureeditor[faces]`.

Landmarks follow the iBUG order: 0-16 jaw from the picture's left to its right, 17-26 brows, 27-35
nose, 36-41 and 42-47 eyes, 48-67 mouth. They are (x, y), x to the right, y down, counted in pixels
of the upright photo as dlib counts: (0, 0) is the centre of the first pixel.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from stylefeatureeditor.errors import DependencyError, FaceError

MIN_SCORE = 0.25  # on photos without people, dlib's false finds score below about 0.15
_HINT = 'finding faces needs dlib, run `pip install "stylefeatureeditor[faces]"`'
# Pixels the detector may look at, after upsampling: (times doubled, pixels). The first pass is
# the release's; the second, for small faces, runs only if the first finds nobody.
_PASSES = ((1, 16_000_000), (2, 64_000_000))


@dataclass(frozen=True)
class Face:
    """One face.

    Attributes:
        box: left, top, right, bottom in photo pixels; continuous, (0, 0) is the photo's corner.
        score: the detector's confidence; about 0 is doubtful, above 1 is certain.
        landmarks: (68, 2) float64 points (x, y); (0, 0) is the centre of the first pixel.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def find_faces(pixels: np.ndarray, *, min_score: float = MIN_SCORE) -> list[Face]:
    """Return the faces of a photo, the largest first; an empty list if there is none.

    Large photos are searched on a smaller copy; if nobody is found, once more on a larger one.
    Landmarks are always placed on the photo itself.

    Args:
        pixels: (H, W, 3) uint8 RGB, upright.
        min_score: detections the detector trusts less than this are dropped.

    Raises:
        DependencyError: dlib or its landmark model is not installed.
    """
    detector, predictor = _load()
    import dlib

    pixels = np.ascontiguousarray(pixels)
    for doublings, budget in _PASSES:
        copy, scale = _copy_within(pixels, budget / 4**doublings)
        boxes, scores, _ = detector.run(copy, doublings, min_score)
        if len(boxes):
            break

    faces = []
    for box, score in zip(boxes, scores, strict=True):
        edges = np.array([box.left(), box.top(), box.right() + 1, box.bottom() + 1]) / scale
        left, top, right, bottom = (int(edge) for edge in np.rint(edges))
        shape = predictor(pixels, dlib.rectangle(left, top, right - 1, bottom - 1))
        points = np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float64)
        faces.append(Face((left, top, right, bottom), float(score), points))
    return sorted(faces, key=lambda face: face.area, reverse=True)


def choose_face(faces: list[Face], which: Literal["largest", "all"] | int) -> list[Face]:
    """Return the faces asked for, of a list sorted largest first.

    Args:
        faces: what `find_faces` returned.
        which: "largest", "all", or a number from 1, the largest, to the number of faces.

    Raises:
        FaceError: the list is empty, or holds no such face.
    """
    if not faces:
        raise FaceError(
            "no face was found in the photo: use one that shows a whole face from the front, or "
            "pass an aligned crop"
        )
    if which == "largest":
        return faces[:1]
    if which == "all":
        return list(faces)
    if isinstance(which, bool) or not isinstance(which, int):
        raise FaceError(f'a face is chosen by "largest", "all" or a number, got {which!r}')
    if not 1 <= which <= len(faces):
        raise FaceError(
            f"face {which} was asked for, but {len(faces)} "
            f"{'was' if len(faces) == 1 else 'were'} found; they are numbered from 1, the largest"
        )
    return [faces[which - 1]]


def _copy_within(pixels: np.ndarray, budget: float) -> tuple[np.ndarray, float]:
    """The photo, made smaller if it has more than `budget` pixels, and the factor (at most 1)."""
    height, width = pixels.shape[:2]
    scale = (budget / (height * width)) ** 0.5
    if scale >= 1:
        return pixels, 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    copy = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(copy), (size[0] * size[1] / (height * width)) ** 0.5


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    """The detector and the landmark predictor, read once."""
    try:
        import dlib
    except ImportError as error:
        raise DependencyError(_HINT) from error
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(_model_file()))


def _model_file() -> Path:
    """The landmark model's file, found without importing its package: that fails on new setups."""
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "models" / "shape_predictor_68_face_landmarks.dat"
        if path.is_file():
            return path
    raise DependencyError(_HINT.replace("dlib", "dlib's landmark model"))
