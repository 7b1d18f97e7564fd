"""int8 for OpenVINO: Fuser and Feature Editor, calibrated on photos.

These two are half of an edit's arithmetic. The generator stays in float32: style scales its
channels, so one range for all of them costs four times the error, and gains no speed (docs/LOG.md).
The encoders stay so that codes are exact.

Weights have a scale per output channel, activations one per tensor. Calibration uses what the two
networks are given while the PyTorch model inverts and edits the photos. Take photos like those to
be edited; eight are enough.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor.errors import DependencyError, PhotoError
from stylefeatureeditor.runtimes.graphs import inference_graphs
from stylefeatureeditor.runtimes.stand_ins import assemble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from torch import Tensor

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.model import Model
    from stylefeatureeditor.runtimes.export import Change
    from stylefeatureeditor.runtimes.graphs import Graph

NETWORKS = ("fuser", "feature_editor")

Calls = dict[str, list[list["np.ndarray"]]]


class _Recorder:
    """Runs a graph in PyTorch and keeps what one of NETWORKS was given, a row at a time."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.calls: list[list[np.ndarray]] = []

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        rows = inputs[0].shape[0] if self.graph.name in NETWORKS else 0
        for row in range(rows):
            self.calls.append([tensor[row : row + 1].numpy() for tensor in inputs])
        outputs = self.graph.network(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)


def record(
    model: Model,
    photos: Iterable[Tensor],
    edits: Sequence[tuple[EditDirection, float]],
    method: Callable[[Model], Any],
) -> Calls:
    """Return what NETWORKS are given while photos are inverted and edited, graph name -> calls.

    PhotoError if there is no photo.
    """
    recorders = {graph.name: _Recorder(graph) for graph in inference_graphs(model)}
    latent_avg = model.generator.latent_avg
    sfe = method(assemble(model.config, latent_avg, recorders, model.fingerprint))
    for number, photo in enumerate(photos):
        inversion = sfe.invert(photo)
        sfe.reconstruct(inversion)
        if edits:
            direction, strength = edits[number % len(edits)]
            sfe.edit(inversion, {direction: strength})
    calls = {name: recorder.calls for name, recorder in recorders.items() if recorder.calls}
    if not calls:
        raise PhotoError("int8 needs photos to learn the ranges from; give some, eight are enough")
    return calls


def quantizer(calls: Calls) -> Change:
    """Return what `export_graphs` takes as `change`: it makes a graph's convolutions int8.

    A graph without calls stays in float32. DependencyError if nncf is not installed.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else the library reports its use by network
    try:
        import nncf
    except ImportError as error:
        raise DependencyError(
            "int8 needs nncf: run `pip install 'stylefeatureeditor[openvino]'`"
        ) from error

    def change(name: str, model: Any) -> Any:
        if name not in calls:
            return model
        with torch.no_grad():
            return nncf.quantize(
                model,
                nncf.Dataset(calls[name]),
                subset_size=len(calls[name]),
                preset=nncf.QuantizationPreset.MIXED,
            )

    return change
