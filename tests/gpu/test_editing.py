"""An editor on a GPU: every way to use it, and how often it waits."""

import pytest
import torch

from fake_gpu import FakeGpu
from stylefeatureeditor.directions.fit import sefa
from stylefeatureeditor.editing.direction import StyleSpaceDirection
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.preview import Preview
from stylefeatureeditor.runtimes.low_precision import in_precision
from stylefeatureeditor.weights.inversion_file import load_inversion, save_inversion
from tiny import SIZE, tiny_cars_model, tiny_editor, tiny_model, tiny_photos
from tiny_methods import TINY, tiny_method_editor

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = pytest.mark.parametrize("kind", ["cuda", "mps"])


@KINDS
@pytest.mark.parametrize("make", [tiny_model, tiny_cars_model])
def test_an_edit_of_a_warm_model_waits_for_its_picture_alone(kind, make):
    with FakeGpu(kind) as gpu:
        editor = tiny_editor(model=make()).to(kind)
        layout = editor.model.config.generator.style_layout()
        hair = StyleSpaceDirection.of_channels("hair", ((3, 1),), layout)
        edits = {"smile": 1.0, "age": -2.0, hair: 1.0}
        inversion = editor.invert(tiny_photos())
        editor.edit(inversion, edits)
        with gpu.counting() as waits:
            pixels = editor.method.edit(inversion, editor.resolve(edits))
        assert not waits
        with gpu.counting() as waits:
            assert editor.edit(inversion, edits).crops
        assert waits.total() <= 1, waits
        assert pixels.device.type == kind


@KINDS
def test_masks_strips_and_previews(kind):
    with FakeGpu(kind) as gpu:
        editor = tiny_editor().to(kind)
        inversion = editor.invert(tiny_photos())
        mask = torch.ones(1, 1, SIZE, SIZE)
        assert editor.edit(inversion, {"smile": 1.0}, mask=mask, blend="residual").crops
        assert len(list(editor.strip(inversion, "smile", [-1.0, 1.0]))) == 2
        preview = Preview(editor, inversion, dtype=torch.bfloat16)
        preview.pixels({"age": 1.0})
        with gpu.counting() as waits:
            assert preview.crop({"age": 1.0})
        assert waits.total() <= 1, waits


@KINDS
def test_a_preview_follows_its_editor(kind):
    with FakeGpu(kind):
        editor = tiny_editor()
        preview = Preview(editor, editor.invert(tiny_photos()))
        drawn = preview.pixels({"smile": 1.0})
        editor.to(kind)
        assert torch.allclose(preview.pixels({"smile": 1.0}).cpu(), drawn, atol=1e-5)
        editor.to("cpu")
        assert torch.allclose(preview.pixels({"smile": 1.0}), drawn, atol=1e-5)


@KINDS
def test_a_batch_of_a_loaded_inversion_and_photos(kind, tmp_path):
    with FakeGpu(kind):
        editor = tiny_editor().to(kind)
        file = save_inversion(editor.invert(tiny_photos()), tmp_path / "a.safetensors")
        photos = [load_inversion(file), tiny_photos(2), load_inversion(file)]
        results = list(editor.edit_batch(photos, {"smile": 1.0}, batch_size=2))
        assert [len(result.crops) for result in results] == [1, 2, 1]


@KINDS
@pytest.mark.parametrize("word", TINY)
def test_a_method(kind, word):
    with FakeGpu(kind):
        editor = tiny_method_editor(word).to(kind)
        assert editor.edit(editor.invert(torch.rand(1, 3, 64, 64)), {"smile": 1.0}).crops


@KINDS
def test_a_model_of_lower_precision_moves_as_a_whole(kind):
    with FakeGpu(kind):
        editor = tiny_editor(model=in_precision(tiny_model(), torch.bfloat16))
        expected = editor.edit(tiny_photos(), {"smile": 1.0}).pixels
        editor.to(kind)
        moved = editor.edit(tiny_photos(), {"smile": 1.0}).pixels.cpu()
        assert torch.allclose(moved, expected, atol=0.02)


@KINDS
def test_sefa(kind):
    expected = sefa(tiny_model().generator, torch.randn(20, 12), 2)
    with FakeGpu(kind):
        found = sefa(tiny_model().generator.to(kind), torch.randn(20, 12), 2)
    assert [each.name for each in found] == [each.name for each in expected]


def test_a_direction_is_sent_to_each_device_once():
    with FakeGpu("cuda") as gpu:
        editor = tiny_editor()
        direction = editor.direction("age")
        on_cpu = editor.invert(tiny_photos()).codes
        editor.to("cuda")
        codes = editor.invert(tiny_photos()).codes
        direction.shift(codes, 1.0)
        with gpu.counting() as waits:
            shift = direction.shift(codes, 1.0)
        assert not waits
        assert shift.wplus.device.type == "cuda"
        assert direction.shift(on_cpu, 1.0).wplus.device.type == "cpu"


def test_a_backend_of_the_cpu_stays_there():
    with FakeGpu("cuda"):
        editor = tiny_editor(model=in_precision(tiny_model(), torch.bfloat16))
        editor.model.generator.runners = {"generator_low": lambda *inputs: inputs}  # an engine
        with pytest.raises(ConfigError, match="this backend runs on cpu alone"):
            editor.to("cuda")
        assert editor.to("cpu") is editor
