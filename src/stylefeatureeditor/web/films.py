"""Films of visitors: a clip on the disk, and the edited film that is made of it.

Films are made one after another, in a thread of their own that has the machine for a frame at a
time: between two frames, steps that wait are done. Every clip has a folder in that of this
program, which goes when the program ends; if it was killed, when the next one starts.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout
from PIL import Image, UnidentifiedImageError

from stylefeatureeditor.errors import SfeError, VideoError
from stylefeatureeditor.photo.image import DAMAGED
from stylefeatureeditor.video.editing import edit_video
from stylefeatureeditor.video.reading import open_clip
from stylefeatureeditor.video.tracks import scan, smooth
from stylefeatureeditor.video.writing import ANIMATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.photo.result import Blend
    from stylefeatureeditor.video.editing import Progress
    from stylefeatureeditor.video.reading import Frame
    from stylefeatureeditor.video.tracks import Scan
    from stylefeatureeditor.web.limits import Limits
    from stylefeatureeditor.web.loaded_models import Models

CLIPS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".3gp")
PREFIX = "sfe-films-"


def is_clip(content: bytes, name: str) -> bool:
    """Return whether a file is to be opened as a film: by its name, or because it moves."""
    suffix = PurePath(name).suffix.lower()
    if suffix in ANIMATIONS and find_spec("av"):
        with suppress(UnidentifiedImageError, *DAMAGED), Image.open(BytesIO(content)) as picture:
            return getattr(picture, "n_frames", 1) > 1
    return suffix in CLIPS


class Turns:
    """The machine: one at a time has it, in the order in which they came."""

    def __init__(self) -> None:
        self._machine, self._next = threading.Lock(), threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the machine while the block runs."""
        with self._next:  # who lets go and comes again stands behind the one who waits here
            self._machine.acquire()
        try:
            yield
        finally:
            self._machine.release()


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """What is to be made of a clip, as a visitor set it up on one frame.

    Attributes:
        model: name or folder.
        edits: direction -> strength.
        face: landmarks (68, 2) of the one who is edited; None is everyone.
        time: tick of the frame that they were found in.
        mask: "face" or "none".
        blend: as `edit_video`.
    """

    model: str
    edits: Mapping[str, float]
    face: np.ndarray | None
    time: int
    mask: str
    blend: Blend | None


class Film:
    """A visitor's clip, and how far the film of it has come.

    Attributes:
        name: file name as the visitor knows it.
        folder: holds the clip, and what is made of it; it lies in the visitor's own folder.
        stage: "" if nothing was asked for, "waiting", a stage of `edit_video`, or "ready".
        seconds: its length; 0 if that is not known.
        notes: what is converted, in sentences.
        done: frames of the stage.
        total: frames of the film; None if that is not known yet.
        order: what is being made, or waits for that; None if nothing does.
        error: why the last film came to nothing.
    """

    def __init__(self, content: bytes, name: str, limits: Limits, place: Path) -> None:
        self.name, self.limits = name, limits
        self.folder = Path(tempfile.mkdtemp(dir=place))
        suffix = PurePath(name).suffix.lower()
        self.path = self.folder / f"clip{suffix}"
        self.made = self.folder / f"edited{suffix if suffix in ANIMATIONS else '.mp4'}"
        self.stage, self.done = "", 0
        self.order: Order | None = None
        self.error: Exception | None = None
        self._began, self._skipped = 0.0, 0
        self._found: Scan | None = None
        try:
            self.path.write_bytes(content)
            with self._by_its_name():
                self.clip = open_clip(self.path)
                self.total, self.seconds = self.clip.expected, self.clip.seconds
                self.notes = " ".join(self.clip.notes).replace(str(self.path), name)
                self._check(self.total or 0)
        except OSError as error:
            self.remove()
            raise VideoError(f"{name} cannot be kept: {error.strerror or error}") from error
        except BaseException:
            self.remove()
            raise

    def frame(self, second: float) -> Frame:
        """Return the frame that is shown at a second."""
        with self._by_its_name():
            frame = self.clip.frame_at(second)
        height, width = frame.pixels.shape[:2]
        if height * width > self.limits.film_pixels:
            raise VideoError(
                f"{self.name} has frames of {width} x {height}, and this page takes "
                f"{self.limits.film_pixels / 1e6:g} megapixels: make it smaller first"
            )
        return frame

    def make(self, editor: Editor, order: Order, progress: Progress) -> None:
        """Write the edited film, as `sfe video` does; frame by frame."""
        clip, speed = self.clip, float(self.clip.rate)

        def scanned(done: int) -> None:
            progress("finding faces", done, clip.expected)

        with self._by_its_name():
            found = self._found = self._found or scan(clip.frames(), speed, progress=scanned)
            number: Literal["all"] | int = "all"
            if order.face is not None:
                tracks = smooth(found, speed, editor.method.config.framing)
                number = tracks.face_at(order.time, order.face)
            edit_video(
                editor,
                self.path,
                dict(order.edits.items()),
                self.made,
                face=number,
                mask=order.mask,
                blend=order.blend,
                batch_size=1,
                found=found,
                progress=progress,
            )
            try:
                self._check(0)  # with what the encoder held back until its end
            except VideoError:
                self.made.unlink(missing_ok=True)
                raise

    def note(self, order: Order, stage: str, done: int, total: int | None) -> None:
        """Note how far an order has come; end it if nobody wants it or it takes too much."""
        if self.order is not order:
            raise StoppedError
        self._check(done)
        if stage != self.stage:
            self._began, self._skipped = time.monotonic(), done
        self.stage, self.done, self.total = stage, done, total

    def told(self) -> dict[str, Any]:
        """Return what the page shows of the work."""
        drawn = self.done - self._skipped
        pace = (time.monotonic() - self._began) / drawn if drawn > 0 else None
        left = pace * (self.total - self.done) if pace and self.total else None
        return {"stage": self.stage, "done": self.done, "total": self.total, "left": left}

    def want(self, order: Order) -> None:
        """Have it made; what was made before is forgotten."""
        if self.order is not None:
            raise VideoError("this film is being made already: cancel that first")
        self.made.unlink(missing_ok=True)
        self.order, self.stage, self.done, self.error = order, "waiting", 0, None

    def end(self, order: Order, error: Exception | None = None) -> None:
        """Note that an order is done; one that came later goes on."""
        if self.order is order:
            self.order, self.error = None, error
            self.stage = "" if error else "ready"

    def stop(self) -> None:
        """Have it no longer made; whole segments are kept for the next time."""
        if self.order is not None:
            self.order, self.stage = None, ""

    def bytes(self) -> int:
        """Return what the folder takes on the disk."""
        return _folder_bytes(self.folder)

    def scan_bytes(self) -> int:
        """Return the memory that the faces found in it take."""
        found = () if self._found is None else vars(self._found).values()
        return sum(getattr(value, "nbytes", 0) for value in found)

    def forget_scan(self) -> None:
        """Let the faces go, unless a film is being made; they are found again when needed."""
        if self.order is None:
            self._found = None

    def remove(self) -> None:
        """Remove it from the disk."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check(self, frames: int) -> None:
        if frames > self.limits.film_frames:
            raise VideoError(
                f"{self.name} has more frames than the {self.limits.film_frames} that this page "
                "takes: cut it first, or use `sfe video`"
            )
        if _folder_bytes(self.folder.parent) > self.limits.disk_bytes // 4:
            raise VideoError(f"{self.name} takes more room than this page has: cut it first")

    @contextmanager
    def _by_its_name(self) -> Iterator[None]:
        """Let errors speak of the file as the visitor knows it."""
        try:
            yield
        except SfeError as error:
            said = str(error).replace(str(self.path), self.name)
            raise type(error)(said.replace(str(self.made), "the film")) from error


class StoppedError(Exception):
    """Nobody wants the film any more."""


class Films:
    """The films that are being made, and the place of all clips."""

    def __init__(self, models: Models) -> None:
        self.models, self.machine = models, Turns()
        self._line: list[tuple[Film, Order]] = []  # the first is being made
        self._thread = ThreadPoolExecutor(1, "films")
        self._place: Path | None = None
        _remove_leftovers()

    def place(self) -> Path:
        """Return the folder of all clips; its lock lies beside it, and is older."""
        if self._place is None:
            lock = FileLock(tempfile.mktemp(".lock", PREFIX), thread_local=False)
            lock.acquire()
            self._place = Path(lock.lock_file).with_suffix("")
            self._place.mkdir(mode=0o700)
            self._end = weakref.finalize(self, _remove, self._place, lock)
        return self._place

    def start(self, film: Film, order: Order) -> None:
        """Have a film made, after those that were asked for before."""
        film.want(order)
        self._line.append((film, order))
        self._thread.submit(self._make, film, order)

    def ahead(self, film: Film) -> int:
        """Return how many films are made before this one."""
        wanted = [one for one, order in list(self._line) if one.order is order]
        return wanted.index(film) if film in wanted else 0

    def _make(self, film: Film, order: Order) -> None:
        with ExitStack() as turn:

            def tell(stage: str, done: int, total: int | None) -> None:
                turn.close()
                film.note(order, stage, done, total)
                if stage != "joining":  # which takes no network
                    turn.enter_context(self.machine.turn())

            try:
                tell("waiting", 0, None)
                film.make(self.models.editor(order.model), order, tell)
                film.end(order)
            except StoppedError:
                pass
            except Exception as error:  # noqa: BLE001 (the visitor is told)
                film.end(order, error)
            self._line.remove((film, order))

    def close(self) -> None:
        """End all work and remove all clips."""
        for film, _ in list(self._line):
            film.stop()
        self._thread.shutdown(cancel_futures=True)
        if self._place is not None:
            self._end()


def _folder_bytes(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # a part that was renamed
            sizes += path.stat().st_size
    return sizes


def _remove(place: Path, lock: FileLock) -> None:
    shutil.rmtree(place, ignore_errors=True)
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)


def _remove_leftovers() -> None:
    """Remove the folders of programs that were killed: nobody holds their locks."""
    for file in Path(tempfile.gettempdir()).glob(f"{PREFIX}*.lock"):
        with suppress(OSError, Timeout):
            lock = FileLock(file)
            lock.acquire(blocking=False)
            _remove(file.with_suffix(""), lock)
