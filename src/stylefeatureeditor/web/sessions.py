"""All visitors of the page, within its limits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.web.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stylefeatureeditor.web.loaded_models import Models


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


class Sessions:
    """The visitors by the secret that their page made up; one of them works at a time.

    Args:
        models: where editors come from.
        limits: bounds for all together.
    """

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models, self.limits = models, limits
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    @contextmanager
    def use(self, key: str) -> Iterator[Session]:
        """Give the block one visitor's session, made if it is not there, and the machine alone.

        Afterwards memory is within the limits again.
        """
        with self._lock:
            session = self._sessions.pop(key, None) or Session(self.models, self.limits)
            self._sessions[key] = session
            while len(self._sessions) > self.limits.sessions:
                self._sessions.popitem(last=False)
            try:
                yield session
            finally:
                self._trim(session)

    def close(self, key: str) -> None:
        """Forget a visitor who has left."""
        with self._lock:
            self._sessions.pop(key, None)

    def bytes(self) -> int:
        """Return the memory that photos and inversions take."""
        return sum(session.bytes() for session in self._sessions.values())

    def _trim(self, current: Session) -> None:
        """Let inversions go, then photos, those of the longest idle visitor first."""
        idle = [session for session in self._sessions.values() if session is not current]
        for session in idle:
            if self.bytes() > self.limits.memory_bytes:
                session.forget_inversions()
        for session in idle:
            if self.bytes() > self.limits.memory_bytes:
                session.forget_photo()
        if self.bytes() > self.limits.memory_bytes:
            current.forget_inversions(keep_last=True)
