"""Editor.from_pretrained with a backend: the same pictures, and a sentence where it cannot be."""

from __future__ import annotations

import sys

import pytest
import torch

from seeded import draw
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import ConfigError, DependencyError, ShapeError, WeightsError
from stylefeatureeditor.records import CodeShift, StyleSpace
from stylefeatureeditor.runtimes.choose import check_backend
from tiny import SIZE, tiny_editor, tiny_photos

CPU = torch.device("cpu")
EDITS = {"smile": 2.0, "age": -3.0}


@pytest.fixture(params=["onnx", "openvino"])
def other(request, model_folder):
    request.getfixturevalue(f"{request.param}_folder")
    return Editor.from_pretrained(model_folder, backend=request.param)


def assert_near(one, two):
    assert (one - two).abs().max() < 1e-4 * one.std()


def test_a_backend_edits_as_pytorch_does(editor, other):
    for photos in (tiny_photos(), tiny_photos(3)):
        assert_near(editor.edit(photos, EDITS).pixels, other.edit(photos, EDITS).pixels)
    strengths = {"smile": torch.tensor([-1.0, 0.0, 2.0])}
    photo = tiny_photos()
    assert_near(editor.edit(photo, strengths).pixels, other.edit(photo, strengths).pixels)


def test_masks_act_outside_the_graphs(editor, other):
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., : SIZE // 2] = 1
    masked = other.edit(tiny_photos(), EDITS, mask=mask).pixels
    assert_near(editor.edit(tiny_photos(), EDITS, mask=mask).pixels, masked)
    assert not torch.allclose(masked, other.edit(tiny_photos(), EDITS).pixels, atol=0.1)


def test_stylespace_edits_reach_both_halves_of_the_generator(editor, other):
    layout = editor.model.config.generator.style_layout()
    offsets = StyleSpace(
        tuple(draw(f"conv{i}", (1, width)) for i, width in enumerate(layout.conv)),
        tuple(draw(f"rgb{i}", (1, width)) for i, width in enumerate(layout.rgb)),
    )

    class Both(EditDirection):
        def __init__(self):
            pass

        def shift(self, codes, strength):  # noqa: ARG002
            return CodeShift(styles=offsets.map(lambda style: style * strength))

        def apply(self, codes, strength):
            return codes + self.shift(codes, strength)

    edits = {Both(): 0.5}
    edited = other.edit(tiny_photos(), edits).pixels
    assert_near(editor.edit(tiny_photos(), edits).pixels, edited)
    assert not torch.allclose(edited, other.invert(tiny_photos()).pixels, atol=0.1)


def test_an_inversion_goes_from_one_backend_to_another(editor, other):
    inversion = editor.invert(tiny_photos())
    assert_near(editor.edit(inversion, EDITS).pixels, other.edit(inversion, EDITS).pixels)
    with pytest.raises(ShapeError, match="another model"):
        other.edit(tiny_editor(model=_another_model()).invert(tiny_photos()), EDITS)


def _another_model():
    from tiny import tiny_model

    return tiny_model(name="another")


def test_what_has_no_weights_cannot_be_saved(other, tmp_path):
    with pytest.raises(WeightsError, match="backend 'torch'"):
        other.save_pretrained(tmp_path / "copy")


@pytest.mark.parametrize(
    ("backend", "precision", "command"),
    [
        ("onnx", "float32", "--format onnx`"),
        ("openvino", "bfloat16", "--format openvino`"),
        ("openvino", "int8", "--format openvino --precision int8`"),
    ],
)
def test_a_model_that_was_not_exported_says_how(tmp_path, backend, precision, command):
    tiny_editor().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="sfe export") as caught:
        Editor.from_pretrained(tmp_path, backend=backend, precision=precision)
    assert command in str(caught.value)


@pytest.mark.parametrize(("backend", "package"), [("onnx", "onnxruntime"), ("openvino",) * 2])
def test_a_missing_package_is_one_sentence(request, model_folder, monkeypatch, backend, package):
    from stylefeatureeditor.runtimes import engines

    request.getfixturevalue(f"{backend}_folder")
    engines._core.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=rf"stylefeatureeditor\[{backend}\]"):
        Editor.from_pretrained(model_folder, backend=backend)


def test_a_damaged_graph_is_one_sentence(onnx_folder, tmp_path):
    from stylefeatureeditor.runtimes.engines import OnnxRunner, OpenVinoRunner

    bad = tmp_path / "e4e.onnx"
    bad.write_bytes((onnx_folder / "e4e.onnx").read_bytes()[:1000])
    for kind in (OnnxRunner, OpenVinoRunner):
        with pytest.raises(WeightsError, match="export the model again"):
            kind(bad)


@pytest.mark.parametrize(
    ("backend", "precision", "compiled", "device", "sentence"),
    [
        ("tensorrt", "float32", False, "cpu", "got 'tensorrt'"),
        ("onnx", "int8", False, "cpu", "onnx runs in float32, got 'int8'"),
        ("torch", "int8", False, "cpu", "got 'int8'"),
        ("torch", "float16", False, "cpu", "use bfloat16"),
        ("torch", "float32", True, "cpu", "CUDA"),
        ("onnx", "float32", False, "cuda", "runs on the CPU"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(
    backend, precision, compiled, device, sentence
):
    with pytest.raises(ConfigError, match=sentence):
        check_backend(backend, precision, compiled=compiled, device=torch.device(device))
