"""One tiny model, exported once in each format: capturing a graph takes a second or two."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from stylefeatureeditor.editor import Editor
from stylefeatureeditor.runtimes import export
from stylefeatureeditor.runtimes.export import export_graphs
from tiny import tiny_editor

EDITS = {"smile": 2.0, "age": -3.0}


@pytest.fixture(scope="session", autouse=True)
def _two_threads_would_wait_for_each_other():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    tiny_editor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def editor(model_folder) -> Editor:
    return Editor.from_pretrained(model_folder, device="cpu")


@pytest.fixture(scope="session")
def onnx_folder(model_folder, editor) -> Path:
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    export_graphs(editor.model, model_folder / "onnx", "onnx")
    return model_folder / "onnx"


@pytest.fixture(scope="session")
def openvino_folder(model_folder, editor, onnx_folder) -> Path:
    pytest.importorskip("openvino", reason="needs the extra openvino")

    class Captured:
        """What has been captured for ONNX already."""

        def __init__(self, graph):
            self.name = graph.name

        def save(self, path, *, external_data):
            assert external_data
            for suffix in (".onnx", ".onnx.data"):
                shutil.copy(onnx_folder / f"{self.name}{suffix}", Path(path).parent)
            Path(path).with_name(f"{self.name}.onnx").rename(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_onnx_program", Captured)
        export_graphs(editor.model, model_folder / "openvino", "openvino")
    return model_folder / "openvino"


@pytest.fixture(scope="session")
def pt2_folder(model_folder, editor) -> Path:
    export_graphs(editor.model, model_folder / "pt2", "pt2")
    return model_folder / "pt2"
