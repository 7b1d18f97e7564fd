"""Other engines for exported graphs, on the CPU: ONNX Runtime, and OpenVINO also in bfloat16."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor.errors import DependencyError, WeightsError

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from torch import Tensor

HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OnnxRunner:
    """One graph in its own session, with as many threads as torch has.

    DependencyError if onnxruntime is not installed; WeightsError if the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise DependencyError(
                "the backend onnx needs ONNX Runtime: run `pip install 'stylefeatureeditor[onnx]'`"
            ) from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library raises errors of its own
            raise WeightsError(
                f"{path} cannot be opened by ONNX Runtime: export the model again"
            ) from error
        self.inputs = [value.name for value in self.session.get_inputs()]

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the graph's outputs."""
        arrays = {
            name: tensor.detach().cpu().contiguous().numpy()
            for name, tensor in zip(self.inputs, inputs, strict=True)
        }
        outputs = self.session.run(None, arrays)
        return tuple(torch.from_numpy(output).to(inputs[0].device) for output in outputs)


def import_openvino() -> ModuleType:
    """Return the module; DependencyError if it is not installed."""
    try:
        import openvino
    except ImportError as error:
        raise DependencyError(
            "the backend openvino needs OpenVINO: run `pip install 'stylefeatureeditor[openvino]'`"
        ) from error
    return openvino


class OpenVinoRunner:
    """One compiled graph; it takes as many threads as torch has.

    DependencyError if openvino is not installed; WeightsError if the file is missing or damaged.
    """

    def __init__(self, graph: Path | Any, dtype: torch.dtype = torch.float32) -> None:
        # By default the library takes bfloat16 where the processor has it.
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        core = _core()
        try:
            compiled = core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise WeightsError(
                f"{graph} cannot be opened by OpenVINO: export the model again"
            ) from error
        self.outputs = compiled.outputs
        self.request = compiled.create_infer_request()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the graph's outputs."""
        arrays = [tensor.detach().cpu().contiguous().numpy() for tensor in inputs]
        results = self.request.infer(arrays, share_inputs=True)
        return tuple(  # copied: the next call writes to the same memory
            torch.tensor(results[output], device=inputs[0].device) for output in self.outputs
        )


@lru_cache(maxsize=1)
def _core() -> Any:
    return import_openvino().Core()
