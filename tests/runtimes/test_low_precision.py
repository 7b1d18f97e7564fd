"""PyTorch in a lower precision: near float32, and not by accident."""

from __future__ import annotations

import pytest
import torch

from stylefeatureeditor.editor import Editor
from stylefeatureeditor.runtimes.low_precision import in_precision
from tiny import tiny_editor, tiny_model, tiny_photos

EDITS = {"smile": 2.0, "age": -3.0}


def error(one, other):
    return ((one - other).square().mean() / one.var()).sqrt()


def test_bfloat16_is_near_float32(editor, model_folder):
    lower = Editor.from_pretrained(model_folder, device="cpu", precision="bfloat16")
    expected = editor.edit(tiny_photos(2), EDITS).pixels
    edited = lower.edit(tiny_photos(2), EDITS).pixels
    assert edited.dtype == torch.float32
    assert 1e-4 < error(expected, edited) < 0.05


def test_the_model_that_it_comes_from_is_left_alone(editor):
    before = {name: value.clone() for name, value in editor.model.state_dict().items()}
    in_precision(editor.model, torch.bfloat16)
    after = editor.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(value.dtype == before[name].dtype for name, value in after.items())


def test_an_inversion_of_either_fits_both(editor):
    lower = tiny_editor(model=in_precision(editor.model, torch.bfloat16))
    inversion = lower.invert(tiny_photos())
    assert inversion.features.dtype == torch.float32
    assert error(editor.edit(inversion, EDITS).pixels, lower.edit(inversion, EDITS).pixels) < 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_compiled_model_on_a_gpu_is_near_float32(dtype):
    model = tiny_model().to("cuda")
    own = tiny_editor(model=model)
    compiled = tiny_editor(model=in_precision(model, dtype, compiled=True))
    expected = own.edit(tiny_photos().cuda(), EDITS).pixels
    for _ in range(3):  # capture, then replay: what was returned before must stay
        edited = compiled.edit(tiny_photos().cuda(), EDITS).pixels
    assert error(expected, edited) < 0.05
