"""The training loop: seeds, batches, logs, validation, checkpoints, resuming. It knows no phase.

    result = fit(phase, images, config, Path("runs/inverter"), resume=True)

A phase has its own losses and optimiser steps; see `phase.py`. Before each step torch is seeded
with (seed, step, rank, part of the batch), and a checkpoint holds all that a step changes: on a CPU
a resumed run repeats the losses of one that was never stopped, bit for bit.

Several processes (`torchrun`, `accelerate launch`), gradient accumulation and mixed precision are
accelerate's. `batch_size` counts all of them: W processes that accumulate A parts take
batch_size / (W A) images at a time, and together see the batch that one process would.

A step waits for the GPU only if it writes a line of the log: then the metrics of all steps since
the last line come over at once, and one that is not finite ends the run.

A run's folder: config.toml, log.jsonl, tensorboard/, samples/, checkpoints/, and model/ when done.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from stylefeatureeditor.data.images import DataConfig, ImageSet, batches
from stylefeatureeditor.device import best_device, quick_training_dtype, set_arithmetic
from stylefeatureeditor.errors import (
    ConfigError,
    DependencyError,
    SfeError,
    TrainingError,
    is_out_of_memory,
)
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
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from accelerate import Accelerator

    from stylefeatureeditor.training.phase import Metrics, Phase
    from stylefeatureeditor.training.run_log import RunLog

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Settings of a run, whatever it trains.

    Attributes:
        steps: optimiser steps of the whole run.
        batch_size: images per step, over all processes and accumulated parts.
        seed: of the image order and of every draw.
        accumulate: parts that a process's batch is taken in, one after the other.
        precision: fp32, bf16 or fp16; auto takes fp32 or bf16, whichever trains faster here, and a
            resumed run what it began with; none leaves it to `accelerate launch`, else float32 with
            the factors of products rounded to TF32 on GPUs that can, which fp32 forbids.
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
    """What every run has: its images and its loop. See the fields' types."""

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


def fit(
    phase: Phase, images: ImageSet, config: Run, folder: Path, *, resume: bool = False
) -> RunResult:
    """Train a phase.

    SIGTERM or SIGINT ends the run after the step under way, or, of several processes, after the
    next line of the log, with a checkpoint; a second one ends it at once.

    Args:
        phase: what is trained.
        images: on what.
        config: how; all of it is saved as config.toml.
        folder: where everything is written; all processes see the same one.
        resume: go on from the last good checkpoint in `folder`, or begin if there is none.

    Raises:
        ConfigError: the batch cannot be divided, `folder` holds a run and `resume` is False, its
            checkpoints do not fit the phase, or another process trains in it.
        TrainingError: a metric or a weight is no longer finite, no checkpoint can be read, the disk
            refuses, or the GPU has too little memory.
        DependencyError: accelerate, rich or tensorboard is not installed.
    """
    config = replace(config, loop=_with_precision(config.loop, folder))
    loop = config.loop
    accelerator = make_accelerator(loop)
    world, parts = accelerator.num_processes, loop.accumulate
    if loop.batch_size % (world * parts):
        raise ConfigError(
            f"a batch of {loop.batch_size} cannot be divided among {world} processes "
            f"that each take it in {parts} parts"
        )
    phase.batch = loop.batch_size // (world * parts)
    with _alone_in(folder, is_main=accelerator.is_main_process):
        checkpoints = folder / "checkpoints"
        if not resume and ((folder / "log.jsonl").exists() or list_checkpoints(checkpoints)):
            raise ConfigError(f"{folder} already holds a run; resume it, or choose another folder")
        with warnings.catch_warnings():
            # torch renamed the option in 2.13; accelerate knows the old name only
            warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
            modules = phase.prepare(accelerator)
        start = _resume(phase, accelerator, config, folder) if resume else 0
        accelerator.wait_for_everyone()  # all have looked at the folder: now it may change
        if accelerator.is_main_process:
            _save_config(config, folder)
        result = _train(phase, images, config, folder, accelerator, modules, start)
        if result.finished and accelerator.is_main_process:
            with together(folder / "model") as stage:
                phase.save_model(stage)
        accelerator.wait_for_everyone()
    return result


def _train(  # noqa: C901 (one loop, read from top to bottom)
    phase: Phase,
    images: ImageSet,
    config: Run,
    folder: Path,
    accelerator: Accelerator,
    modules: list[nn.Module],
    start: int,
) -> RunResult:
    loop, data, checkpoints = config.loop, config.data, folder / "checkpoints"
    world, rank = accelerator.num_processes, accelerator.process_index
    is_main, device = accelerator.is_main_process, accelerator.device
    layout = torch.channels_last if loop.channels_last else torch.contiguous_format
    saved = logged = start  # the step whose state is on disk, and that of the last line of the log
    recent: list[Metrics] = []  # of the steps since then
    meter, share = Meter(), loop.batch_size // world
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
            photos = batch.photos(device).contiguous(memory_format=layout)
            indices, metrics = batch.indices.chunk(loop.accumulate), dict[str, Any]()
            for part, shown in enumerate(photos.chunk(loop.accumulate)):
                labels = () if phase.labels is None else (phase.labels[indices[part]],)
                torch.manual_seed(seed_of(loop.seed, batch.step, rank, part))
                with accelerator.accumulate(*modules):
                    found = phase.train_step(shown, batch.step, *labels)
                for name, value in found.items():
                    metrics[name] = metrics.get(name, 0.0) + value / loop.accumulate
            recent.append(metrics)
            stopped = stop.is_set() and world == 1
            logs, saves = (_due(done, n, loop.steps) for n in (loop.log_every, loop.save_every))
            if logs or saves or stopped:
                lines, stopped = read_metrics(recent, accelerator, stop=stop.is_set())
                for step, line in enumerate(lines, done + 1 - len(lines)):
                    for name, number in line.items():
                        if not math.isfinite(number):
                            way_back = _way_back(checkpoints, saved)
                            raise TrainingError(f"{name} is {number} at step {step}; {way_back}")
                recent = []

            if run_log and logs:
                meter.lap((done - logged) * loop.batch_size)
                logged = done
                run_log.write("train", done, {**lines[-1], **meter.metrics()})
                run_log.show(lines[-1], meter.speed)
            if run_log:
                run_log.advance(done)
            with meter.pausing():
                if _due(done, loop.validate_every, loop.steps):
                    torch.manual_seed(seed_of(loop.seed, done, rank))
                    with torch.no_grad():
                        judged = phase.validate()
                    if run_log and judged:
                        run_log.write("validate", done, judged)
                if _due(done, loop.sample_every, loop.steps):
                    _sample(phase, done, run_log, seed_of(loop.seed, rank))
                if stopped or saves:
                    if is_main:
                        scaler = accelerator.scaler
                        state = {
                            "phase": phase.state_dict(),
                            "scaler": scaler and scaler.state_dict(),
                        }
                        try:
                            save_checkpoint(checkpoints, done, state, phase.save_model, loop.keep)
                        except FloatingPointError as error:
                            way_back = _way_back(checkpoints, saved)
                            raise TrainingError(f"{error}; {way_back}") from None
                    accelerator.wait_for_everyone()
                    saved = done
            if stopped and done < loop.steps:
                log.warning("stopped by a signal after step %d; resume to go on", done)
                return RunResult(folder, done, finished=False)
    return RunResult(folder, max(start, loop.steps), finished=True)


def make_accelerator(config: LoopConfig) -> Accelerator:
    """Return the accelerator of a run, independent of earlier runs in this process."""
    accelerate = _accelerate()
    wrapping = accelerate.utils.DistributedDataParallelKwargs(
        find_unused_parameters=config.find_unused_parameters,
        broadcast_buffers=False,  # ranks may run a module twice before its backward pass
    )

    class LaidOut(accelerate.Accelerator):  # type: ignore[name-defined]
        """Sets a network's layout before processes share it: their buckets follow its strides."""

        layout = torch.channels_last if config.channels_last else torch.contiguous_format

        def prepare_model(self, model: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
            model.to(memory_format=self.layout)  # type: ignore[call-overload]
            return super().prepare_model(model, *args, **kwargs)

    # it would keep the precision of the run before
    accelerate.state.AcceleratorState._reset_state()
    started = _processes()
    try:
        made = LaidOut(
            cpu=_on_cpu(config),
            mixed_precision="no" if config.precision == "fp32" else config.precision,
            gradient_accumulation_steps=config.accumulate,
            kwargs_handlers=[wrapping],
        )
    except ValueError as error:
        raise ConfigError(f"accelerate refuses the device or the precision: {error}") from error
    if made.num_processes != started:
        raise ConfigError(
            f"{started} processes were started, and {made.device.type} trains in one: start one, "
            "or let all of them train on the CPU with --loop.device cpu"
        )
    set_arithmetic(made.device, quick=config.precision != "fp32")
    if started == 1 and "ACCELERATE_USE_CPU" in os.environ and "MASTER_PORT" in os.environ:
        log.warning(
            "accelerate has started one process, though it was asked for more: without several "
            "GPUs use `torchrun --nproc_per_node N -m stylefeatureeditor train ...`"
        )
    return made


def _with_precision(loop: LoopConfig, folder: Path) -> LoopConfig:
    if loop.precision != "auto":
        return loop
    accelerate, path = _accelerate(), folder / "config.toml"
    device = accelerate.PartialState(cpu=_on_cpu(loop)).device
    known = read_mapping(path).get("loop", {}).get("precision") if path.is_file() else None
    if known not in ("fp32", "bf16", "fp16"):
        known = "bf16" if quick_training_dtype(device) == torch.bfloat16 else "fp32"
    chosen: list[Any] = [known]
    accelerate.utils.broadcast_object_list(chosen)
    return replace(loop, precision=chosen[0])


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _on_cpu(loop: LoopConfig) -> bool:
    return loop.device == "cpu" or (_processes() > 1 and best_device() == "cpu")


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


def _resume(phase: Phase, accelerator: Accelerator, config: Run, folder: Path) -> int:
    """Load the last good checkpoint; return its step, which all ranks must agree on."""
    start = 0
    found = load_checkpoint(folder / "checkpoints")
    if found is None:
        log.info("%s holds no checkpoint: the run begins", folder / "checkpoints")
    else:
        start, state = found
        try:
            phase.load_state_dict(state["phase"])
        except (RuntimeError, ValueError, LookupError) as error:
            if is_out_of_memory(error):
                raise
            different = ", ".join(_changed_settings(config, folder)) or "the phase"
            raise ConfigError(
                f"{folder} was trained with other settings ({different}): resume it with its own, "
                f"as `--config {folder / 'config.toml'}` gives them, or choose another folder"
            ) from error
        if accelerator.scaler is not None and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
        log.info("resuming %s after step %d", folder, start)
    steps = set(accelerator.gather(torch.tensor([start], device=accelerator.device)).tolist())
    if len(steps) > 1:
        raise TrainingError(
            f"the processes found checkpoints of different steps, {sorted(steps)}; "
            "let all machines see the same run folder"
        )
    return start


def _changed_settings(config: Run, folder: Path) -> list[str]:
    path = folder / "config.toml"
    return changed_keys(read_mapping(path), to_plain(config)) if path.is_file() else []


def _save_config(config: Run, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder / "checkpoints")
    if different := _changed_settings(config, folder):
        log.warning("settings changed since the run was last started: %s", ", ".join(different))
    write_config(config, folder / "config.toml")


def read_metrics(
    steps: list[Metrics], accelerator: Accelerator, *, stop: bool
) -> tuple[list[dict[str, float]], bool]:
    """Bring the metrics of several steps to the CPU, averaged over the ranks, in one transfer.

    One rank that has to stop stops all.
    """
    there = [value for step in steps for value in step.values() if isinstance(value, Tensor)]
    if accelerator.num_processes > 1:
        there.append(torch.tensor(float(stop), device=accelerator.device))
        row = accelerator.reduce(torch.stack(there), reduction="mean").tolist()
        stop = row.pop() > 0
    else:
        row = torch.stack(there).tolist() if there else []
    numbers = iter(row)
    return [
        {name: next(numbers) if isinstance(v, Tensor) else v for name, v in step.items()}
        for step in steps
    ], stop


@contextmanager
def _alone_in(folder: Path, *, is_main: bool) -> Iterator[None]:
    """Keep other runs out of a folder; a full disk or GPU ends this one in a sentence."""
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        if is_main:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        yield
    except Timeout as error:
        raise ConfigError(f"another process trains in {folder}: choose another folder") from error
    except SfeError:
        raise
    except OSError as error:
        raise TrainingError(
            f"{error.filename or folder} cannot be written ({error.strerror or error}): make room, "
            "or let it be written, and go on with --resume"
        ) from error
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            "the GPU has too little memory: a smaller --loop.batch-size takes less, and so does "
            "the same batch in parts, --loop.accumulate 2 or more; go on with --resume"
        ) from error
    finally:
        lock.release()


def _sample(phase: Phase, step: int, run_log: RunLog | None, seed: int) -> None:
    torch.manual_seed(seed)
    if run_log is None:
        return
    with torch.no_grad():
        picture = phase.samples()
    if picture is not None:
        run_log.picture(step, picture)


def _way_back(checkpoints: Path, saved: int) -> str:
    if not saved:
        return "there is no checkpoint yet: lower the learning rate and start again"
    name = checkpoints / f"step-{saved:08d}"
    return f"the last good checkpoint is {name}: lower the learning rate and resume"


def _due(step: int, every: int, last: int) -> bool:
    return every > 0 and (step % every == 0 or step == last)
