"""A model folder opened on the backend and in the precision that a user names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch

from stylefeatureeditor.device import find_device
from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.files import SAVED
from stylefeatureeditor.runtimes.engines import OnnxRunner, OpenVinoRunner
from stylefeatureeditor.runtimes.export import MANIFEST, SUFFIXES, read_manifest
from stylefeatureeditor.runtimes.low_precision import in_precision
from stylefeatureeditor.runtimes.quick import quicken
from stylefeatureeditor.runtimes.stand_ins import assemble
from stylefeatureeditor.weights.checkpoint import load_config, load_model

if TYPE_CHECKING:
    from pathlib import Path

    from stylefeatureeditor.model import Model
    from stylefeatureeditor.runtimes.stand_ins import Runner

Backend = Literal["torch", "onnx", "openvino"]
Precision = Literal["float32", "bfloat16", "float16", "int8"]
PRECISIONS: dict[str, tuple[str, ...]] = {
    "torch": ("float32", "bfloat16", "float16"),
    "onnx": ("float32",),
    "openvino": ("float32", "bfloat16", "int8"),
}


def check_backend(backend: str, precision: str, *, compiled: bool, device: torch.device) -> None:
    """Raise ConfigError unless the choices go together."""
    if backend not in PRECISIONS:
        raise ConfigError(f"a backend is {', '.join(get_args(Backend))}, got {backend!r}")
    if precision not in PRECISIONS[backend]:
        raise ConfigError(
            f"the backend {backend} runs in {', '.join(PRECISIONS[backend])}, got {precision!r}"
        )
    if precision == "float16" and device.type == "cpu":
        raise ConfigError("float16 is for GPUs; use bfloat16 on a CPU")
    if compiled and (backend, device.type) != ("torch", "cuda"):
        raise ConfigError("compiling is for the backend torch on a CUDA device; leave it out")
    if backend != "torch" and device.type != "cpu":
        raise ConfigError(f"the backend {backend} runs on the CPU; use the device cpu")


def open_model(
    folder: Path,
    device: str | torch.device,
    *,
    backend: Backend = "torch",
    precision: Precision = "float32",
    compiled: bool = False,
) -> Model:
    """Return the model of a folder on a device; "auto" is the CPU for what runs nowhere else.

    ConfigError if the device is not there, or the choices do not go together; WeightsError if the
    folder holds no such model, or no such export of it; DependencyError if the backend is not
    installed.
    """
    device = find_device("cpu" if device == "auto" and backend != "torch" else device)
    check_backend(backend, precision, compiled=compiled, device=device)
    if backend != "torch":
        return _open_graphs(folder, backend, precision)
    model = quicken(load_model(folder)).to(device)
    if precision == "float32" and not compiled:
        return model
    return in_precision(model, getattr(torch, precision), compiled=compiled)


def export_folder(folder: Path, kind: str, precision: str) -> Path:
    """Return where `sfe export` puts the graphs of a model folder."""
    return folder / (f"{kind}-int8" if precision == "int8" else kind)


def _open_graphs(folder: Path, backend: str, precision: str) -> Model:
    config = load_config(folder)
    place = export_folder(folder, backend, precision)
    if (place / SAVED).exists() or not (place / MANIFEST).is_file():  # of two exports, or of none
        option = " --precision int8" if precision == "int8" else ""
        raise WeightsError(
            f"{folder} has no graphs for this: `sfe export {folder} --format {backend}{option}` "
            "makes them"
        )
    manifest = read_manifest(place)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    runners: dict[str, Runner] = {}
    for name in manifest.graphs:
        path = place / f"{name}{SUFFIXES[backend]}"
        runners[name] = OnnxRunner(path) if backend == "onnx" else OpenVinoRunner(path, dtype)
    return assemble(config, manifest.latent_avg, runners, manifest.fingerprint)
