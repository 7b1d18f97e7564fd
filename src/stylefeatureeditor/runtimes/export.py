"""Graphs to files: ONNX, OpenVINO, or PyTorch's own .pt2, each with a free batch.

<folder>/graphs.json           format, fingerprint, latent_avg, and each graph's inputs and outputs
<folder>/<graph>.onnx          with <graph>.onnx.data; or <graph>.xml with .bin; or <graph>.pt2

graphs.json comes last, so a folder that has it is complete.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stylefeatureeditor.errors import ConfigError, DependencyError, WeightsError
from stylefeatureeditor.files import whole
from stylefeatureeditor.runtimes.engines import import_openvino
from stylefeatureeditor.runtimes.graphs import inference_graphs
from stylefeatureeditor.weights.storage import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.export import ExportedProgram
    from torch.onnx import ONNXProgram

    from stylefeatureeditor.model import Model
    from stylefeatureeditor.runtimes.graphs import Graph

    Change = Callable[[str, Any], Any]

GraphFormat = Literal["onnx", "openvino", "pt2"]
SUFFIXES: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2"}
MANIFEST = "graphs.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The content of graphs.json."""

    format: str  # of the files
    precision: str  # "float32", or "int8" where the convolutions are
    fingerprint: str  # of the model that the graphs come from
    latent_avg: Tensor  # (D,), which is added to what e4e and encoder return
    graphs: tuple[str, ...]  # their names


def export_graphs(
    model: Model,
    folder: Path,
    kind: GraphFormat,
    *,
    change: Change | None = None,
    precision: str = "float32",
    done: Callable[[str], None] = lambda _name: None,
) -> None:
    """Write every graph of a model, or none: an older export stays until the new one is whole.

    Args:
        model: in float32, on the CPU.
        folder: made if it is not there.
        kind: format of the files.
        change: what to make of an OpenVINO model before it is written, by graph name; see
            `quantize.py`.
        precision: what graphs.json shall say; "int8" where `change` makes it so.
        done: told each graph's name once it is written.

    Raises:
        ConfigError: no such format.
        DependencyError: the format's package is not installed.
        WeightsError: the folder cannot be written, or the model holds no weights.
    """
    if kind not in SUFFIXES:
        raise ConfigError(f"a model is exported as {', '.join(SUFFIXES)}, got {kind!r}")
    if model.source_fingerprint is not None:
        raise WeightsError("graphs are exported from the PyTorch model in float32, not from graphs")
    graphs = inference_graphs(model)
    manifest = {
        "version": FORMAT,
        "format": kind,
        "precision": precision,
        "stands_for": model.fingerprint,
        "latent_avg": model.generator.latent_avg.tolist(),
        "graphs": {
            graph.name: {
                "inputs": {name: ["batch", *shape] for name, shape in graph.inputs.items()},
                "outputs": list(graph.outputs),
            }
            for graph in graphs
        },
    }
    with whole(folder) as stage:
        for graph in graphs:
            path = stage / f"{graph.name}{SUFFIXES[kind]}"
            with _quiet():
                if kind == "onnx":
                    _onnx_program(graph).save(str(path), external_data=True)
                elif kind == "openvino":
                    _write_openvino(graph, path, change)
                else:
                    torch.export.save(captured(graph), path)
            done(graph.name)
        write_json(stage / MANIFEST, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read graphs.json; WeightsError if it is missing, damaged, or of another version."""
    content = read_json(folder / MANIFEST)
    if content.get("version") != FORMAT:
        raise WeightsError(
            f"{folder / MANIFEST}: expected version {FORMAT}, got {content.get('version')!r}: "
            "export the model again"
        )
    try:
        return Manifest(
            format=str(content["format"]),
            precision=str(content["precision"]),
            fingerprint=str(content["stands_for"]),
            latent_avg=torch.tensor([float(value) for value in content["latent_avg"]]),
            graphs=tuple(content["graphs"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{folder / MANIFEST} is damaged ({error}): export the model again"
        ) from error


def captured(graph: Graph) -> ExportedProgram:
    """Return a graph as torch.export sees it, with a batch of any size.

    Gradients are on while it is captured: without them the layers work in place and choose another
    arithmetic for a batch of one.
    """
    batch = torch.export.Dim("batch", min=1)
    with torch.enable_grad():
        return torch.export.export(
            _Unfoldable(graph.network),
            graph.example(),
            dynamic_shapes=(tuple({0: batch} for _ in graph.inputs),),
            strict=False,
        )


class _Unfoldable(nn.Module):
    """A network whose noise is multiplied by a 1 that OpenVINO cannot know to be constant.

    Else it folds noise and bias into full-size tensors, half a gigabyte at 1024 px.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network."""
        first = inputs[0].flatten()[0]
        one = (first == first).to(first.dtype)
        strengths = {
            name: strength * one
            for name, strength in self.network.named_parameters()
            if name.endswith("noise_strength")
        }
        return functional_call(self.network, strengths, inputs)


def _onnx_program(graph: Graph) -> ONNXProgram:
    try:
        import onnxscript  # noqa: F401  the exporter needs it, and says so less plainly
    except ImportError as error:
        raise DependencyError(
            "exporting needs onnx and onnxscript: run `pip install 'stylefeatureeditor[onnx]'`"
        ) from error
    program = torch.onnx.export(
        captured(graph),
        dynamo=True,
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        verbose=False,
    )
    assert program is not None
    return program


def _write_openvino(graph: Graph, path: Path, change: Change | None) -> None:
    """Write .xml and .bin, by way of ONNX: OpenVINO's own converter sends reports of its use."""
    openvino = import_openvino()
    with TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        onnx = Path(folder) / "graph.onnx"
        _onnx_program(graph).save(str(onnx), external_data=True)
        model = openvino.Core().read_model(onnx)
        if change is not None:
            model = change(graph.name, model)
        openvino.serialize(model, str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' messages about their internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "nncf")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
