"""What the commands write: results on stdout; warnings and progress on stderr."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.files import readable_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

QUIET_SECONDS = 2.0  # work shorter than this shows no bar
TICK_SECONDS = 0.2
BAR_WIDTH = 24


def print_json(content: Any) -> None:
    """Write `content` as indented JSON."""
    print(json.dumps(content, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Write rows in columns as wide as their longest entry; the last column is left ragged."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print((indent + "  ".join(cells)).rstrip())


def say_error(sentence: object) -> None:
    """Write one line on stderr."""
    print(f"sfe: {' '.join(str(sentence).split())}", file=sys.stderr)


def warn(sentence: str) -> None:
    """Write a warning, one line on stderr."""
    say_error(f"warning: {sentence}")


class Progress:
    """A bar on stderr for work of more than two seconds; nothing where stderr is no terminal.

    A thread draws it, so the seconds count on while one step takes long.

    Args:
        label: what is being done.
        total: steps or bytes in all; None if not known.
        in_bytes: the steps are bytes.
        pace: what the steps are called, to say how many come a second, and the time left.
    """

    def __init__(
        self, label: str, total: int | None = None, *, in_bytes: bool = False, pace: str = ""
    ) -> None:
        self.label, self.done, self.total, self.in_bytes = label, 0, total, in_bytes
        self.pace, self._first = pace, 0
        self._start = time.monotonic()
        self._stop = threading.Event()
        self._drawing = threading.Lock()
        self._is_drawn = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._erase()

    def update(self, done: int, total: int | None = None) -> None:
        """Note that `done` steps are done, of `total` if that is known by now."""
        self.done = done
        self.total = self.total if total is None else total

    def begin(self, label: str, done: int) -> None:
        """Begin another stage, of which `done` steps were done before."""
        self.label, self.done, self._first = label, done, done
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """Write a line on stdout above the bar."""
        self._erase()
        print(text, flush=True)

    def line(self) -> str:
        """Return the bar as text."""
        show = readable_size if self.in_bytes else str
        seconds = f"{time.monotonic() - self._start:.0f} s"
        if not self.total:
            return f"{self.label}  {show(self.done) + '  ' if self.done else ''}{seconds}"
        filled = min(BAR_WIDTH, BAR_WIDTH * self.done // self.total)
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        line = f"{self.label}  [{bar}] {show(self.done)} of {show(self.total)}  {seconds}"
        if self.pace and self.done > self._first:
            rate = (self.done - self._first) / (time.monotonic() - self._start)
            left = (self.total - self.done) / rate
            line += f", {left:.0f} s left  {rate:.3g} {self.pace}/s"
        return line

    def _run(self) -> None:
        self._stop.wait(QUIET_SECONDS)
        while not self._stop.wait(TICK_SECONDS):
            with self._drawing:
                print(f"\r\x1b[K{self.line()}", end="", file=sys.stderr, flush=True)
                self._is_drawn = True

    def _erase(self) -> None:
        with self._drawing:
            if self._is_drawn:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
                self._is_drawn = False
