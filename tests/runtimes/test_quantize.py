"""int8: what the networks see is recorded, and a graph that learnt from it is near float32."""

from __future__ import annotations

import sys

import pytest
import torch

from stylefeatureeditor.errors import DependencyError, PhotoError
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.runtimes.engines import OpenVinoRunner
from stylefeatureeditor.runtimes.quantize import quantizer, record
from tiny import tiny_editor, tiny_photos


@pytest.fixture(scope="module")
def calls():
    editor = tiny_editor()
    edits = [(editor.direction("smile"), strength) for strength in (-3.0, 3.0)]
    return record(editor.model, tiny_photos(4).split(1), edits, Sfe)


def test_fuser_and_feature_editor_are_recorded_row_by_row(calls):
    assert set(calls) == {"fuser", "feature_editor"}
    assert len(calls["fuser"]) == 4
    assert len(calls["feature_editor"]) == 8  # a reconstruction and an edit of each photo
    assert all(value.shape[0] == 1 for some in calls.values() for call in some for value in call)


def test_an_int8_network_is_near_float32(calls, openvino_folder, editor):
    pytest.importorskip("nncf", reason="needs the extra openvino")
    import openvino

    graph = openvino.Core().read_model(openvino_folder / "feature_editor.xml")
    smaller = quantizer(calls)("feature_editor", graph)
    kinds = [operation.get_type_name() for operation in smaller.get_ops()]
    assert "FakeQuantize" in kinds
    run = OpenVinoRunner(smaller)
    features, delta = map(torch.from_numpy, calls["feature_editor"][1])
    with torch.no_grad():
        expected = editor.model.feature_editor(features, delta)
    (got,) = run(features, delta)
    assert 1e-3 < ((got - expected).std() / expected.std()) < 0.2


def test_a_graph_without_calls_stays_as_it_is():
    pytest.importorskip("nncf", reason="needs the extra openvino")
    assert quantizer({})("e4e", "graph") == "graph"


def test_no_photo_and_no_package_are_one_sentence_each(monkeypatch):
    with pytest.raises(PhotoError, match="eight are enough"):
        record(tiny_editor().model, [], [], Sfe)
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(DependencyError, match="openvino"):
        quantizer({})
