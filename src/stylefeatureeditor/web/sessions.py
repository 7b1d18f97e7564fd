"""All visitors of the page, within its limits."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from stylefeatureeditor.web.visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        self._visits: OrderedDict[str, Visit] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._visits)

    @contextmanager
    def use(self, key: str) -> Iterator[Visit]:
        """Give the block one visitor's photos, made if they are not there, and the machine alone.

        Afterwards memory is within the limits again.
        """
        with self._lock:
            visit = self._visits.pop(key, None) or Visit(self.models, self.limits)
            self._visits[key] = visit
            visit.last_seen = time.monotonic()
            while len(self._visits) > self.limits.sessions or self._oldest_is_gone():
                self._visits.popitem(last=False)
            try:
                yield visit
            finally:
                self._trim(visit)

    def bytes(self) -> int:
        """Return the memory that photos and inversions take."""
        return sum(visit.bytes() for visit in self._visits.values())

    def _oldest_is_gone(self) -> bool:
        oldest = next(iter(self._visits.values()))
        return time.monotonic() - oldest.last_seen > self.limits.idle_seconds

    def _trim(self, current: Visit) -> None:
        """Let files for a zip, pixels and inversions go, then photos; the longest idle first."""
        idle = {key: visit for key, visit in self._visits.items() if visit is not current}
        steps: list[Callable[[], object]] = [visit.made.clear for visit in idle.values()]
        steps += [visit.forget_pixels for visit in idle.values()]
        steps.append(partial(current.forget_pixels, but_current=True))
        steps += [partial(self._visits.pop, key) for key in idle]
        steps.append(current.forget_pixels)
        for step in steps:
            if self.bytes() <= self.limits.memory_bytes:
                return
            step()
            give_back_memory()


def give_back_memory() -> None:
    """Return freed memory to the system; glibc keeps what lies between what is still used."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
