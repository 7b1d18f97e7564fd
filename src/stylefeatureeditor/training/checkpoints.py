"""Checkpoints of a run: written whole or not at all, verified before they are read, pruned.

    FOLDER/step-00001000/state.safetensors     every tensor of the state
                         state.json            its shape: numbers, words, and where tensors go
                         SHA256SUMS            of both, as `sha256sum -c` reads them
                         model/                written by the phase

A checkpoint is built in a hidden folder and moved to its name as the last act, so a process killed
at any point leaves the older ones. If the newest does not verify, the one before it is taken.

A state is built of dict, list, tuple, tensors, bool, int, float, str and None. Nothing in a
checkpoint can run code.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stylefeatureeditor.errors import TrainingError
from stylefeatureeditor.files import regular, sha256_file, together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{8,})")
_FILES = ("state.safetensors", "state.json")


def save_checkpoint(
    folder: Path, step: int, state: dict[str, Any], save_model: Callable[[Path], None], keep: int
) -> Path:
    """Write the checkpoint of `step` finished steps and remove all but the newest `keep`.

    `state` is as the module describes; `save_model` writes the model into the empty folder it is
    given. FloatingPointError if a tensor is not finite, TrainingError if the disk refuses; nothing
    is left then.
    """
    tensors: dict[str, Tensor] = {}
    shape = flatten(state, "state", tensors)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise FloatingPointError(f"{name} is not finite after step {step}")
    target = folder / f"step-{step:08d}"
    try:
        if target.exists():  # a damaged one that a resumed run has passed again
            shutil.rmtree(target)
        with together(target) as part:
            (part / "model").mkdir()
            save_file(tensors, part / "state.safetensors")
            (part / "state.json").write_text(json.dumps({"step": step, "state": shape}), "utf-8")
            (part / "SHA256SUMS").write_text("\n".join(_sums(part)) + "\n", "utf-8")
            save_model(part / "model")
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"the checkpoint of step {step} cannot be written to {folder} ({reason}): make room, "
            "or let it be written, and go on with --resume"
        ) from error
    found = list_checkpoints(folder)
    newest = [path for reached, path in found if reached <= step][-keep:]
    for _, path in found:  # those past this step were damaged, or the run would have begun there
        if path not in newest:
            shutil.rmtree(path, ignore_errors=True)
    remove_leftovers(folder)
    return target


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """Return step and state of the newest checkpoint that verifies, None if there is none at all.

    TrainingError if there are checkpoints, but none of them verifies.
    """
    found = list_checkpoints(folder)
    for step, path in reversed(found):
        state = _read(path)
        if state is not None:
            return step, state
    if found:
        raise TrainingError(
            f"none of the {len(found)} checkpoints in {folder} can be read; "
            "restore one, or start in another folder"
        )
    return None


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Return steps and paths of the checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    named = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir())
    return sorted((int(name[1]), path) for name, path in named if name)


def remove_leftovers(folder: Path) -> None:
    """Remove the hidden folders that a killed process has left."""
    for path in folder.glob(".*") if folder.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)


def _read(path: Path) -> dict[str, Any] | None:
    """Return the state of one checkpoint, or None (and a line in the log) if it is damaged."""
    try:
        lines = regular(path / "SHA256SUMS").read_text("utf-8").splitlines()
        if lines != _sums(path):
            raise ValueError("its files do not have the sha256 they were written with")
        tensors = load_file(path / "state.safetensors")
        shape = json.loads((path / "state.json").read_text("utf-8"))["state"]
        return restore(shape, tensors)
    except (OSError, ValueError, TypeError, LookupError, RecursionError, SafetensorError) as error:
        log.warning("%s is damaged and passed over: %s", path, error)
        return None


def _sums(path: Path) -> list[str]:
    return [f"{sha256_file(regular(path / name))}  {name}" for name in _FILES]


def flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of a state into `tensors`; return the rest as JSON can hold it.

    Their names begin with `path`.
    """
    if isinstance(value, Tensor):
        while path in tensors:  # {"a.b": x, "a": {"b": y}}
            path += "'"
        # a copy of its own: safetensors refuses tensors that share memory
        tensors[path] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": path}
    if isinstance(value, dict):
        # keys as pairs: JSON would turn an optimiser's whole numbers into words
        items = [[key, flatten(item, f"{path}.{key}", tensors)] for key, item in value.items()]
        return {"dict": items}
    if isinstance(value, (list, tuple)):
        items = [flatten(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{path}: a state is built of tensors and plain values, got {type(value)}")


def restore(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo `flatten`."""
    if isinstance(value, list):
        return [restore(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "tuple" in value:
        return tuple(restore(item, tensors) for item in value["tuple"])
    return {key: restore(item, tensors) for key, item in value["dict"]}
