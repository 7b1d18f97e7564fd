"""PyTorch itself in bfloat16 or float16, and compiled on a GPU.

Convolutions run in the lower precision; style, demodulation and the sum of RGB images stay in
float32, and so does everything between networks. CPUs need AMX for this to be faster than
float32 (docs/LOG.md).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stylefeatureeditor.runtimes.graphs import Graph, HighLayers, LowLayers, inference_graphs
from stylefeatureeditor.runtimes.stand_ins import assemble

if TYPE_CHECKING:
    from collections.abc import Callable

    from stylefeatureeditor.model import Model


class PrecisionRunner(nn.Module):
    """Runs one graph, whose network it changes, with convolutions in a dtype.

    `compiled` compiles it and replays it as a CUDA graph; the first call with each batch size then
    takes a minute.
    """

    def __init__(self, graph: Graph, dtype: torch.dtype, *, compiled: bool) -> None:
        super().__init__()
        self.network = lowered(graph.network, dtype)
        self.dtype = dtype
        self.wide = {"codes", "styles", "rgb"} & graph.inputs.keys()  # stay in float32
        self.names = tuple(graph.inputs)
        call: Callable[..., Tensor | tuple[Tensor, ...]] = self.network
        self.call = torch.compile(call, mode="reduce-overhead") if compiled else call
        self.compiled = compiled

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in float32."""
        ready = [
            tensor
            if name in self.wide
            else tensor.to(self.dtype, memory_format=torch.channels_last)
            for name, tensor in zip(self.names, inputs, strict=True)
        ]
        outputs = self.call(*ready)
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        # The next replay overwrites what a CUDA graph returned, so it is copied.
        return tuple(
            output.to(torch.float32, memory_format=torch.contiguous_format, copy=self.compiled)
            for output in several
        )


def lowered(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a network with weights in a dtype; G's stay in float32 and are lowered as it runs."""
    if isinstance(network, (LowLayers, HighLayers)):
        constant = network.generator.constant
        # The constant sets the dtype and layout of the low layers.
        constant.data = constant.data.to(dtype, memory_format=torch.channels_last)
        return network
    for parameter in network.to(dtype).parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def in_precision(model: Model, dtype: torch.dtype, *, compiled: bool = False) -> Model:
    """Return a model that does the same in a lower precision."""
    own = copy.deepcopy(model)
    runners = {
        graph.name: PrecisionRunner(graph, dtype, compiled=compiled)
        for graph in inference_graphs(own)
    }
    latent_avg = model.generator.latent_avg.clone()
    return assemble(model.config, latent_avg, runners, model.fingerprint)
