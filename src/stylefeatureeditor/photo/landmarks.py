"""Faces in a photo and their 68 landmarks, by dlib: what the FFHQ crop is made from.

The landmark model was trained on iBUG 300-W and is for research use only; so is what is made with
it. It comes with the optional extra `stylefeatureeditor[faces]`.

Landmarks follow the iBUG order: 0-16 jaw from the picture's left to its right, 17-26 brows, 27-35
nose, 36-41 and 42-47 eyes, 48-67 mouth. They are (x, y), x to the right, y down, counted in pixels
of the upright photo as dlib counts: (0, 0) is the centre of the first pixel.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from stylefeatureeditor.errors import FaceError, SfeError
from stylefeatureeditor.photo.detector import Detector, Found, Look

LEAST_BOX = 16  # px a side of a face that is pointed at
MIN_SCORE = 0.25  # on photos without people, dlib's false finds score below about 0.15
SURE = 0.6  # what a detector trusts less may be a false find in a photo that lies turned
_detector = Detector()


@dataclass(frozen=True)
class Face:
    """One face."""

    # left, top, right, bottom in photo pixels; continuous, (0, 0) is the photo's corner
    box: tuple[float, float, float, float]
    score: float  # the detector's confidence; about 0 is doubtful, above 1 is certain
    landmarks: np.ndarray  # (68, 2) float64 points (x, y); (0, 0) is the centre of the first pixel

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def get_ready() -> None:
    """Let the detector read its models while something else is done, such as importing torch."""
    _detector.get_ready()


def find_ahead(pixels: np.ndarray, *, all_sizes: bool = False) -> None:
    """Begin to find faces in a thread; `find_faces` of these pixels has what that found.

    What goes wrong is left to `find_faces`.
    """

    def search() -> None:
        with contextlib.suppress(SfeError):
            find_faces(pixels, all_sizes=all_sizes)

    threading.Thread(target=search, daemon=True).start()


def find_faces(
    pixels: np.ndarray, *, min_score: float = MIN_SCORE, all_sizes: bool = False
) -> list[Face]:
    """Return the faces of a photo, the largest first; an empty list if there is none.

    Large photos are searched on a smaller copy; if nobody is found, once more on a larger one. If
    nobody is found then either, or only what scores below SURE, the smaller copy is searched turned
    by 90, 180 and 270 degrees, and the best score says how the photo lies. Landmarks are always
    placed on the photo itself.

    Args:
        pixels: (H, W, 3) uint8 RGB, upright.
        min_score: detections the detector trusts less than this are dropped.
        all_sizes: look on the larger copy too when somebody was found: small faces beside large.

    Raises:
        DependencyError: dlib or its landmark model is not installed.
        FaceError: the detector broke on this photo.
    """
    look: Look = "at all sizes" if all_sizes else "until found"
    turns, found = 0, _ask(pixels, 0, min_score, look)
    if _best(found) < SURE:
        seen = {0: found} | {n: _ask(pixels, n, min_score, "once") for n in (1, 2, 3)}
        turns = max(seen, key=lambda n: _best(seen[n]))  # as it lies, if none is better
        found = _ask(pixels, turns, min_score, look) if turns and all_sizes else seen[turns]
    faces = []
    for box, score, points in found:
        corners = _turned_back(np.reshape(box, (2, 2)) - 0.5, turns, pixels) + 0.5
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        landmarks = _turned_back(np.array(points, dtype=np.float64), turns, pixels)
        faces.append(Face((left, top, right, bottom), score, landmarks))
    return sorted(faces, key=lambda face: face.area, reverse=True)


def face_in_box(pixels: np.ndarray, box: tuple[float, float, float, float]) -> Face:
    """Return the face that a person sees where the detector sees none.

    The box (left, top, right, bottom) goes around brows, chin and cheeks.

    Raises:
        FaceError: the box is smaller than LEAST_BOX pixels, or outside the photo.
        DependencyError: dlib or its landmark model is not installed.
    """
    height, width = pixels.shape[:2]
    limits = (width, height, width, height)
    left, top, right, bottom = (
        round(min(max(edge, 0), limit)) for edge, limit in zip(box, limits, strict=True)
    )
    if right - left < LEAST_BOX or bottom - top < LEAST_BOX:
        raise FaceError("this box is too small for a face: draw it around brows, chin and cheeks")
    ((_, score, points),) = _detector.ask(pixels, 0, "once", (left, top, right, bottom))
    return Face((left, top, right, bottom), score, np.array(points, dtype=np.float64))


def find_boxes(pixels: np.ndarray, longest: int) -> np.ndarray:
    """Return the boxes of a frame's upright faces, (n, 4), as `Face.box`: one quick look.

    A copy with the longer side `longest` is searched; faces below a twelfth of it are passed over.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(pixels)
    copy = picture if scale == 1 else picture.resize(size, Image.Resampling.BILINEAR)
    found = _detector.ask(np.ascontiguousarray(copy), MIN_SCORE, "once")
    grown = np.tile([width / size[0], height / size[1]], 2)
    return np.array([box for box, _, _ in found], dtype=np.float64).reshape(-1, 4) * grown


def place_landmarks(pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the 68 landmarks of the face in a box (4,), (68, 2), without searching for faces.

    What of the box lies outside the picture is black.
    """
    height, width = pixels.shape[:2]
    half = max(2, round((box[2] - box[0]) / 2) * 2)  # even, so that the box is the middle half
    left, top = (round((low + high) / 2) - half for low, high in (box[[0, 2]], box[[1, 3]]))
    around = np.zeros((2 * half, 2 * half, 3), dtype=np.uint8)
    rows = slice(max(top, 0), max(min(top + 2 * half, height), 0))
    columns = slice(max(left, 0), max(min(left + 2 * half, width), 0))
    shown = pixels[rows, columns]
    y, x = rows.start - top, columns.start - left
    around[y : y + shown.shape[0], x : x + shown.shape[1]] = shown
    first, end = half // 2, 2 * half - half // 2
    ((_, _, points),) = _detector.ask(around, MIN_SCORE, "once", (first, first, end, end))
    return np.array(points, dtype=np.float64) + np.array([left, top])


def turn_sentence(landmarks: np.ndarray) -> str:
    """Return what to tell of a face (68, 2) that lies on its side or head; of others nothing."""
    x, y = landmarks[42:48].mean(axis=0) - landmarks[36:42].mean(axis=0)
    degrees = round(float(np.degrees(np.arctan2(y, x))) / 90) * 90 % 360
    if not degrees:
        return ""
    return f"the face is turned by {degrees} degrees; it is edited upright and put back turned"


def _ask(pixels: np.ndarray, turns: int, min_score: float, look: Look) -> list[Found]:
    """The faces of the photo after `turns` quarter turns to the left."""
    return _detector.ask(np.ascontiguousarray(np.rot90(pixels, turns)), min_score, look)


def _best(found: list[Found]) -> float:
    return max((score for _, score, _ in found), default=-np.inf)


def _turned_back(points: np.ndarray, turns: int, pixels: np.ndarray) -> np.ndarray:
    """Points (n, 2) of the turned photo in the photo itself; (0, 0) is a pixel's centre."""
    height, width = pixels.shape[:2]
    for turn in range(turns, 0, -1):
        last = (width if turn % 2 else height) - 1
        points = np.stack([last - points[:, 1], points[:, 0]], axis=1)
    return points


def choose_face(faces: list[Face], which: Literal["largest", "all"] | int) -> list[Face]:
    """Return the faces asked for, of a list sorted largest first.

    Raises:
        FaceError: the list is empty, or holds no such face.
    """
    if not faces:
        raise FaceError(
            "no face was found in the photo: use one that shows a whole face from the front; a "
            "crop, or something else than a face, is taken as it is with --aligned"
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
