"""Preview: exact at strength zero, near the edit elsewhere, and cheaper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.preview import Preview
from tiny import SIZE, tiny_editor, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")
EDITS = {"smile": 2.0, "age": -3.0}


@pytest.fixture(scope="module")
def editor():
    return tiny_editor()


@pytest.fixture
def preview(editor):
    return Preview(editor, editor.invert(tiny_photos()))


def test_without_an_edit_it_is_the_inversion(preview):
    assert torch.allclose(preview.pixels({}), preview.inversion.pixels)
    assert torch.allclose(preview.pixels({"smile": 0.0}), preview.inversion.pixels, atol=1e-4)


def test_an_edit_adds_what_it_changes_in_the_small_image(editor, preview):
    pipeline, inversion = editor.method, preview.inversion
    small = pipeline.edit(inversion, editor.resolve(EDITS), size=16)
    assert small.shape[-1] == 16
    change = small - pipeline.edit(inversion, {}, size=16)
    change = functional.interpolate(change, (SIZE, SIZE), mode="bicubic", align_corners=False)
    drawn = preview.pixels(EDITS)
    torch.testing.assert_close(drawn, inversion.pixels + change)
    assert preview.crop(EDITS).size == (SIZE, SIZE)
    assert np.asarray(preview.crop(EDITS)).std() > 0


def test_a_lower_precision_moves_it_by_little(editor, preview):
    quick = Preview(editor, preview.inversion, dtype=torch.bfloat16)
    drawn, exact, none = quick.pixels(EDITS), preview.pixels(EDITS), preview.pixels({})
    assert drawn.dtype == torch.float32
    assert not torch.equal(drawn, exact)
    assert (drawn - exact).std() < 0.05 * (exact - none).std()
    assert torch.allclose(quick.pixels({}), preview.inversion.pixels, atol=1e-6)


def test_several_strengths_and_a_mask_are_taken(preview):
    assert preview.pixels({"smile": torch.tensor([0.0, 1.0, 2.0])}).shape == (3, 3, SIZE, SIZE)
    nothing = preview.pixels(EDITS, mask=torch.zeros(1, 1, SIZE, SIZE))
    assert not torch.allclose(nothing, preview.pixels(EDITS), atol=0.05)


def test_full_size_layers_do_not_run_again(editor, preview):
    sides = []
    last = editor.model.generator.to_rgb[-1]
    hook = last.register_forward_hook(lambda _, inputs, __: sides.append(inputs[0].shape[-1]))
    preview.pixels(EDITS)
    hook.remove()
    assert sides == [16]


def test_a_small_image_that_g_does_not_draw_is_refused(editor):
    inversion = editor.invert(tiny_photos())
    for size in (8, 20, 64):
        with pytest.raises(ConfigError, match=rf"sides \[16, 32\], got {size}"):
            editor.method.edit(inversion, editor.resolve(EDITS), size=size)


def test_the_small_image_is_a_quarter_where_g_has_one():
    from dataclasses import replace

    from stylefeatureeditor.model import ModelConfig
    from stylefeatureeditor.runtimes.graphs import preview_size
    from tiny import tiny_config

    assert preview_size(ModelConfig()) == GeneratorConfig().size // 4
    assert preview_size(tiny_config()) == 16
    last = replace(tiny_config().generator, size=SIZE)
    assert preview_size(tiny_config(generator=last)) == 16
