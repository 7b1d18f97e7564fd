"""All visitors of the page, within its limits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stylefeatureeditor.web.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stylefeatureeditor.web.loaded_models import Models
    from stylefeatureeditor.web.opened import Limits


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
