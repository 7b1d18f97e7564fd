"""Ending a run on SIGTERM or SIGINT without losing the step under way."""

from __future__ import annotations

import logging
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

ECHO_SECONDS = 2.0  # launchers pass on a Ctrl-C that the terminal has sent already


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Give an event that SIGTERM or SIGINT sets.

    A second signal, unless it is the echo of the first, acts as it did before the block. Outside
    the main thread no handler can be set, and the event stays unset.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    first = 0.0

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, _frame: object) -> None:
        nonlocal first
        if not stop.is_set():
            first = time.monotonic()
            stop.set()
            log.warning("%s: finishing the step, then saving", signal.Signals(number).name)
        elif time.monotonic() - first > ECHO_SECONDS:
            restore()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()
