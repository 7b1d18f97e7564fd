"""A session on disk: photos as they came, and what is done to each face, to go on with later.

    session.json   format number, model, and for each photo: turns, landmarks, edits of each face
    photos/        the photos' own files, byte for byte
    masks/         what was painted, PNG; masks/1-2.png is that of photo 1, face 2

It is a zip without compression, named `.sfe`. The page writes it; the page and `sfe edit` read it.
Nothing of a model is in it, so it outlives the model's next version and fits every method.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image

from stylefeatureeditor.editing.direction_names import check_sizes
from stylefeatureeditor.errors import ConfigError, MaskError, PhotoError, SfeError
from stylefeatureeditor.files import DAMAGED_ZIP, atomic_path, regular

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FORMAT = 1
MAX_TABLE = 20_000_000  # bytes of session.json
MAX_FACES, MAX_PHOTOS = 64, 1000
MASK_PIXELS = 4_000_000
FARTHEST = 1e6  # pixels, of a landmark from its photo's corner

MaskKind = Literal["none", "face", "painted"]
Which = int | Literal["all"]
Blend = Literal["feather", "residual", "poisson", "none"]


@dataclass(frozen=True, kw_only=True)
class FaceEdits:
    """What is done to one face."""

    edits: Mapping[str, float] = field(default_factory=dict)  # direction -> strength; none is 0
    # where they act: everywhere in the crop, on the face, or where a person painted
    mask: MaskKind = "none"
    # PNG over the whole photo, white = may change; empty if nothing was painted
    painted: bytes = b""

    def __post_init__(self) -> None:
        if self.mask not in get_args(MaskKind):
            raise ConfigError(f"the mask is one of {', '.join(get_args(MaskKind))}")

    def region(self, width: int, height: int) -> Image.Image | str | None:
        """Return what `Editor.edit` takes as its mask, of a photo of that size."""
        if self.mask == "none" or (self.mask == "painted" and not self.painted):
            return None
        return "face" if self.mask == "face" else painted_at(self.painted, width, height)


@dataclass(frozen=True, kw_only=True)
class SavedPhoto:
    """One photo of a session."""

    name: str  # of its file
    content: bytes  # the file
    turns: int = 0  # quarter turns to the left that it was given
    aligned: bool = False  # it is an aligned crop
    # (68, 2) of each face in the turned photo; none for an aligned crop
    landmarks: tuple[np.ndarray, ...] = ()
    # number of the face, from 1 -> what is done to it
    faces: Mapping[int, FaceEdits] = field(default_factory=dict)
    face: Which = 1  # which face was in hand
    blend: Blend | None = None  # how the faces return; None is the model's preference


@dataclass(frozen=True)
class SavedSession:
    """What a file holds; `model` is the name or folder of the model that drew it."""

    model: str
    photos: tuple[SavedPhoto, ...]


def painted_at(png: bytes, width: int, height: int) -> Image.Image:
    """Return a painted mask at a size, grey, white = may change.

    Raises:
        MaskError: it is no picture, or too large.
    """
    from stylefeatureeditor.photo.image import read_photo  # brings torch

    try:
        mask = read_photo(png, max_pixels=MASK_PIXELS)
    except PhotoError as error:
        raise MaskError("the painted mask is not a picture that can be read") from error
    grey = mask.pixels[..., 0] if mask.alpha is None else mask.alpha
    return Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)


def session_bytes(model: str, photos: Sequence[SavedPhoto]) -> bytes:
    """Return the content of a session's file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        rows = [_write(archive, number, photo) for number, photo in enumerate(photos, start=1)]
        table = {"format": FORMAT, "model": model, "photos": rows}
        archive.writestr("session.json", json.dumps(table))
    return buffer.getvalue()


def save_session(model: str, photos: Sequence[SavedPhoto], path: str | Path) -> Path:
    """Write a session, whole or not at all; return the path.

    Raises:
        PhotoError: it cannot be written.
    """
    path = Path(path)
    try:
        with atomic_path(path) as part:
            part.write_bytes(session_bytes(model, photos))
    except OSError as error:
        raise PhotoError(f"{path} cannot be written: {error.strerror}") from error
    return path


def load_session(source: str | Path | bytes, name: str = "") -> SavedSession:
    """Read what `save_session` wrote.

    Args:
        source: a file, or its content.
        name: what sentences call it.

    Raises:
        PhotoError: there is no such file; it is damaged, or no session.
    """
    name = name or (source.__fspath__() if isinstance(source, Path) else "the file")
    try:
        content = source if isinstance(source, bytes) else regular(Path(source)).read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > len(content):
                raise PhotoError(f"{name} is no session: it holds more than its own bytes")
            if archive.getinfo("session.json").file_size > MAX_TABLE:
                raise PhotoError(f"{name} is no session: its table is too large")
            table = json.loads(archive.read("session.json"))
            if table["format"] != FORMAT:
                raise PhotoError(
                    f"{name} has format {table['format']!r}, expected {FORMAT}: it was saved by "
                    "another version"
                )
            rows = table["photos"]
            if not 1 <= len(rows) <= MAX_PHOTOS:
                raise ValueError
            left = {entry.filename for entry in entries}

            def take(file: str) -> bytes:
                left.remove(file)  # once: many rows that name one file would fill the memory
                return archive.read(file)

            photos = tuple(_read(take, row) for row in rows)
            return SavedSession(str(table["model"])[:1000], photos)
    except SfeError as error:
        raise PhotoError(str(error)) from error
    except OSError as error:
        raise PhotoError(f"{name} cannot be read: {error.strerror or 'damaged'}") from error
    except (*DAMAGED_ZIP, TypeError, AttributeError, RecursionError) as error:
        raise PhotoError(f"{name} is damaged, or no session that the page saved") from error


def _write(archive: zipfile.ZipFile, number: int, photo: SavedPhoto) -> dict[str, Any]:
    """Add the files of a photo; return its row of the table."""
    file = f"photos/{number}{PurePosixPath(photo.name).suffix}"
    archive.writestr(file, photo.content)
    faces: dict[int, dict[str, Any]] = {}
    for face, done in photo.faces.items():
        faces[face] = {"edits": dict(done.edits), "mask": done.mask}
        if done.painted:
            faces[face]["painted"] = f"masks/{number}-{face}.png"
            archive.writestr(f"masks/{number}-{face}.png", done.painted)
    return {
        "name": photo.name,
        "file": file,
        "turns": photo.turns,
        "aligned": photo.aligned,
        "landmarks": [points.tolist() for points in photo.landmarks],
        "faces": faces,
        "face": photo.face,
        "blend": photo.blend,
    }


def _read(take: Callable[[str], bytes], row: dict[str, Any]) -> SavedPhoto:
    """One photo; what is no session raises something of DAMAGED_ZIP."""
    landmarks = tuple(_points(points) for points in row["landmarks"])
    count = max(1, len(landmarks))
    faces = {int(key): _face(take, done) for key, done in row["faces"].items()}
    face, turns, blend = row["face"], row["turns"], row["blend"]
    sound = (
        len(landmarks) <= MAX_FACES
        and all(1 <= number <= count for number in faces)
        and (face == "all" or (type(face) is int and 1 <= face <= count))
        and turns in range(4)
        and blend in (None, *get_args(Blend))
    )
    if not sound:
        raise ValueError
    return SavedPhoto(
        name=PurePosixPath("".join(filter(str.isprintable, str(row["name"])))[-100:]).name
        or "photo",
        content=take(row["file"]),
        turns=int(turns),
        aligned=bool(row["aligned"]),
        landmarks=landmarks,
        faces=faces,
        face=face,
        blend=blend,
    )


def _points(points: Any) -> np.ndarray:
    array = np.array(points, dtype=np.float64)
    if array.shape != (68, 2) or not (np.abs(array) < FARTHEST).all():
        raise ValueError
    return array


def _face(take: Callable[[str], bytes], done: dict[str, Any]) -> FaceEdits:
    edits = {str(name)[:200]: float(strength) for name, strength in done["edits"].items()}
    if not all(map(isfinite, edits.values())):
        raise ValueError
    for direction, strength in edits.items():
        check_sizes(direction, [strength])
    painted = take(done["painted"]) if "painted" in done else b""
    return FaceEdits(edits=edits, mask=done["mask"], painted=painted)
