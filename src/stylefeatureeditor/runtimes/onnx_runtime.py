"""Runs .onnx graphs with ONNX Runtime, in float32 on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.errors import DependencyError, WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


class OnnxRunner:
    """One graph in a session of its own; it takes as many threads as torch has.

    Raises:
        DependencyError: onnxruntime is not installed.
        WeightsError: the file is missing or damaged.
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
        except Exception as error:  # the library has errors of its own making
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
