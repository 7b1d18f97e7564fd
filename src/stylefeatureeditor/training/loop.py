"""The training loop: seeds, batches, logs, validation, checkpoints, resuming. It knows no phase.

    result = fit(phase, images, config, Path("runs/inverter"), resume=True)

A phase shows its own losses and optimiser steps; see `phase.py`. Before each step torch is seeded
with (seed, step, rank, part of the batch), and a checkpoint holds all that a step changes: on a CPU
a resumed run repeats the losses of one that was never stopped, bit for bit.

Several processes (`torchrun`, `accelerate launch`), gradient accumulation and mixed precision are
accelerate's. `batch_size` counts all of them: W processes that accumulate A parts take
batch_size / (W A) images at a time, and together see the batch that one process would.

A run's folder: config.toml, log.jsonl, tensorboard/, samples/, checkpoints/, and model/ when done.
"""

from __future__ import annotations

import logging
import math
import warnings
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from stylefeatureeditor.data.images import DataConfig, ImageSet, batches
from stylefeatureeditor.device import quick_training_dtype
from stylefeatureeditor.errors import ConfigError, DependencyError, TrainingError
from stylefeatureeditor.files import together
from stylefeatureeditor.training.checkpoints import (
    list_checkpoints,
    load_checkpoint,
    remove_leftovers,
    save_checkpoint,
)
from stylefeatureeditor.training.run_log import Meter, open_run_log
from stylefeatureeditor.training.stopping import stop_signals
from stylefeatureeditor.weights.configs import changed_keys, read_mapping, to_plain, write_config

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from accelerate import Accelerator

    from stylefeatureeditor.training.phase import Phase
    from stylefeatureeditor.training.run_log import RunLog

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How a run goes on, whatever it trains.

    Attributes:
        steps: optimiser steps of the whole run.
        batch_size: images per step, over all processes and accumulated parts.
        seed: of the image order and of every draw.
        accumulate: parts that a process's batch is taken in, one after the other.
        precision: fp32, bf16 or fp16; auto takes fp32 or bf16, whichever trains faster here, and a
            resumed run what it began with; none leaves it to `accelerate launch`.
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
    precision: Literal["auto", "fp32", "bf16", "fp16"] | None = None
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


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every run has: its images and its loop. Each field is described where its type is."""

    data: DataConfig = field(default_factory=DataConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


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


def fit(  # noqa: C901 (one loop, read from top to bottom)
    phase: Phase, images: ImageSet, config: Run, folder: Path, *, resume: bool = False
) -> RunResult:
    """Train a phase.

    SIGTERM or SIGINT ends the run after the step under way, with a checkpoint; a second one ends it
    at once.

    Args:
        phase: what is trained.
        images: on what.
        config: how; all of it is saved as config.toml.
        folder: where everything is written; all processes see the same one.
        resume: go on from the last good checkpoint in `folder`, or begin if there is none.

    Raises:
        ConfigError: the batch cannot be divided, or `folder` holds a run and `resume` is False.
        TrainingError: a metric or a weight is no longer finite, or no checkpoint can be read.
        DependencyError: accelerate, rich or tensorboard is not installed.
    """
    config = replace(config, loop=_with_precision(config.loop, folder))
    loop, checkpoints = config.loop, folder / "checkpoints"
    accelerator = make_accelerator(loop)
    world, rank = accelerator.num_processes, accelerator.process_index
    parts, is_main = accelerator.gradient_accumulation_steps, accelerator.is_main_process
    if not resume and ((folder / "log.jsonl").exists() or list_checkpoints(checkpoints)):
        raise ConfigError(f"{folder} already holds a run; resume it, or choose another folder")
    if loop.batch_size % (world * parts):
        raise ConfigError(
            f"a batch of {loop.batch_size} cannot be divided among {world} processes "
            f"that each take it in {parts} parts"
        )
    with warnings.catch_warnings():
        # torch renamed the option in 2.13; accelerate knows the old name only
        warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
        modules = phase.prepare(accelerator)
    layout = torch.channels_last if loop.channels_last else torch.contiguous_format
    for module in modules:
        module.to(memory_format=layout)  # type: ignore[call-overload]

    start = _resume(phase, accelerator, checkpoints) if resume else 0
    accelerator.wait_for_everyone()  # all have looked at the folder: now it may change
    if is_main:
        _save_config(config, folder)
    saved = logged = start  # the step whose state is on disk, and that of the last line of the log
    meter = Meter()
    share, data = loop.batch_size // world, config.data
    stream = batches(
        images, share, loop.seed, start, rank, world, mirror=data.mirror, workers=data.workers
    )
    outputs = open_run_log(folder, type(phase).__name__, start, loop.steps, loop.tensorboard)
    with closing(stream), stop_signals() as stop, outputs if is_main else nullcontext() as run_log:
        if start == 0 and loop.sample_every:
            _sample(phase, 0, run_log, seed_of(loop.seed, rank))
        for done in range(start + 1, loop.steps + 1):
            with meter.waiting():
                batch = next(stream)
            photos = batch.photos(accelerator.device).contiguous(memory_format=layout)
            indices, metrics = batch.indices.chunk(parts), dict[str, float]()
            for part, shown in enumerate(photos.chunk(parts)):
                labels = () if phase.labels is None else (phase.labels[indices[part]],)
                torch.manual_seed(seed_of(loop.seed, batch.step, rank, part))
                with accelerator.accumulate(*modules):
                    found = phase.train_step(shown, batch.step, *labels)
                for name, value in found.items():
                    metrics[name] = metrics.get(name, 0.0) + float(value) / parts
            metrics, stopped = _mean(metrics, accelerator, stop=stop.is_set())
            for name, value in metrics.items():
                if not math.isfinite(value):
                    way_back = _way_back(checkpoints, saved)
                    raise TrainingError(f"{name} is {value} at step {done}; {way_back}")

            if run_log and _due(done, loop.log_every, loop.steps):
                meter.lap((done - logged) * loop.batch_size)
                logged = done
                run_log.write("train", done, {**metrics, **meter.metrics()})
            if run_log:
                run_log.advance(done, metrics, meter.speed)
            if _due(done, loop.validate_every, loop.steps):
                torch.manual_seed(seed_of(loop.seed, done, rank))
                with torch.no_grad():
                    judged, _ = _mean(phase.validate(), accelerator, stop=False)
                if run_log and judged:
                    run_log.write("validate", done, judged)
            if _due(done, loop.sample_every, loop.steps):
                _sample(phase, done, run_log, seed_of(loop.seed, rank))

            if stopped or _due(done, loop.save_every, loop.steps):
                if is_main:
                    scaler = accelerator.scaler
                    state = {"phase": phase.state_dict(), "scaler": scaler and scaler.state_dict()}
                    try:
                        save_checkpoint(checkpoints, done, state, phase.save_model, loop.keep)
                    except TrainingError as error:
                        way_back = _way_back(checkpoints, saved)
                        raise TrainingError(f"{error}; {way_back}") from None
                accelerator.wait_for_everyone()
                saved = done
            if stopped and done < loop.steps:
                log.warning("stopped by a signal after step %d; resume to go on", done)
                return RunResult(folder, done, finished=False)

    if is_main:
        with together(folder / "model") as stage:
            phase.save_model(stage)
    accelerator.wait_for_everyone()
    return RunResult(folder, max(start, loop.steps), finished=True)


def make_accelerator(config: LoopConfig) -> Accelerator:
    """Return what a run computes with, whatever ran in this process before."""
    accelerate = _accelerate()
    wrapping = accelerate.utils.DistributedDataParallelKwargs(
        find_unused_parameters=config.find_unused_parameters,
        broadcast_buffers=False,  # ranks may run a module twice before its backward pass
    )
    # it would keep the precision of the run before
    accelerate.state.AcceleratorState._reset_state()
    try:
        return accelerate.Accelerator(
            cpu=config.device == "cpu",
            mixed_precision="no" if config.precision == "fp32" else config.precision,
            gradient_accumulation_steps=config.accumulate,
            kwargs_handlers=[wrapping],
        )
    except ValueError as error:
        raise ConfigError(f"accelerate refuses the device or the precision: {error}") from error


def _with_precision(loop: LoopConfig, folder: Path) -> LoopConfig:
    """Settle precision="auto", the same on all ranks."""
    if loop.precision != "auto":
        return loop
    accelerate, path = _accelerate(), folder / "config.toml"
    device = accelerate.PartialState(cpu=loop.device == "cpu").device
    known = read_mapping(path).get("loop", {}).get("precision") if path.is_file() else None
    if known not in ("fp32", "bf16"):
        known = "bf16" if quick_training_dtype(device) == torch.bfloat16 else "fp32"
    chosen: list[Any] = [known]
    accelerate.utils.broadcast_object_list(chosen)
    return replace(loop, precision=chosen[0])


def _accelerate() -> ModuleType:
    try:
        import accelerate
    except ImportError as error:
        raise DependencyError(
            "training needs accelerate: run `pip install 'stylefeatureeditor[train]'`"
        ) from error
    return accelerate


def seed_of(*parts: int) -> int:
    """Return a seed in [0, 2^63) that depends on every part and on their order."""
    words = np.random.SeedSequence([part % (1 << 64) for part in parts])
    return int(words.generate_state(1, np.uint64)[0] >> np.uint64(1))


def shared_generator(seed: int, step: int, purpose: int = 0) -> torch.Generator:
    """Return a CPU generator that is the same on every rank; `purpose` tells several apart."""
    return torch.Generator().manual_seed(seed_of(seed, step, purpose, -1))


def _resume(phase: Phase, accelerator: Accelerator, checkpoints: Path) -> int:
    """Load the last good checkpoint; return its step, which all ranks must agree on."""
    start = 0
    found = load_checkpoint(checkpoints)
    if found is None:
        log.info("%s holds no checkpoint: the run begins", checkpoints.parent)
    else:
        start, state = found
        phase.load_state_dict(state["phase"])
        if accelerator.scaler is not None and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
        log.info("resuming %s after step %d", checkpoints.parent, start)
    steps = {start}
    if accelerator.num_processes > 1:
        here = torch.tensor([start], device=accelerator.device)
        steps = set(accelerator.gather(here).tolist())
    if len(steps) > 1:
        raise TrainingError(
            f"the processes found checkpoints of different steps, {sorted(steps)}; "
            "let all machines see the same run folder"
        )
    return start


def _save_config(config: Run, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder / "checkpoints")
    path = folder / "config.toml"
    if path.is_file():
        different = changed_keys(read_mapping(path), to_plain(config))
        if different:
            log.warning("settings changed since the run was last started: %s", ", ".join(different))
    write_config(config, path)


def _mean(
    metrics: dict[str, float], accelerator: Accelerator, *, stop: bool
) -> tuple[dict[str, float], bool]:
    """Average over the ranks; one that has to stop stops them all."""
    if accelerator.num_processes == 1:
        return metrics, stop
    row = torch.tensor([*metrics.values(), float(stop)], dtype=torch.float64)
    row = accelerator.reduce(row.to(accelerator.device), reduction="mean").cpu()
    return dict(zip(metrics, row[:-1].tolist(), strict=True)), bool(row[-1] > 0)


def _sample(phase: Phase, step: int, run_log: RunLog | None, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        picture = phase.samples()
    if run_log and picture is not None:
        run_log.picture(step, picture)


def _way_back(checkpoints: Path, saved: int) -> str:
    if not saved:
        return "there is no checkpoint yet: lower the learning rate and start again"
    name = checkpoints / f"step-{saved:08d}"
    return f"the last good checkpoint is {name}: lower the learning rate and resume"


def _due(step: int, every: int, last: int) -> bool:
    return every > 0 and (step % every == 0 or step == last)
