"""Other engines and precisions: time of a re-edit and a preview, and the error against float32.

Every engine opens a model folder as a user does, exported graphs in it. Weights are random, which
amplifies the rounding of H more than trained ones do; the photo is a smooth picture.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.measure import timed
from benchmarks.models import config_of, direction_of, random_model
from benchmarks.training import smooth_picture
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.metrics.pixel import MS_SSIM_SMALLEST, ms_ssim
from stylefeatureeditor.runtimes.choose import Backend, Precision, export_folder, open_model
from stylefeatureeditor.runtimes.export import GraphFormat, export_graphs
from stylefeatureeditor.runtimes.graphs import preview_size
from stylefeatureeditor.runtimes.quantize import quantizer, record
from stylefeatureeditor.weights.checkpoint import save_model

if TYPE_CHECKING:
    from collections.abc import Iterator

CALIBRATION = 4  # pictures that int8 learns its ranges from


@dataclass(frozen=True)
class Engine:
    """A backend in a precision."""

    name: str
    backend: Backend
    precision: Precision
    compiled: bool = False


ENGINES = {  # the first of each is what the others are compared with
    "cpu": (
        Engine("PyTorch, float32", "torch", "float32"),
        Engine("PyTorch, bfloat16", "torch", "bfloat16"),
        Engine("ONNX Runtime, float32", "onnx", "float32"),
        Engine("OpenVINO, float32", "openvino", "float32"),
        Engine("OpenVINO, bfloat16", "openvino", "bfloat16"),
        Engine("OpenVINO, Fuser and H in int8", "openvino", "int8"),
    ),
    "cuda": (
        Engine("PyTorch, float32", "torch", "float32"),
        Engine("PyTorch, float32, compiled", "torch", "float32", compiled=True),
        Engine("PyTorch, bfloat16", "torch", "bfloat16"),
        Engine("PyTorch, bfloat16, compiled", "torch", "bfloat16", compiled=True),
        Engine("PyTorch, float16, compiled", "torch", "float16", compiled=True),
    ),
}


def engine_rows(size: int, device: str, seconds: float) -> Iterator[dict[str, object]]:
    """Yield the rows of one size, float32's first."""
    place, photo = torch.device(device), smooth_picture(size, 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_model(folder, size, ENGINES[device])
        exact: Tensor | None = None
        baseline = 0.0
        for engine in ENGINES[device]:
            model = open_model(
                folder,
                place,
                backend=engine.backend,
                precision=engine.precision,
                compiled=engine.compiled,
            )
            sfe, edits = Sfe(model), {direction_of(model.config): 1.0}
            with torch.no_grad():
                known = sfe.invert(photo.to(place))
                drawn = sfe.edit(known, edits).float().cpu()
                timing = timed(lambda p=sfe, k=known, e=edits: p.edit(k, e), seconds=seconds)
                row = {"name": engine.name, **asdict(timing)}
                small = preview_size(model.config)
                if small is not None:
                    preview = timed(
                        lambda p=sfe, k=known, e=edits, s=small: p.edit(k, e, size=s),
                        seconds=seconds,
                    )
                    row["preview"] = preview.median
            if exact is None:
                exact, baseline = drawn, timing.median
            yield row | {"of_float32": timing.median / baseline} | _distance(drawn, exact)


def _write_model(folder: Path, size: int, engines: tuple[Engine, ...]) -> None:
    """Write a model folder with the graphs that the engines need."""
    model = random_model(config_of(size))
    save_model(model, folder)
    graphs: set[tuple[GraphFormat, str]] = set()
    for engine in engines:
        if engine.backend != "torch":
            graphs.add((engine.backend, "int8" if engine.precision == "int8" else "float32"))
    for kind, precision in sorted(graphs):
        change = None
        if precision == "int8":
            photos = (smooth_picture(size, seed) for seed in range(1, 1 + CALIBRATION))
            change = quantizer(record(model, photos, [(direction_of(model.config), 1.0)], Sfe))
        target = export_folder(folder, kind, precision)
        export_graphs(model, target, kind, change=change, precision=precision)


def _distance(drawn: Tensor, exact: Tensor) -> dict[str, float]:
    """Return the RMS of the difference over the exact picture's spread, and MS-SSIM."""
    found = {"error": ((drawn - exact).square().mean().sqrt() / exact.std()).item()}
    if exact.shape[-1] >= MS_SSIM_SMALLEST:
        pictures = (picture.clamp(-1, 1) for picture in (drawn, exact))
        found["ms_ssim"] = ms_ssim(*pictures).item()
    return found
