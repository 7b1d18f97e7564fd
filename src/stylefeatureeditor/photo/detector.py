"""dlib's detector and landmarks, in a process of their own: where native code breaks, only it ends.

The process starts with the first photo and ends with ours. A question is the photo's height and
width, the least score, how to look, the box of a face or zeros, and the pixels; an answer is JSON:
box (left, top, right, bottom), score and 68 points (x, y) of each face.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from PIL import Image

from stylefeatureeditor.errors import DependencyError, FaceError

# Pixels the detector may look at, after upsampling: (times doubled, pixels). The first pass is
# the release's; the second is for small faces.
PASSES = ((1, 16_000_000), (2, 64_000_000))
LONGEST = 1 << 16  # side after upsampling; the detector breaks the heap on 160000
_HINT = 'finding faces needs dlib, run `pip install "stylefeatureeditor[faces]"`'
_QUESTION, _LENGTH = struct.Struct("<IIdB4I"), struct.Struct("<I")
_PROGRAM = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from stylefeatureeditor.photo.detector import serve
serve()"""

Look = Literal["once", "until found", "at all sizes"]
LOOKS = get_args(Look)
Box = tuple[int, int, int, int]
NO_BOX: Box = (0, 0, 0, 0)
Found = tuple[list[int], float, list[list[float]]]  # box, score, landmarks


class Detector:
    """The process, from the side that asks. Threads may share it; they wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._known: dict[object, list[Found]] = {}

    def get_ready(self) -> None:
        """Start the process, if dlib is installed, so that it reads its models meanwhile."""
        with self._lock, contextlib.suppress(DependencyError, OSError):
            check_installed()
            if self._process is None or self._owner != os.getpid():
                self._start()

    def ask(
        self,
        pixels: np.ndarray,
        min_score: float,
        look: Look = "until found",
        box: Box = NO_BOX,
    ) -> list[Found]:
        """Return the faces of (H, W, 3) uint8 pixels; see `detect`.

        The last four answers are kept: asked again, as `find_ahead` lets it be, nobody searches.

        Raises:
            DependencyError: dlib or its landmark model is not installed.
            FaceError: native code broke on this photo.
        """
        check_installed()
        content = hashlib.blake2b(pixels.reshape(-1).data).digest()
        question = content, pixels.shape, min_score, look, box
        with self._lock:
            if question in self._known:
                return self._known[question]
            try:
                if self._process is None or self._owner != os.getpid():
                    self._start()
                found = self._exchange(pixels, min_score, look, box)
            except BaseException:  # an interrupt too: the next answer would be this photo's
                self._stop()
                raise
            self._known = {**dict(list(self._known.items())[-3:]), question: found}
            return found

    def _start(self) -> None:
        # isolated, with our path: no folder that the user happens to be in is imported from
        words = [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path)]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=nowhere)
        self._owner = os.getpid()

    def _exchange(self, pixels: np.ndarray, min_score: float, look: Look, box: Box) -> list[Found]:
        assert self._process is not None
        asking, answers = self._process.stdin, self._process.stdout
        assert asking is not None
        assert answers is not None
        try:
            asking.write(_QUESTION.pack(*pixels.shape[:2], min_score, LOOKS.index(look), *box))
            asking.write(pixels.reshape(-1).data)
            asking.flush()
            (length,) = _LENGTH.unpack(_exactly(answers, _LENGTH.size))
            return json.loads(_exactly(answers, length))
        except (OSError, EOFError) as error:
            height, width = pixels.shape[:2]
            raise FaceError(
                f"the face detector broke on this photo of {width} x {height} pixels: pass an "
                "aligned crop"
            ) from error

    def _stop(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
        self._process = None


def serve() -> None:
    """Answer until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to us too
    _load()
    asked, answers = os.fdopen(0, "rb"), os.fdopen(1, "wb")
    while len(head := asked.read(_QUESTION.size)) == _QUESTION.size:
        height, width, min_score, look, *box = _QUESTION.unpack(head)
        pixels = np.frombuffer(_exactly(asked, height * width * 3), dtype=np.uint8)
        photo = pixels.reshape(height, width, 3)
        found = detect(photo, min_score, LOOKS[look], tuple(box))
        answer = json.dumps(found).encode()
        answers.write(_LENGTH.pack(len(answer)) + answer)
        answers.flush()


def detect(
    pixels: np.ndarray, min_score: float, look: Look = "until found", box: Box = NO_BOX
) -> list[Found]:
    """Return the faces of (H, W, 3) uint8 pixels, in this process.

    Args:
        pixels: the photo.
        min_score: what the detector trusts less is dropped.
        look: "once" is the first pass; the second, for small faces, runs "until found" only if the
            first finds nobody, "at all sizes" always.
        box: left, top, right, bottom of a face that is known: only its landmarks are placed.
    """
    import dlib

    detector, predictor = _load()
    if box != NO_BOX:
        left, top, right, bottom = box
        shape = predictor(pixels, dlib.rectangle(left, top, right - 1, bottom - 1))
        return [(list(box), 0.0, [[point.x, point.y] for point in shape.parts()])]
    faces: list[Found] = []
    for doublings, budget in PASSES[: 1 if look == "once" else None]:
        copy, scale = _copy_within(pixels, budget / 4**doublings, LONGEST >> doublings)
        boxes, scores, _ = detector.run(copy, doublings, min_score)
        known = [box for box, _, _ in faces]
        for seen, score in zip(boxes, scores, strict=True):
            edges = np.array([seen.left(), seen.top(), seen.right() + 1, seen.bottom() + 1]) / scale
            left, top, right, bottom = (int(edge) for edge in np.rint(edges))
            x, y = (left + right) / 2, (top + bottom) / 2
            if any(w <= x < e and n <= y < s for w, n, e, s in known):
                continue  # the first pass saw this face
            shape = predictor(pixels, dlib.rectangle(left, top, right - 1, bottom - 1))
            points = [[point.x, point.y] for point in shape.parts()]
            faces.append(([left, top, right, bottom], float(score), points))
        if faces and look != "at all sizes":
            break
    return faces


def check_installed() -> None:
    """Raise DependencyError where dlib or its landmark model is not installed."""
    if importlib.util.find_spec("dlib") is None:
        raise DependencyError(_HINT)
    model_file()


def model_file() -> Path:
    """Return the landmark model's file; its package is not imported: that fails on new setups.

    Raises:
        DependencyError: it is not installed.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "models" / "shape_predictor_68_face_landmarks.dat"
        if path.is_file():
            return path
    raise DependencyError(_HINT.replace("dlib", "dlib's landmark model"))


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    """The detector and the landmark predictor, read once."""
    import dlib

    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(model_file()))


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise EOFError
    return content


def _copy_within(pixels: np.ndarray, budget: float, longest: int) -> tuple[np.ndarray, float]:
    """The photo, with at most `budget` pixels and `longest` a side, and the factor it took."""
    height, width = pixels.shape[:2]
    scale = min((budget / (height * width)) ** 0.5, longest / max(height, width))
    if scale >= 1:
        return pixels, 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    copy = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(copy), (size[0] * size[1] / (height * width)) ** 0.5
