"""Graphs in files: the numbers of PyTorch, for any batch."""

from __future__ import annotations

import json

import pytest
import torch

from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.runtimes.engines import OnnxRunner, OpenVinoRunner
from stylefeatureeditor.runtimes.export import MANIFEST, export_graphs, read_manifest
from stylefeatureeditor.runtimes.graphs import inference_graphs
from tiny import tiny_model

NAMES = [graph.name for graph in inference_graphs(tiny_model())]


def expected_and_got(editor, name, run, batch):
    (graph,) = (graph for graph in inference_graphs(editor.model) if graph.name == name)
    inputs = graph.example(batch)
    with torch.no_grad():
        expected = graph.network(*inputs)
        got = run(*inputs)
    expected, got = (x if isinstance(x, tuple) else (x,) for x in (expected, got))
    assert len(got) == len(graph.outputs)
    return expected, got


def assert_near(expected, got):
    for one, other in zip(expected, got, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() < 2e-5 * one.std()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_an_onnx_graph_gives_what_pytorch_gives(onnx_folder, editor, name, batch):
    run = OnnxRunner(onnx_folder / f"{name}.onnx")
    assert_near(*expected_and_got(editor, name, run, batch))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_an_openvino_graph_gives_what_pytorch_gives(openvino_folder, editor, name, batch):
    run = OpenVinoRunner(openvino_folder / f"{name}.xml")
    assert_near(*expected_and_got(editor, name, run, batch))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_pt2_graph_gives_what_pytorch_gives(pt2_folder, editor, name, batch):
    run = torch.export.load(pt2_folder / f"{name}.pt2").module()
    assert_near(*expected_and_got(editor, name, run, batch))


def test_graphs_json_names_what_goes_in_and_comes_out(pt2_folder, editor):
    manifest = read_manifest(pt2_folder)
    assert manifest.fingerprint == editor.method.fingerprint
    assert set(manifest.graphs) == set(NAMES)
    assert torch.equal(manifest.latent_avg, editor.model.generator.latent_avg)
    content = json.loads((pt2_folder / MANIFEST).read_text())
    assert content["graphs"]["encoder"]["inputs"] == {"photos": ["batch", 3, 32, 32]}
    assert content["graphs"]["encoder"]["outputs"] == ["offsets", "predicted"]


def test_an_interrupted_export_leaves_the_older_one_as_it_was(tmp_path, monkeypatch, pt2_folder):
    (tmp_path / MANIFEST).write_text((pt2_folder / MANIFEST).read_text())
    monkeypatch.setattr(torch.export, "save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_graphs(tiny_model(), tmp_path, "pt2")
    assert list(tmp_path.iterdir()) == [tmp_path / MANIFEST]
    assert (tmp_path / MANIFEST).read_text() == (pt2_folder / MANIFEST).read_text()


def test_an_unknown_format_and_a_model_without_weights_are_refused(tmp_path, onnx_folder):
    from stylefeatureeditor.runtimes.choose import open_model

    with pytest.raises(ConfigError, match="onnx, openvino, pt2, got 'tflite'"):
        export_graphs(tiny_model(), tmp_path, "tflite")
    graphs = open_model(onnx_folder.parent, torch.device("cpu"), backend="onnx")
    with pytest.raises(WeightsError, match="from the PyTorch model"):
        export_graphs(graphs, tmp_path, "pt2")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [('{"version": 9}', "expected version 1, got 9"), ('{"version": 1}', "is damaged")],
)
def test_a_graphs_json_of_another_kind_is_refused(tmp_path, content, sentence):
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(WeightsError, match=sentence):
        read_manifest(tmp_path)
