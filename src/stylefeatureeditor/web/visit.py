"""One visitor: the photos of the film strip, the one in hand, and the model."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import DirectionError, PhotoError
from stylefeatureeditor.photo import SESSION_SUFFIX
from stylefeatureeditor.photo.session_file import load_session
from stylefeatureeditor.web.session import Session
from stylefeatureeditor.web.settings import session_name

if TYPE_CHECKING:
    from stylefeatureeditor.web.loaded_models import Models
    from stylefeatureeditor.web.opened import Limits

# of photos; a page that is open still knows those of visits that are gone
_numbers = itertools.count(time.time_ns() // 1_000_000)


class Visit:
    """One visitor's page.

    Args:
        models: where editors come from.
        limits: what the page may take.
    """

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models, self.limits, self.model = models, limits, models.first()
        self.photos: list[Session] = []
        self.current: Session | None = None
        self.made: list[tuple[str, bytes]] = []  # for the zip that is being made
        self.warning = ""  # of the step that was done last
        self.last_seen = time.monotonic()

    @property
    def photo(self) -> Session:
        """The photo in hand.

        Raises:
            PhotoError: there is none.
        """
        if self.current is None:
            raise PhotoError("open a photo first")
        return self.current

    def open(self, content: bytes, name: str, *, aligned: bool = False, take: bool = False) -> None:
        """Add a photo, an inversion file, or all photos of a saved session.

        Args:
            content: of the file.
            name: as the visitor knows it.
            aligned: the photo is an aligned crop.
            take: take it in hand, also where another is.

        Raises:
            PhotoError: it cannot be read, or the visitor has too many.
            FaceError, WeightsError, ShapeError, DependencyError: as `Session.open`.
        """
        if name.lower().endswith(SESSION_SUFFIX):
            sessions = self._of_session(content, name)
        else:
            sessions = [self._new()]
            sessions[0].open(content, name, aligned=aligned)
        files = sum(session.file_bytes() for session in [*self.photos, *sessions])
        self._check_room(name, len(sessions), files)
        self.photos += sessions
        if take or self.current is None:
            self.current = sessions[0]
        for session in self.photos:
            if session is not self.current:
                session.forget_pixels()

    def _of_session(self, content: bytes, name: str) -> list[Session]:
        saved = load_session(content, name)
        self._check_room(name, len(saved.photos))
        if saved.model in self.models.names() and not self.photos:
            self.model = saved.model
        elif saved.model != self.model:
            self.warning = f"{name} was saved with another model: its pictures may differ."
        sessions = [self._new() for _ in saved.photos]
        for session, photo in zip(sessions, saved.photos, strict=True):
            session.open_saved(photo)
            if session is not sessions[0]:
                session.forget_pixels()
        return sessions

    def _check_room(self, name: str, photos: int, files: int = 0) -> None:
        if len(self.photos) + photos > self.limits.photos or (
            self.photos and files > self.limits.memory_bytes // 2
        ):
            raise PhotoError(
                f"there is no room for {name} beside the photos that are open: download some and "
                "close them first"
            )

    def saveable(self) -> list[Session]:
        """Return the photos that a session can hold: all but opened inversion files."""
        return [session for session in self.photos if not session.is_inversion]

    def session_name(self) -> str:
        """Return the name of the file that a session is saved as."""
        saved = self.saveable()
        return session_name(saved[0].name if len(saved) == 1 else "photos")

    def select(self, number: Any) -> None:
        """Take a photo in hand; the one before keeps its file and its edits."""
        if self.current is not None:
            self.current.forget_pixels()
        self.current = self.find(number)

    def close(self, number: Any) -> None:
        """Forget a photo."""
        session = self.find(number)
        place = self.photos.index(session)
        self.photos.remove(session)
        if self.current is session:
            self.current = self.photos[min(place, len(self.photos) - 1)] if self.photos else None

    def choose_model(self, name: str) -> None:
        """Take another model for all photos; edits that it does not know go.

        Raises:
            WeightsError: there is no such model.
            PhotoError: an inversion file belongs to the one before.
        """
        self.models.editor(name)
        for session in sorted(self.photos, key=lambda one: not one.is_inversion):
            session.choose_model(name)
        self.model = name

    def copy_look(self) -> None:
        """Do to every face of every photo what is done to the first face in hand.

        Raises:
            DirectionError: nothing is done to it.
        """
        done = self.photo.settings.of(self.photo.in_hand()[0])
        if not done.edits:
            raise DirectionError("move a slider first: then all photos can have the same edits")
        for session in self.photos:
            kept = session.settings
            session.settings = replace(kept, face="all")
            session.change(edits=done.edits)
            session.settings = replace(session.settings, face=kept.face)

    def bytes(self) -> int:
        """Return the memory that all photos and what was made of them take."""
        made = sum(len(content) for _, content in self.made)
        return made + sum(session.bytes() for session in self.photos)

    def forget_pixels(self, *, but_current: bool = False) -> None:
        """Let all go that can be made again from the photos' files."""
        for session in self.photos:
            if not (but_current and session is self.current):
                session.forget_pixels()

    def _new(self) -> Session:
        return Session(self.models, self.limits, self.model, next(_numbers))

    def find(self, number: Any) -> Session:
        """Return a photo by its number."""
        for session in self.photos:
            if session.number == number:
                return session
        raise PhotoError("this photo is not open any more")
