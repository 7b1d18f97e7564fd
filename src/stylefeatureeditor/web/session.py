"""One visitor: a photo, its inversions, the controls, and the steps that can be undone.

The photo that a crop is pasted into is a small copy, as large as a screen shows, and while a slider
moves a slow model draws previews; crops much finer than they are shown are halved first.
`save_photo` does none of it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from stylefeatureeditor.directions.strip import strip_of
from stylefeatureeditor.errors import DirectionError, FaceError, PhotoError, ShapeError
from stylefeatureeditor.masks.edit_mask import edit_region
from stylefeatureeditor.photo.image import to_picture, visible
from stylefeatureeditor.photo.result import EditResult
from stylefeatureeditor.web.brush import painted_at
from stylefeatureeditor.web.opened import open_inversion, open_photo, scaled
from stylefeatureeditor.web.settings import (
    INVERSION_SUFFIX,
    MASK_FILE,
    Settings,
    edited_name,
)
from stylefeatureeditor.web.slider_preview import SliderPreview, no_finer_than_shown
from stylefeatureeditor.weights.inversion_file import save_inversion

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.records import Photo
    from stylefeatureeditor.web.loaded_models import Models
    from stylefeatureeditor.web.opened import Limits, Opened
    from stylefeatureeditor.web.settings import Which

STRIP = 7  # strengths of a strip


@dataclass(frozen=True)
class Drawing:
    """What one step shows.

    Attributes:
        before: the photo, or the crop if only the crop is wanted; at most `side` pixels long.
        after: the same, edited.
        crop_before: the face as the model was given it.
        crop: the face as the model draws it.
        seconds: the whole step took.
        is_preview: the model did not draw its finest layers.
    """

    before: Image.Image
    after: Image.Image
    crop_before: Image.Image
    crop: Image.Image
    seconds: float
    is_preview: bool = False


class Session:
    """One visitor's page.

    Args:
        models: where editors come from.
        limits: what the page may take.
    """

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models, self.limits = models, limits
        self.model = models.first()
        self.opened: Opened | None = None
        self.number = 0  # of photos opened: the page throws away what belongs to another
        self.forgotten = False
        self.preview = SliderPreview()
        self.settings = Settings()
        self.past: list[Settings] = []
        self.future: list[Settings] = []
        self._inversions: OrderedDict[Which, Inversion] = OrderedDict()
        self._copies: dict[int, Photo] = {}
        self._region: tuple[object, Tensor | None] | None = None

    @property
    def editor(self) -> Editor:
        """The editor of the chosen model."""
        return self.models.editor(self.model)

    def open(self, source: Path | np.ndarray, name: str, *, aligned: bool = False) -> None:
        """Open a photo or an inversion file; on an error the one before stays.

        Raises:
            PhotoError, FaceError, WeightsError, ShapeError, DependencyError: it cannot be used.
        """
        if name.lower().endswith(INVERSION_SUFFIX) and not isinstance(source, np.ndarray):
            opened = open_inversion(source, name, self.limits)
            assert opened.inversion is not None
            try:
                self.editor.method.take(opened.inversion)
            except ShapeError as error:
                raise ShapeError(
                    f"{name} was made by another model than {self.model}: choose that model, or "
                    "open the photo"
                ) from error
        else:
            opened = open_photo(source, name, self.limits, aligned=aligned)
        self.forget_photo()
        self.opened, self.forgotten = opened, False
        self.number += 1
        self.settings = Settings(edits=self.settings.edits, blend=self.settings.blend)
        self.past, self.future = [], []

    def choose_model(self, name: str) -> None:
        """Take another model; the photo stays, edits that it does not know go.

        Raises:
            WeightsError: there is no such model.
        """
        editor = self.models.editor(name)
        if self.opened is not None and self.opened.inversion is not None and name != self.model:
            self.forget_photo()
            self.forgotten = False
        self.model, self.preview.seconds = name, 0.0
        self.forget_inversions()
        self.past, self.future = [], []
        known = {entry.name for entry in editor.directions.entries}
        kept = {key: value for key, value in self.settings.edits.items() if key in known}
        self.settings = replace(self.settings, edits=kept)

    def change(self, **values: Any) -> None:
        """Replace fields of the settings as one step that can be undone."""
        settings = self.checked(replace(self.settings, **values))
        if settings != self.settings:
            self.past = [*self.past, self.settings][-self.limits.steps :]
            self.future = []
            self.settings = settings

    def undo(self) -> None:
        """Go back one step, if there is one."""
        if self.past:
            self.future.append(self.settings)
            self.settings = self.past.pop()

    def redo(self) -> None:
        """Take back an `undo`."""
        if self.future:
            self.past.append(self.settings)
            self.settings = self.future.pop()

    def checked(self, settings: Settings) -> Settings:
        """Return settings that came from outside, without edits of strength 0.

        Raises:
            DirectionError: an edit is unknown or no number.
            FaceError: there is no such face.
            MaskError: the painted mask is no picture, or too large.
        """
        edits = {}
        for name, strength in settings.edits.items():
            number = float(strength) if isinstance(strength, (int, float)) else float("nan")
            if not isfinite(number):
                raise DirectionError(f"{name}: a strength must be a number")
            if number:
                edits[self.editor.directions.find(name).name] = number
        count = self.opened.count if self.opened else 1
        if settings.face != "all" and not (
            type(settings.face) is int and 1 <= settings.face <= count
        ):
            raise FaceError(f"there is no face {settings.face!r} in this photo, it has {count}")
        return replace(settings, edits=edits)

    def prepare(self) -> None:
        """Do what the first moving slider would wait for."""
        if self.opened is not None:
            self.preview.prepare(self.editor, self.inversion(self.settings.face))

    def draw(self, side: int, edits: dict[str, float] | None = None) -> Drawing:
        """Return the pictures of the settings.

        Args:
            side: longest side of the pictures, in pixels.
            edits: those of a slider that is moving, instead of the settings'; of a slow model the
                pictures are previews.

        Raises:
            PhotoError: no photo is open.
            DirectionError, MaskError: as `Editor.edit`.
        """
        start = time.perf_counter()
        settings = self.settings
        if edits is not None:
            settings = self.checked(replace(settings, edits=edits))
        is_preview = edits is not None and self.preview.pace(self.editor) == "preview"
        inversion = self.inversion(settings.face)
        edit = self.preview.draft if is_preview else self.preview.edit
        result = edit(self.editor, inversion, settings, self._mask(inversion))
        crop_before = EditResult(inversion.faces[0].pixels, inversion).crop
        if result.blend == "none":
            before, after = crop_before, result.crop
        else:
            copy = self._copy(side)
            faces = tuple(scaled(face, copy.pixels) for face in inversion.faces)
            height, width = copy.pixels.shape[:2]
            shown = replace(
                result,
                inversion=replace(inversion, faces=faces, source=copy),
                photo_mask=self._photo_mask(width, height),
            )
            shown = no_finer_than_shown(shown, times=1 if is_preview else 2)
            before, after = to_picture(copy.pixels, copy, copy.alpha), shown.photo
        seconds = time.perf_counter() - start
        return Drawing(before, after, crop_before, result.crop, seconds, is_preview)

    def strip(self, name: str | None) -> Image.Image:
        """Return the face with a direction from one end of its useful range to the other.

        Raises:
            PhotoError: no photo is open.
            DirectionError: there is no such direction, or none was chosen.
            FaceError: all faces are edited at once.
        """
        if not name:
            raise DirectionError("choose an edit first")
        entry = self.editor.directions.find(name)
        inversion = self.inversion(self.settings.face)
        low, high = entry.useful_range
        strengths = [round(low + (high - low) * i / (STRIP - 1), 3) for i in range(STRIP)]
        edits, mask = self.settings.edits, self._mask(inversion)
        return strip_of(self.editor, inversion, entry.name, strengths, edits=edits, mask=mask)

    def save_photo(self, folder: Path) -> Path:
        """Write the edited photo at its own size, as `sfe edit` does; return its path."""
        inversion = self.inversion(self.settings.face)
        is_painted = self.settings.mask_word == MASK_FILE
        mask = self._painted() if is_painted else self.settings.mask_word
        result = self.editor.edit(
            inversion, self.settings.edits, mask=mask, blend=self.settings.blend
        )
        return result.save(folder / edited_name(self._open().name))

    def save_inversion(self, folder: Path) -> Path:
        """Write the inversion of the chosen face, as `sfe invert` does; return its path."""
        name = edited_name(self._open().name).replace("_edited.png", "_inverted")
        inversion = self.inversion(self.settings.face)
        self.editor.method.reconstruct(inversion)
        return save_inversion(inversion, folder / (name + INVERSION_SUFFIX))

    def save_mask(self, folder: Path) -> Path:
        """Write the painted mask at the photo's size; return its path.

        Raises:
            MaskError: nothing is painted.
        """
        path = folder / MASK_FILE
        self._painted().save(path)
        return path

    def inversion(self, face: Which) -> Inversion:
        """Return the inversion of a face, or of all, computing it if it is not known.

        Raises:
            PhotoError: no photo is open.
            FaceError: there is no such face.
        """
        opened = self._open()
        if face in self._inversions:
            self._inversions.move_to_end(face)
            return self._inversions[face]
        editor = self.editor
        if opened.inversion is not None:
            inversion = opened.inversion if face == "all" else opened.inversion[face - 1]
        else:
            size, framing = editor.size, editor.model.config.framing
            chosen = range(opened.count) if face == "all" else [face - 1]
            faces = tuple(opened.face(index, size, framing) for index in chosen)
            inversion = editor.method.invert(torch.cat([one.pixels for one in faces]))
            inversion.faces, inversion.source = faces, opened.photo
        self._inversions[face] = inversion
        return inversion

    def bytes(self) -> int:
        """Return the memory that photo, copies and inversions take."""
        total = sum(_inversion_bytes(known) for known in self._inversions.values())
        total += sum(copy.pixels.nbytes for copy in self._copies.values()) + self.preview.bytes()
        if self.opened is not None:
            total += self.opened.photo.pixels.nbytes
            if self.opened.inversion is not None:
                total += _inversion_bytes(self.opened.inversion)
        return total

    def forget_inversions(self, *, keep_last: bool = False) -> None:
        """Let inversions and small copies go; they are made again when they are needed."""
        while len(self._inversions) > keep_last:
            self._inversions.popitem(last=False)
        self._copies.clear()
        self._region = None
        self.preview.forget()

    def forget_photo(self) -> None:
        """Let the photo and all that belongs to it go."""
        self.forget_inversions()
        self.forgotten = self.opened is not None
        self.opened = None

    def _open(self) -> Opened:
        if self.opened is not None:
            return self.opened
        raise PhotoError(
            "this page was idle while others needed the memory, so its photo was let go: open it "
            "again"
            if self.forgotten
            else "open a photo first"
        )

    def _copy(self, side: int) -> Photo:
        """The photo at most `side` pixels long."""
        photo = self._open().photo
        height, width = photo.pixels.shape[:2]
        scale = side / max(height, width)
        if scale >= 1:
            return photo
        if side not in self._copies:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))

            def small(pixels: np.ndarray) -> np.ndarray:
                image = Image.fromarray(pixels)
                return np.asarray(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3))

            alpha = None if photo.alpha is None else small(photo.alpha)
            self._copies[side] = replace(photo, pixels=small(visible(photo)), alpha=alpha)
        return self._copies[side]

    def _mask(self, inversion: Inversion) -> Tensor | None:
        """The region of the settings' mask, remembered until mask or face change."""
        settings = self.settings
        key = (settings.mask, settings.painted, settings.face, self.number, self.model)
        if self._region is None or self._region[0] != key:
            word = settings.mask_word
            mask = self._painted() if word == MASK_FILE else word
            self._region = (key, edit_region(mask, inversion.faces))
        return self._region[1]

    def _photo_mask(self, width: int, height: int) -> Tensor | None:
        """The painted mask over a copy of the photo, (1, 1, height, width); None for others."""
        if self.settings.mask_word != MASK_FILE:
            return None
        grey = np.array(painted_at(self.settings.painted, width, height))
        return torch.from_numpy(grey / np.float32(255))[None, None]

    def _painted(self) -> Image.Image:
        """The painted mask at the photo's size, grey."""
        height, width = self._open().photo.pixels.shape[:2]
        return painted_at(self.settings.painted, width, height)


def _inversion_bytes(inversion: Inversion) -> int:
    total = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    inversion.map(count)
    return total + sum(face.pixels.numel() * 4 for face in inversion.faces)
