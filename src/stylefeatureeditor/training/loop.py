"""The training loop: seeds, batches, logs, validation, checkpoints, resuming. It knows no phase.

    result = run(phase, config.loop, images, Path("runs/inverter"), whole=config, resume=True)

A phase shows its own losses and optimiser steps; see `phase.py`. Everything random in a step comes
from (seed, step), and a checkpoint holds all that a step changes: on a CPU a resumed run repeats
the losses of one that was never stopped, bit for bit.

Several processes (`torchrun`, `accelerate launch`), gradient accumulation and mixed precision are
accelerate's. `batch_size` counts all of them: W processes that accumulate A parts take
batch_size / (W A) images at a time, and together see the batch that one process would.

A run's folder: config.toml, log.jsonl, tensorboard/, samples/, checkpoints/, and model/ when done.
"""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from stylefeatureeditor.data.images import Batch, ImageSet, batches
from stylefeatureeditor.errors import ConfigError, DependencyError, TrainingError
from stylefeatureeditor.files import together
from stylefeatureeditor.training.checkpoints import (
    list_checkpoints,
    load_checkpoint,
    remove_leftovers,
    save_checkpoint,
)
from stylefeatureeditor.training.config import (
    changed_keys,
    read_mapping,
    to_mapping,
    write_config,
)
from stylefeatureeditor.training.phase import BasePhase, LabelledPhase, Phase
from stylefeatureeditor.training.run_log import Meter, RunLog, open_run_log
from stylefeatureeditor.training.seeds import seed_of
from stylefeatureeditor.training.stopping import stop_signals

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from accelerate import Accelerator
    from torch import nn

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How a run goes on, whatever it trains.

    Attributes:
        steps: optimiser steps of the whole run.
        batch_size: images per step, over all processes and accumulated parts.
        seed: of the image order and of every draw.
        accumulate: parts that a process's batch is taken in, one after the other.
        precision: fp32, bf16 or fp16; none leaves it to `accelerate launch`.
        device: auto takes what accelerate finds; cpu leaves a GPU alone.
        channels_last: memory layout of images inside the networks; faster on CPU.
        find_unused_parameters: as torch's DistributedDataParallel.
        log_every: steps between lines of the log.
        validate_every: steps between validations, and at the end; 0 for never.
        sample_every: steps between sample pictures, and before and after all; 0 for never.
        save_every: steps between checkpoints, and at the end.
        keep: checkpoints that stay.
        tensorboard: write curves and pictures for TensorBoard too.
    """

    steps: int = 1000
    batch_size: int = 8
    seed: int = 0
    accumulate: int = 1
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    device: Literal["auto", "cpu"] = "auto"
    channels_last: bool = False
    find_unused_parameters: bool = False
    log_every: int = 10
    validate_every: int = 1000
    sample_every: int = 1000
    save_every: int = 1000
    keep: int = 3
    tensorboard: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "log_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} should be at least 1, got {getattr(self, name)}")
        if self.validate_every < 0 or self.sample_every < 0:
            raise ConfigError("validate_every and sample_every should be 0 (never) or more")


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        folder: the run's.
        step: finished steps.
        finished: False if a signal stopped it; its checkpoint is saved, `resume` goes on.
    """

    folder: Path
    step: int
    finished: bool


def run(
    phase: Phase | LabelledPhase,
    config: LoopConfig,
    images: ImageSet,
    folder: Path,
    *,
    mirror: bool = False,
    workers: int = 0,
    whole: Any = None,
    resume: bool = False,
) -> RunResult:
    """Train a phase.

    SIGTERM or SIGINT ends the run after the step under way, with a checkpoint; a second one ends it
    at once.

    Args:
        phase: what is trained.
        config: how.
        images: on what.
        folder: where everything is written; all processes see the same one.
        mirror: flip about half of the images.
        workers: decoding threads, as in `data.py`.
        whole: the dataclass to save as config.toml; None saves `config`.
        resume: go on from the last good checkpoint in `folder`, or begin if there is none.

    Raises:
        ConfigError: the batch cannot be divided, or `folder` holds a run and `resume` is False.
        TrainingError: a metric or a weight is no longer finite, or no checkpoint can be read.
        DependencyError: accelerate, rich or tensorboard is not installed.
    """
    accelerator = make_accelerator(config)
    if not resume and ((folder / "log.jsonl").exists() or list_checkpoints(folder / "checkpoints")):
        raise ConfigError(f"{folder} already holds a run; resume it, or choose another folder")
    world, parts = accelerator.num_processes, accelerator.gradient_accumulation_steps
    if config.batch_size % (world * parts):
        raise ConfigError(
            f"a batch of {config.batch_size} cannot be divided among {world} processes "
            f"that each take it in {parts} parts"
        )
    with warnings.catch_warnings():
        # torch renamed the option in 2.13; accelerate knows the old name only
        warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
        modules = phase.prepare(accelerator)
    for module in modules:
        module.to(memory_format=_layout(config))  # type: ignore[call-overload]
    start = _resume(phase, accelerator, folder) if resume else 0
    _check_agreed(start, accelerator)
    accelerator.wait_for_everyone()  # all have looked at the folder: now it may change
    if accelerator.is_main_process:
        _save_config(config if whole is None else whole, folder)
    attempt = _Attempt(phase, config, accelerator, modules, folder, start)
    stream = batches(
        images,
        config.batch_size // world,
        config.seed,
        start,
        accelerator.process_index,
        world,
        mirror=mirror,
        workers=workers,
    )
    try:
        with stop_signals() as stop:
            if not accelerator.is_main_process:
                return attempt.go(stream, stop, None)
            with open_run_log(
                folder,
                type(phase).__name__,
                start=start,
                steps=config.steps,
                tensorboard=config.tensorboard,
            ) as run_log:
                return attempt.go(stream, stop, run_log)
    finally:
        stream.close()


class _Attempt:
    """One attempt at a run, from its start or from a checkpoint."""

    def __init__(
        self,
        phase: Phase | LabelledPhase,
        config: LoopConfig,
        accelerator: Accelerator,
        modules: list[nn.Module],
        folder: Path,
        start: int,
    ) -> None:
        self.phase = phase
        self.config = config
        self.accelerator = accelerator
        self.modules = modules
        self.folder = folder
        self.start = start
        self.saved = start  # the step whose state is on disk; 0 stands for none

    def go(self, stream: Iterator[Batch], stop: threading.Event, log_: RunLog | None) -> RunResult:
        config, last, meter = self.config, self.config.steps, Meter()
        if self.start == 0:
            self._sample(0, log_)
        logged = self.start
        for step in range(self.start, last):
            with meter.waiting():
                batch = next(stream)
            metrics, stopped = self._step(batch, stop)
            done = step + 1
            self._check_finite(metrics, done)
            if log_ and _due(done, config.log_every, last):
                meter.lap((done - logged) * config.batch_size)
                logged = done
                log_.write("train", done, {**metrics, **meter.metrics()})
            if log_:
                log_.advance(done, metrics, meter.speed)
            self._look(done, log_)
            if stopped or _due(done, config.save_every, last):
                self._save(done)
            if stopped and done < last:
                log.warning("stopped by a signal after step %d; resume to go on", done)
                return RunResult(self.folder, done, finished=False)
        if self.accelerator.is_main_process:
            _write_model(self.phase, self.folder)
        self.accelerator.wait_for_everyone()
        return RunResult(self.folder, max(self.start, last), finished=True)

    def _look(self, step: int, log_: RunLog | None) -> None:
        if _due(step, self.config.validate_every, self.config.steps):
            self._validate(step, log_)
        if _due(step, self.config.sample_every, self.config.steps):
            self._sample(step, log_)

    def _check_finite(self, metrics: dict[str, float], step: int) -> None:
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise TrainingError(f"{name} is {value} at step {step}; {self._way_back()}")

    def _step(self, batch: Batch, stop: threading.Event) -> tuple[dict[str, float], bool]:
        """Take one step on this rank's batch; return the mean metrics and whether to stop."""
        accelerator, phase = self.accelerator, self.phase
        parts = accelerator.gradient_accumulation_steps
        pixels = batch.photos(accelerator.device)
        photos = pixels.contiguous(memory_format=_layout(self.config)).chunk(parts)
        sums: dict[str, float] = {}
        for part, indices in enumerate(batch.indices.chunk(parts)):
            rank = accelerator.process_index
            torch.manual_seed(seed_of(self.config.seed, batch.step, rank, part))
            with accelerator.accumulate(*self.modules):
                if isinstance(phase, LabelledPhase):
                    found = phase.train_labelled_step(photos[part], indices, batch.step)
                else:
                    found = phase.train_step(photos[part], batch.step)
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + float(value) / parts
        return self._mean(sums, stop=stop.is_set())

    def _mean(self, metrics: dict[str, float], *, stop: bool) -> tuple[dict[str, float], bool]:
        """Average over the ranks; one that has to stop stops them all."""
        if self.accelerator.num_processes == 1:
            return metrics, stop
        row = torch.tensor([*metrics.values(), float(stop)], dtype=torch.float64)
        row = self.accelerator.reduce(row.to(self.accelerator.device), reduction="mean").cpu()
        return dict(zip(metrics, row[:-1].tolist(), strict=True)), bool(row[-1] > 0)

    def _validate(self, step: int, log_: RunLog | None) -> None:
        torch.manual_seed(seed_of(self.config.seed, step, self.accelerator.process_index))
        with torch.no_grad():
            metrics, _ = self._mean(dict(self.phase.validate()), stop=False)
        if log_ and metrics:
            log_.write("validate", step, metrics)

    def _sample(self, step: int, log_: RunLog | None) -> None:
        if not self.config.sample_every:
            return
        torch.manual_seed(seed_of(self.config.seed, self.accelerator.process_index))
        with torch.no_grad():
            picture = self.phase.samples()
        if log_ and picture is not None:
            log_.picture(step, picture)

    def _save(self, step: int) -> None:
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = {"phase": self.phase.state_dict(), "scaler": scaler and scaler.state_dict()}
            try:
                save_checkpoint(
                    self.folder / "checkpoints",
                    step,
                    state,
                    self.phase.save_model,
                    self.config.keep,
                )
            except TrainingError as error:
                raise TrainingError(f"{error}; {self._way_back()}") from None
        self.accelerator.wait_for_everyone()
        self.saved = step

    def _way_back(self) -> str:
        if not self.saved:
            return "there is no checkpoint yet: lower the learning rate and start again"
        name = self.folder / "checkpoints" / f"step-{self.saved:08d}"
        return f"the last good checkpoint is {name}: lower the learning rate and resume"


def make_accelerator(config: LoopConfig) -> Accelerator:
    """Return what a run computes with, whatever ran in this process before."""
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import DistributedDataParallelKwargs
    except ImportError as error:
        raise DependencyError(
            "training needs accelerate: run `pip install 'stylefeatureeditor[train]'`"
        ) from error
    wrapping = DistributedDataParallelKwargs(
        find_unused_parameters=config.find_unused_parameters,
        broadcast_buffers=False,  # ranks may run a module twice before its backward pass
    )
    AcceleratorState._reset_state()  # it would keep the precision of the run before
    try:
        return Accelerator(
            cpu=config.device == "cpu",
            mixed_precision="no" if config.precision == "fp32" else config.precision,
            gradient_accumulation_steps=config.accumulate,
            kwargs_handlers=[wrapping],
        )
    except ValueError as error:
        raise ConfigError(f"accelerate refuses the device or the precision: {error}") from error


def _layout(config: LoopConfig) -> torch.memory_format:
    return torch.channels_last if config.channels_last else torch.contiguous_format


def _resume(phase: BasePhase, accelerator: Accelerator, folder: Path) -> int:
    found = load_checkpoint(folder / "checkpoints")
    if found is None:
        log.info("%s holds no checkpoint: the run begins", folder)
        return 0
    step, state = found
    phase.load_state_dict(state["phase"])
    if accelerator.scaler is not None and state["scaler"]:
        accelerator.scaler.load_state_dict(state["scaler"])
    log.info("resuming %s after step %d", folder, step)
    return step


def _check_agreed(start: int, accelerator: Accelerator) -> None:
    """All ranks must have found the same checkpoint."""
    if accelerator.num_processes == 1:
        return
    steps = accelerator.gather(torch.tensor([start], device=accelerator.device)).tolist()
    if len(set(steps)) > 1:
        raise TrainingError(
            f"the processes found checkpoints of different steps, {sorted(set(steps))}; "
            "let all machines see the same run folder"
        )


def _save_config(config: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder / "checkpoints")
    path = folder / "config.toml"
    if path.is_file():
        changed = changed_keys(read_mapping(path), to_mapping(config))
        if changed:
            log.warning("settings changed since the run was last started: %s", ", ".join(changed))
    write_config(config, path)


def _write_model(phase: BasePhase, folder: Path) -> None:
    with together(folder / "model") as stage:
        phase.save_model(stage)


def _due(step: int, every: int, last: int) -> bool:
    return every > 0 and (step % every == 0 or step == last)
