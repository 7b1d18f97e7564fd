"""The visitors of the page: the photos of each, the one in hand, the model; all in its limits."""

from __future__ import annotations

import ctypes
import itertools
import shutil
import tempfile
import time
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import DirectionError, PhotoError
from stylefeatureeditor.photo import SESSION_SUFFIX
from stylefeatureeditor.photo.session_file import load_session
from stylefeatureeditor.web.films import Films, is_clip
from stylefeatureeditor.web.session import Session
from stylefeatureeditor.web.settings import session_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stylefeatureeditor.web.limits import Limits
    from stylefeatureeditor.web.loaded_models import Models

# of photos; a page that is open still knows those of visits that are gone
_numbers = itertools.count(time.time_ns() // 1_000_000)


class Visit:
    """One visitor's page."""

    def __init__(self, models: Models, limits: Limits, films: Films | None = None) -> None:
        self.models, self.limits, self.model = models, limits, models.first()
        self.films = films or Films(models)
        self.photos: list[Session] = []
        self.current: Session | None = None
        self.made: list[tuple[str, bytes]] = []  # for the zip that is being made
        self.warning = ""  # of the step that was done last
        self.last_seen = time.monotonic()
        self._folder: Path | None = None

    @property
    def photo(self) -> Session:
        """The photo in hand."""
        if self.current is None:
            raise PhotoError("open a photo first")
        return self.current

    def open(self, content: bytes, name: str, *, aligned: bool = False, take: bool = False) -> None:
        """Add a photo, an inversion file, or all photos of a saved session."""
        if name.lower().endswith(SESSION_SUFFIX):
            sessions = self._of_session(content, name)
        else:
            sessions = [self._new()]
            if is_clip(content, name):
                self._check_room(name, 1, disk=self.disk_bytes() + len(content))
                sessions[0].open_film(content, name, self._place())
            else:
                sessions[0].open(content, name, aligned=aligned)
        files = sum(session.file_bytes() for session in [*self.photos, *sessions])
        try:
            self._check_room(name, len(sessions), files)
        except PhotoError:
            _remove_films(sessions)
            raise
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

    def _check_room(self, name: str, photos: int, files: int = 0, disk: int = 0) -> None:
        if (
            len(self.photos) + photos > self.limits.photos
            or (self.photos and files > self.limits.memory_bytes // 2)
            or disk > self.limits.disk_bytes // 4
        ):
            raise PhotoError(
                f"there is no room for {name} beside the photos that are open: download some and "
                "close them first"
            )

    def saveable(self) -> list[Session]:
        """Return the photos that a session can hold: no inversion files, no films."""
        return [one for one in self.photos if not one.is_inversion and not one.is_film]

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
        _remove_films([session])
        if self.current is session:
            self.current = self.photos[min(place, len(self.photos) - 1)] if self.photos else None

    def choose_model(self, name: str) -> None:
        """Take another model for all photos; edits that it does not know go."""
        self.models.editor(name)
        for session in sorted(self.photos, key=lambda one: not one.is_inversion):
            session.choose_model(name)
        self.model = name

    def copy_look(self) -> None:
        """Do to every face of every photo what is done to the first face in hand."""
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

    def disk_bytes(self) -> int:
        """Return what clips, and what is made of them, take on the disk."""
        return sum(session.film.bytes() for session in self.photos if session.is_film)

    def end(self) -> None:
        """Remove the clips from the disk."""
        _remove_films(self.photos)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _place(self) -> Path:
        """The folder of this visitor's clips: what it holds is bounded together."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(dir=self.films.place()))
        return self._folder

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


def _remove_films(sessions: list[Session]) -> None:
    for session in sessions:
        if session.is_film:
            session.film.remove()


class Sessions:
    """The visitors by the secret that their page made up; one of them works at a time."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models, self.limits, self.films = models, limits, Films(models)
        self._visits: OrderedDict[str, Visit] = OrderedDict()

    def __len__(self) -> int:
        return len(self._visits)

    @contextmanager
    def use(self, key: str) -> Iterator[Visit]:
        """Give the block one visitor's photos, made if they are not there, and the machine alone.

        Afterwards memory is within the limits again.
        """
        with self.films.machine.turn():
            visit = self._visits.pop(key, None) or Visit(self.models, self.limits, self.films)
            self._visits[key] = visit
            visit.last_seen = time.monotonic()
            gone = visit.last_seen - self.limits.idle_seconds
            while (
                len(self._visits) > self.limits.sessions
                or next(iter(self._visits.values())).last_seen < gone
            ):
                self._forget(next(iter(self._visits)))
            try:
                yield visit
            finally:
                self._trim(visit)
                self._trim_disk(visit)

    def bytes(self) -> int:
        """Return the memory that photos and inversions take."""
        return sum(visit.bytes() for visit in self._visits.values())

    def _trim(self, current: Visit) -> None:
        """Let files for a zip, pixels and inversions go, then photos; the longest idle first."""
        idle = {key: visit for key, visit in self._visits.items() if visit is not current}
        steps: list[Callable[[], object]] = [visit.made.clear for visit in idle.values()]
        steps += [visit.forget_pixels for visit in idle.values()]
        steps.append(partial(current.forget_pixels, but_current=True))
        steps += [partial(self._forget, key) for key in idle]
        steps.append(current.forget_pixels)
        for step in steps:
            if self.bytes() <= self.limits.memory_bytes:
                return
            step()
            give_back_memory()

    def _trim_disk(self, current: Visit) -> None:
        """Forget visitors with films, the longest idle first."""
        sizes = {key: visit.disk_bytes() for key, visit in self._visits.items()}
        for key, visit in list(self._visits.items()):
            if sum(sizes.values()) > self.limits.disk_bytes and sizes[key] and visit is not current:
                self._forget(key)
                sizes[key] = 0

    def _forget(self, key: str) -> None:
        self._visits.pop(key).end()


def give_back_memory() -> None:
    """Return freed memory to the system; glibc keeps what lies between what is still used."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
