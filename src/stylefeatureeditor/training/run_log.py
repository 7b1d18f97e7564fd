"""Logs of a run: one JSONL file, TensorBoard, sample pictures, a progress bar.

    FOLDER/log.jsonl            one object per line: kind ("train" or "validate"), step, metrics
           tensorboard/         the same, and the pictures
           samples/00001000.png

A resumed run first cuts the log back to the step it resumes from, so that every step is there once.
The bar shows on a terminal only; otherwise the lines go to `logging`.
"""

from __future__ import annotations

import json
import logging
import math
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import DependencyError, check_shape
from stylefeatureeditor.files import atomic_path
from stylefeatureeditor.photo.image import save_photo, to_uint8

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from rich.progress import Progress, TaskID
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunLog:
    """Open outputs of a run; made by `open_run_log`."""

    folder: Path
    lines: TextIO
    board: SummaryWriter | None
    bar: Progress
    task: TaskID

    def write(self, kind: str, step: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics after `step` steps; a value that is not finite is written as null."""
        plain = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
        self.lines.write(json.dumps({"kind": kind, "step": step, **plain}) + "\n")
        self.lines.flush()
        if self.board is not None:
            for name, value in metrics.items():
                self.board.add_scalar(f"{kind}/{name}", value, step)
        if self.bar.disable:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            log.info("%s step %d: %s", kind, step, shown)

    def picture(self, step: int, pixels: Tensor) -> None:
        """Save a sample grid, (3, H, W) in [-1, 1]."""
        check_shape("samples", pixels, (3, None, None))
        array = to_uint8(pixels[None])[0]
        folder = self.folder / "samples"
        folder.mkdir(exist_ok=True)
        save_photo(array, folder / f"{step:08d}.png")
        if self.board is not None:
            self.board.add_image("samples", array, step, dataformats="HWC")

    def show(self, metrics: Mapping[str, float], images_per_second: float) -> None:
        """Show the speed and the first of the metrics on the bar."""
        first = next((f"{name} {value:.4g}" for name, value in metrics.items()), "")
        self.bar.update(self.task, speed=f"{images_per_second:.3g} images/s", first=first)

    def advance(self, step: int) -> None:
        """Move the bar to `step` finished steps."""
        self.bar.update(self.task, completed=step)


@contextmanager
def open_run_log(
    folder: Path,
    title: str,
    start: int,
    steps: int,
    tensorboard: bool,  # noqa: FBT001
) -> Iterator[RunLog]:
    """Open the outputs of a run in its folder, cut back to `start` finished steps.

    `title` is what the bar is called, `steps` that of the whole run. DependencyError if rich, or
    tensorboard if asked for, is not installed.
    """
    with ExitStack() as stack:
        board = _open_board(folder / "tensorboard", start, stack) if tensorboard else None
        bar, task = _open_bar(title, start, steps, stack)
        path = folder / "log.jsonl"
        _cut_back(path, start)
        lines = stack.enter_context(path.open("a", encoding="utf-8"))
        yield RunLog(folder, lines, board, bar, task)


def _cut_back(path: Path, start: int) -> None:
    if not path.is_file():
        return
    kept = [line for line in path.read_text("utf-8").splitlines() if _step(line) <= start]
    with atomic_path(path) as part:
        part.write_text("".join(f"{line}\n" for line in kept), "utf-8")


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # half a line, from a process that was killed while writing it


def _open_board(folder: Path, start: int, stack: ExitStack) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DependencyError(
            "curves for TensorBoard need tensorboard: run `pip install tensorboard`, "
            "or turn them off with --loop.no-tensorboard"
        ) from error
    board: Any = SummaryWriter(str(folder), purge_step=start + 1)
    stack.callback(board.close)
    return board


def _open_bar(title: str, start: int, steps: int, stack: ExitStack) -> tuple[Progress, TaskID]:
    try:
        from rich import progress
        from rich.console import Console
    except ImportError as error:
        raise DependencyError("training needs rich: run `pip install rich`") from error
    console = Console(stderr=True)
    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[speed]}"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[first]}"),
        console=console,
        disable=not console.is_terminal,
    )
    stack.enter_context(bar)
    return bar, bar.add_task(title, completed=start, total=steps, speed="", first="")


class Meter:
    """Images per second of training, and the share of its time that waits for images, by laps."""

    def __init__(self) -> None:
        self.speed = 0.0
        self._begin = time.perf_counter()
        self._waited = self._share = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as waiting."""
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Leave the time of the block out: validation and saving."""
        begin = time.perf_counter()
        yield
        self._begin += time.perf_counter() - begin

    def lap(self, images: int) -> None:
        """End a lap in which so many images were trained on."""
        now = time.perf_counter()
        passed = max(now - self._begin, 1e-9)
        self.speed, self._share = images / passed, self._waited / passed
        self._begin, self._waited = now, 0.0

    def metrics(self) -> dict[str, float]:
        """Return the figures of the last lap for the log."""
        return {"images_per_s": round(self.speed, 2), "data_wait": round(self._share, 4)}
