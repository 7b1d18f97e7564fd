"""One photo of a visitor: its faces, what is done to each, and the steps that can be undone.

The photo that crops are pasted into is a small copy, as large as a screen shows, and while a slider
moves a slow model draws previews; crops much finer than they are shown are halved first.
`result` does none of it. A face that nothing is done to passes no network.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stylefeatureeditor.directions.strip import strip_of
from stylefeatureeditor.editing.direction_names import check_sizes
from stylefeatureeditor.errors import (
    ConfigError,
    DirectionError,
    FaceError,
    MaskError,
    PhotoError,
    ShapeError,
)
from stylefeatureeditor.masks.edit_mask import find_region
from stylefeatureeditor.photo.align import whole_photo_as_face
from stylefeatureeditor.photo.image import to_picture, visible
from stylefeatureeditor.photo.result import EditResult
from stylefeatureeditor.photo.session_file import FaceEdits, SavedPhoto, painted_at
from stylefeatureeditor.web.films import Film, Order
from stylefeatureeditor.web.opened import (
    open_frame,
    open_inversion,
    open_photo,
    open_saved,
    placed,
)
from stylefeatureeditor.web.settings import INVERSION_SUFFIX, Settings
from stylefeatureeditor.web.slider_preview import SliderPreview, no_finer_than_shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.masks.edit_mask import Region
    from stylefeatureeditor.records import Photo
    from stylefeatureeditor.web.limits import Limits
    from stylefeatureeditor.web.loaded_models import Models
    from stylefeatureeditor.web.opened import Opened
    from stylefeatureeditor.web.slider_preview import Pace

SMALL_SIDE = 160  # px of a photo in the film strip
STRIP = 7  # strengths of a strip, at most
FACE_SIDE = 96  # px of a face's small picture


@dataclass(frozen=True)
class Drawing:
    """What one step shows.

    Attributes:
        before: the photo, or the crop if only the crop is wanted; at most `side` pixels long.
        after: the same, edited.
        seconds: the whole step took.
        result: what was drawn; None if nothing is done to any face.
        is_preview: the model did not draw its finest layers.
        is_crop: a face alone is shown.
    """

    before: Image.Image
    after: Image.Image
    seconds: float
    result: EditResult | None = None
    is_preview: bool = False
    is_crop: bool = False


class Session:
    """One photo of a visitor."""

    def __init__(
        self, models: Models, limits: Limits, model: str | None = None, number: int = 1
    ) -> None:
        self.models, self.limits, self.number = models, limits, number
        self.model = models.first() if model is None else model
        self.opened: Opened | None = None
        self.preview = SliderPreview()
        self.settings = Settings()
        self.past: list[Settings] = []
        self.future: list[Settings] = []
        self.small: Image.Image | None = None  # the photo as the film strip shows it
        self._photo: Photo | None = None
        self._inversions: dict[int, Inversion] = {}
        self._copies: dict[int, Photo] = {}
        self._regions: dict[int, tuple[object, Region]] = {}
        self._drawn: dict[int, tuple[object, EditResult]] = {}

    @property
    def editor(self) -> Editor:
        """The editor of the chosen model."""
        return self.models.editor(self.model)

    @property
    def name(self) -> str:
        """The name of the photo's file."""
        return self._open().name

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the photo."""
        return self._open().size

    @property
    def is_inversion(self) -> bool:
        """Whether an inversion file was opened, which only its model can edit."""
        return self.opened is not None and self.opened.inversion is not None

    @property
    def is_film(self) -> bool:
        """Whether the photo is a frame of a film."""
        return self.opened is not None and self.opened.film is not None

    @property
    def photo(self) -> Photo:
        """The photo; it is read again if its pixels were let go."""
        if self._photo is None:
            self._photo = self._open().read(self.limits)
        return self._photo

    def open(self, content: bytes, name: str, *, aligned: bool = False) -> None:
        """Open a photo or an inversion file; on an error the one before stays."""
        if name.lower().endswith(INVERSION_SUFFIX):
            opened, photo = open_inversion(content, name, self.limits)
            assert opened.inversion is not None
            try:
                self.editor.method.take(opened.inversion)
            except ShapeError as error:
                raise ShapeError(
                    f"{name} was made by another model than {self.model}: choose that model, or "
                    "open the photo"
                ) from error
        else:
            opened, photo = open_photo(content, name, self.limits, aligned=aligned)
        self._take(opened, photo, Settings())

    def open_film(self, content: bytes, name: str, place: Path) -> None:
        """Open the first frame of a clip, which is kept in a folder of its own in `place`."""
        film = Film(content, name, self.limits, place)
        try:
            self._take(*open_frame(film, 0, self.limits), Settings())
        except BaseException:
            film.remove()
            raise

    @property
    def film(self) -> Film:
        """The film whose frame is shown."""
        film = self._open().film
        if film is None:
            raise PhotoError("this is a photo: open a film first")
        return film

    def show_frame(self, second: Any) -> None:
        """Show the film's frame at a second; edits and steps stay."""
        if not isinstance(second, (int, float)) or not 0 <= second < 1e6:
            raise ConfigError("a frame is chosen by its second")
        opened, photo = open_frame(self.film, second, self.limits)
        settings, past, future = self.settings, self.past, self.future
        if settings.face != "all" and settings.face > max(1, opened.count):
            settings = replace(settings, face=1)
        self._take(opened, photo, settings)
        self.past, self.future = past, future

    def order(self) -> Order:
        """Return the film that the edits of the shown frame ask for."""
        opened, edited = self._open(), self.settings.edited
        if not edited:
            raise DirectionError("move a slider first: the film would be the clip itself")
        face, done = next(iter(edited.items()))
        is_one = len(edited) == 1
        everyone = dict.fromkeys(range(1, opened.count + 1), done)
        if face > opened.count or not (is_one or edited == everyone):
            raise FaceError(
                "a film takes the edits of one face of the frame, or the same ones for all its "
                "faces: reset those of the others, or choose All faces"
            )
        if done.mask == "painted":
            raise MaskError("faces move, and paint does not: choose another place for the edits")
        return Order(
            model=self.model,
            edits=done.edits,
            face=opened.landmarks[face - 1] if is_one else None,
            time=opened.time,
            mask=done.mask,
            blend=self.settings.blend,
        )

    def open_saved(self, saved: SavedPhoto) -> None:
        """Open a photo as it was saved."""
        for done in saved.faces.values():
            if done.painted:
                painted_at(done.painted, 8, 8)
        settings = Settings(faces=saved.faces, face=saved.face, blend=saved.blend)
        self._take(*open_saved(saved, self.limits), settings)
        self.settings = self.checked(settings, forget_unknown=True)

    def saved(self) -> SavedPhoto:
        """Return what `open_saved` takes."""
        opened, settings = self._open(), self.settings
        if opened.inversion is not None:
            raise PhotoError(f"{opened.name} is a saved file already: open its photo to save more")
        if opened.film is not None:
            raise PhotoError(f"{opened.name} is a film, and a session holds photos alone")
        return SavedPhoto(
            name=opened.name,
            content=opened.content,
            turns=opened.turns,
            aligned=opened.aligned,
            landmarks=opened.landmarks,
            faces=settings.faces,
            face=settings.face,
            blend=settings.blend,
        )

    def turn(self) -> None:
        """Turn the photo by a quarter to the left; edits and steps start anew."""
        self._take(*self._open().turned(self.limits), Settings())

    def point_at(self, box: tuple[float, float, float, float]) -> None:
        """Add the face in a box, given in parts of the photo, and take it in hand."""
        opened, settings = self._open().with_face(box, self.limits), self.settings
        self.opened = opened
        self.settings = replace(settings, face=opened.count)

    def choose_model(self, name: str) -> None:
        """Take another model; the photo stays, edits that it does not know go."""
        self.models.editor(name)
        if self.is_inversion and name != self.model:
            raise PhotoError(f"{self.name} belongs to model {self.model}: close it first")
        self.model, self.preview.seconds = name, 0.0
        self.forget_inversions()
        self.past, self.future = [], []
        self.settings = self.checked(self.settings, forget_unknown=True)

    def pick(self, face: Any) -> None:
        """Take a face in hand, or "all"; no step of its own."""
        self.settings = self.checked(replace(self.settings, face=face))

    def change(self, **values: Any) -> None:
        """Do one step that can be undone.

        Args:
            values: fields of `FaceEdits` for the faces in hand; `moved`, strengths of some edits
                beside the others; `blend`.
        """
        settings = self._changed(values)
        if settings != self.settings:
            self.past = [*self.past, self.settings][-self.limits.steps :]
            self.future = []
            self.settings = settings

    def go(self, steps: Any) -> None:
        """Undo steps, or take that back where the number is above 0; as far as there are any."""
        line = [*self.past, self.settings, *reversed(self.future)]
        place = len(self.past) + (steps if isinstance(steps, int) else 0)
        place = max(0, min(place, len(line) - 1))
        self.past, self.settings, self.future = line[:place], line[place], line[:place:-1]

    def in_hand(self, settings: Settings | None = None) -> list[int]:
        """Return the faces that sliders act on."""
        count = self.opened.count if self.opened else 1
        face = (settings or self.settings).face
        return list(range(1, count + 1)) if face == "all" else [face][:count]

    def checked(self, settings: Settings, *, forget_unknown: bool = False) -> Settings:
        """Return settings that came from outside, without edits of strength 0."""
        count = self.opened.count if self.opened else 1
        known = {entry.name for entry in self.editor.directions.entries}
        if settings.face != "all" and not (
            type(settings.face) is int and 1 <= settings.face <= max(1, count)
        ):
            raise FaceError(f"there is no face {settings.face!r} in this photo, it has {count}")
        faces = {}
        for face, done in settings.faces.items():
            edits = {}
            for name, strength in done.edits.items():
                if not isinstance(strength, (int, float)) or isinstance(strength, bool):
                    raise DirectionError(f"{name}: a strength must be a number")
                check_sizes(name, [strength])
                if strength and not (forget_unknown and name not in known):
                    edits[self.editor.directions.find(name).name] = float(strength)
            if replace(done, edits=edits) != FaceEdits():
                faces[face] = replace(done, edits=edits)
        return replace(settings, faces=faces)

    def prepare(self) -> Pace:
        """Do what the first moving slider would wait for; return how the picture will follow it."""
        for face in self.in_hand() if self.opened else []:
            inversion = self.inversion(face)
            if inversion.pixels is None:
                self.preview.draw(self.editor, inversion, {})
            self.preview.prepare(self.editor, inversion)
        return self.preview.pace(self.editor)

    def draw(self, side: int, moved: Mapping[str, float] | None = None) -> Drawing:
        """Return the pictures of the settings.

        Args:
            side: longest side of the pictures, in pixels.
            moved: a slider that is moving, and its strength; of a slow model the faces in hand
                are previews.
        """
        start = time.perf_counter()
        settings = self.settings if moved is None else self._changed({"moved": moved})
        drafts = moved is not None and self.preview.pace(self.editor) == "preview"
        copy, in_hand = self._copy(side), self.in_hand(settings)
        before = after = to_picture(copy.pixels, copy, copy.alpha)
        blend = settings.blend or self.editor.method.config.blend
        faces = settings.edited
        if blend == "none" and in_hand:
            faces = {in_hand[0]: settings.of(in_hand[0])}
        parts = [
            self._draw_face(face, done, settings, copy, drafts=drafts and face in in_hand)
            for face, done in faces.items()
        ]
        result = EditResult.join(parts) if parts else None
        if result is not None and blend == "none":
            after = result.crop
            before = EditResult(result.inversion.faces[0].pixels, result.inversion).crop
        elif result is not None:
            after = no_finer_than_shown(result, times=1 if drafts else 2).photo
        seconds = time.perf_counter() - start
        return Drawing(before, after, seconds, result, drafts, blend == "none")

    def result(self) -> EditResult | None:
        """Return the edit at the photo's own size, as `sfe edit` draws it; None without edits."""
        parts = [
            self._draw_face(face, done, self.settings, self.photo)
            for face, done in self.settings.edited.items()
        ]
        return EditResult.join(parts) if parts else None

    def whole(self) -> Image.Image:
        """Return the edited photo at its own size."""
        result = self.result()
        if result is not None:
            return result.photo
        return to_picture(self.photo.pixels, self.photo, self.photo.alpha)

    def growing(self, side: int, frames: int) -> list[Image.Image]:
        """Return the photo as all its edits grow from nothing, at most `side` pixels long."""
        if not self.settings.edited:
            raise DirectionError("move a slider first: there is nothing that could grow")
        kept, pictures = self.settings, []
        try:
            for frame in range(frames):
                part = frame / (frames - 1)
                self.settings = replace(
                    kept,
                    faces={
                        face: replace(done, edits={n: part * s for n, s in done.edits.items()})
                        for face, done in kept.edited.items()
                        if part
                    },
                )
                pictures.append(self.draw(side).after)
        finally:
            self.settings = kept
        return pictures

    def strip(self, name: str | None) -> Image.Image:
        """Return the face with a direction from one end of its useful range to the other."""
        if not name:
            raise DirectionError("choose an edit first")
        entry = self.editor.directions.find(name)
        if self.settings.face == "all" and self._open().count > 1:
            raise FaceError("a strip shows one face: choose it first")
        face = self.in_hand()[0] if self.in_hand() else 1
        done = self.settings.of(face)
        inversion = placed(self.inversion(face), self.photo, self._open().size)
        region = find_region(done.region(*self._open().size), inversion.faces, 1).crops
        strengths = round_steps(*entry.useful_range)
        return strip_of(
            self.editor, inversion, entry.name, strengths, edits=done.edits, mask=region
        )

    def show_direction(self, name: str) -> Image.Image:
        """Return the face in hand with nothing but one direction, at the far end of its range."""
        entry = self.editor.directions.find(name)
        inversion = self.inversion(self.in_hand()[0])
        end = entry.useful_range[1] or entry.useful_range[0]
        shown = {entry.name: end}
        result = self.preview.draw(self.editor, inversion, shown, blend="none", draft=True)
        side = result.crop.width  # what stands around a face tells nothing of an edit
        face = result.crop.crop((side // 8, side // 6, side * 7 // 8, side * 11 // 12))
        return face.resize((FACE_SIDE, FACE_SIDE), Image.Resampling.LANCZOS)

    def face_pictures(self) -> list[Image.Image]:
        """Return each face of the unedited photo, small."""
        copy, pictures = self._copy(1024), []
        height, width = copy.pixels.shape[:2]
        image, scale = Image.fromarray(visible(copy)), width / self._open().size[0]
        for quad in self._open().quads(self.editor.method.config.framing):
            centre, half = quad.mean(axis=0) * scale, np.hypot(*(quad[3] - quad[0])) * scale * 0.36
            x, y = centre.clip(0, (width, height))
            box = (x - half, y - half, x + half, y + half)
            pictures.append(image.crop(tuple(map(round, box))).resize((FACE_SIDE, FACE_SIDE)))
        return pictures

    def inversion(self, face: int) -> Inversion:
        """Return the inversion of a face, computing it if it is not known; without its photo."""
        opened, editor = self._open(), self.editor
        if not 1 <= face <= opened.count:
            raise FaceError(f"there is no face {face} in this photo, it has {opened.count}")
        if face not in self._inversions:
            if opened.inversion is not None:
                inversion = opened.inversion[face - 1]
            else:
                crop = (
                    whole_photo_as_face(self.photo, editor.size)
                    if opened.aligned
                    else editor.align(self.photo, face=(opened.landmarks[face - 1],))[0]
                )
                inversion = editor.method.invert(crop.pixels)
                inversion.faces = (crop,)
            nothing = np.zeros((1, 1, 3), np.uint8)
            faces = tuple(replace(one, photo=nothing) for one in inversion.faces)
            self._inversions[face] = replace(inversion, faces=faces, source=None)
        return self._inversions[face]

    def bytes(self) -> int:
        """Return the memory that the file, pixels, copies, drawings and inversions take."""
        total = sum(_inversion_bytes(known) for known in self._inversions.values())
        total += sum(map(_photo_bytes, self._copies.values())) + self.preview.bytes()
        total += sum(drawn.pixels.nbytes for _, drawn in self._drawn.values())
        total += 0 if self._photo is None else _photo_bytes(self._photo)
        if self.opened is not None:
            total += self.file_bytes()
        return total + (self.film.scan_bytes() if self.is_film else 0)

    def file_bytes(self) -> int:
        """Return the part of `bytes` that cannot be let go without losing the photo."""
        opened = self._open()
        if opened.inversion is None:
            return len(opened.content)
        source = opened.inversion.source
        return _inversion_bytes(opened.inversion) + (0 if source is None else _photo_bytes(source))

    def forget_inversions(self) -> None:
        """Let inversions, drawings and small copies go; they are made again when needed."""
        for known in (self._inversions, self._drawn, self._regions, self._copies):
            known.clear()
        self.preview.forget()

    def forget_pixels(self) -> None:
        """Let the photo's pixels go as well; the file stays."""
        self.forget_inversions()
        self._photo = None
        if self.is_film:
            self.film.forget_scan()

    def _take(self, opened: Opened, photo: Photo, settings: Settings) -> None:
        self.forget_inversions()
        self.opened, self._photo, self.settings = opened, photo, settings
        self.past, self.future = [], []
        self.small = Image.fromarray(visible(photo))
        self.small.thumbnail((SMALL_SIDE, SMALL_SIDE), reducing_gap=2)

    def _changed(self, values: Mapping[str, Any]) -> Settings:
        """The settings after a step; arguments as `change`."""
        own = {key: value for key, value in values.items() if key not in ("moved", "blend")}
        settings = self.settings
        if "blend" in values:
            settings = replace(settings, blend=values["blend"])
        faces = dict(settings.faces)
        for face in self.in_hand(settings):
            done = replace(settings.of(face), **own)
            faces[face] = replace(done, edits={**done.edits, **values.get("moved", {})})
        return self.checked(replace(settings, faces=faces))

    def _draw_face(
        self, face: int, done: FaceEdits, settings: Settings, photo: Photo, *, drafts: bool = False
    ) -> EditResult:
        """One face as the networks draw it, placed in the photo or a copy of it."""
        inversion = self.inversion(face)
        here = placed(inversion, photo, self._open().size)
        size_counts = done.mask == "painted"
        key = (done.mask, done.painted, photo.pixels.shape if size_counts else None)
        if face not in self._regions or self._regions[face][0] != key:
            height, width = photo.pixels.shape[:2]
            drawn = done.region(width, height)
            self._regions[face] = key, find_region(drawn, here.faces, 1)
        region = self._regions[face][1]
        known = (settings.blend, tuple(done.edits.items()), drafts, *key)
        if face not in self._drawn or self._drawn[face][0] != known:
            how = done.edits, region.crops, settings.blend
            self._drawn[face] = known, self.preview.draw(self.editor, inversion, *how, draft=drafts)
        result = self._drawn[face][1]
        here = replace(here, pixels=inversion.pixels)
        return replace(result, inversion=here, photo_mask=region.photo)

    def _open(self) -> Opened:
        if self.opened is None:
            raise PhotoError("open a photo first")
        return self.opened

    def _copy(self, side: int) -> Photo:
        """The photo at most `side` pixels long."""
        if side in self._copies:
            return self._copies[side]
        photo = self.photo
        height, width = photo.pixels.shape[:2]
        scale = side / max(height, width)
        if scale >= 1:
            return photo
        size = (max(1, round(width * scale)), max(1, round(height * scale)))

        def small(pixels: np.ndarray) -> np.ndarray:
            image = Image.fromarray(pixels)
            return np.asarray(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3))

        alpha = None if photo.alpha is None else small(photo.alpha)
        self._copies[side] = replace(photo, pixels=small(visible(photo)), alpha=alpha)
        return self._copies[side]


def round_steps(low: float, high: float) -> list[float]:
    """Return at most STRIP round strengths of a range, equally far apart, 0 among them."""
    low, high = min(low, 0.0), max(high, 0.0)
    for size in (x * 10.0**power for power in range(-2, 4) for x in (1, 2, 2.5, 5)):
        first, last = -int(-low / size + 1e-9), int(high / size + 1e-9)
        if last - first < STRIP:
            return [round(size * number, 3) for number in range(first, last + 1)]
    return [0.0]


def _photo_bytes(photo: Photo) -> int:
    return photo.pixels.nbytes + (0 if photo.alpha is None else photo.alpha.nbytes)


def _inversion_bytes(inversion: Inversion) -> int:
    total = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    inversion.map(count)
    return total + sum(face.pixels.numel() * 4 for face in inversion.faces)
