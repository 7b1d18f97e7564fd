"""Whole photos through the compared methods."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from stylefeatureeditor.editing.catalog import load_catalog
from stylefeatureeditor.editing.direction import EditDirection, StyleSpaceDirection
from stylefeatureeditor.editor import Editor, MethodEditor
from stylefeatureeditor.errors import (
    ConfigError,
    DirectionError,
    PhotoError,
    ShapeError,
    WeightsError,
)
from stylefeatureeditor.methods.e4e import E4eMethod
from stylefeatureeditor.photo.image import to_tensor
from stylefeatureeditor.records import StyleLayout
from stylefeatureeditor.runtimes.quick import quicken
from stylefeatureeditor.weights.direction_files import load_own_directions
from stylefeatureeditor.weights.inversion_file import save_inversion
from tiny import tiny_editor
from tiny_methods import GENERATOR, TINY, tiny_method_editor

SIDE = GENERATOR.size


@pytest.fixture(scope="module", params=TINY)
def editor(request, one_thread):
    del one_thread
    return tiny_method_editor(request.param)


@pytest.fixture(scope="module")
def psp(one_thread):
    del one_thread
    return tiny_method_editor("psp")


def photos(count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_an_editor_draws_what_its_method_draws(editor):
    crops = photos(2)
    known = editor.method.invert(crops)
    inversion = editor.invert(crops)
    redrawn = editor.method.reconstruct(known)
    torch.testing.assert_close(inversion.pixels, redrawn, rtol=1e-3, atol=1e-3)
    edited = editor.method.edit(known, {editor.direction("smile"): 0.5})
    result = editor.edit(inversion, {"smile": 0.5})
    torch.testing.assert_close(result.pixels, edited, rtol=1e-3, atol=1e-3)
    assert len(result.crops) == 2


def test_edits_and_strengths_of_one_face_may_be_several(editor):
    smile = editor.direction("smile")
    channel = StyleSpaceDirection.of_channels("channel", ((3, 1),), GENERATOR.style_layout())
    inversion = editor.invert(photos())
    strip = list(editor.strip(inversion, "smile", [-1.0, 1.0]))
    for result, strength in zip(strip, (-1.0, 1.0), strict=True):
        assert torch.equal(result.pixels, editor.edit(inversion, {"smile": strength}).pixels)
    both = editor.edit(inversion, {smile: 0.5, channel: 4.0}).pixels
    method = editor.method
    expected = method.edit(method.invert(photos()), {channel: 4.0, smile: 0.5})
    torch.testing.assert_close(both, expected, rtol=1e-4, atol=1e-4)


def test_a_direction_of_another_generator_is_one_sentence(editor):
    inversion = editor.invert(photos())
    with pytest.raises(DirectionError, match="made for another generator"):
        editor.edit(inversion, {EditDirection.linear(torch.ones(5)): 1.0})
    layout = StyleLayout((4, 4), (4,))
    other = StyleSpaceDirection.of_channels("other", ((0, 1),), layout)
    with pytest.raises(ShapeError, match="made for another generator"):
        editor.edit(inversion, {other: 1.0})


def test_a_mask_keeps_the_reconstruction_outside(psp):
    inversion = psp.invert(photos())
    region = torch.zeros(1, 1, SIDE, SIDE)
    region[..., : SIDE // 2] = 1
    masked = psp.edit(inversion, {"smile": 2.0}, mask=region).pixels
    whole = psp.edit(inversion, {"smile": 2.0}).pixels
    half = SIDE // 2
    assert torch.equal(masked[..., half:], inversion.pixels[..., half:])
    torch.testing.assert_close(masked[..., :half], whole[..., :half])
    assert not torch.equal(masked[..., :half], inversion.pixels[..., :half])


def test_the_whole_photo_comes_back_and_is_kept_outside_the_mask(psp):
    photo = np.ascontiguousarray(astronaut()[:240, 95:355])
    result = psp.edit(photo, {"smile": 1.0}, mask="face")
    after = np.asarray(result.photo)
    assert after.shape == photo.shape
    assert np.array_equal(after[:20], photo[:20])
    assert not np.array_equal(after, photo)


def test_photos_in_a_batch_are_edited_as_each_by_itself(psp):
    crops = [Image.fromarray(np.full((80, 80, 3), level, np.uint8)) for level in (40, 120, 200)]
    results = list(psp.edit_batch(crops, {"smile": 1.0}, batch_size=2, aligned=True))
    for crop, result in zip(crops, results, strict=True):
        alone = psp.edit(crop, {"smile": 1.0}, aligned=True)
        torch.testing.assert_close(result.pixels, alone.pixels, rtol=1e-3, atol=1e-3)


def test_an_inversion_is_a_batch_that_can_be_split_copied_and_joined(editor):
    whole = editor.invert(photos(2))
    copied = pickle.loads(pickle.dumps(whole))
    rows = [copied[0], copied[1]]
    joined = type(whole).cat(rows)
    expected = editor.edit(whole, {"smile": 1.0}).pixels
    assert torch.equal(editor.edit(joined, {"smile": 1.0}).pixels, expected)
    assert torch.equal(editor.edit(rows[1], {"smile": 1.0}).pixels, expected[1:])
    counted = []
    whole.map(lambda tensor: counted.append(tensor.numel()) or tensor)
    assert sum(counted) > 2 * whole.pixels.numel()  # what a method keeps is counted too


def test_another_methods_inversion_is_refused(psp):
    inversion = tiny_method_editor("hfgi").invert(photos())
    with pytest.raises(ShapeError, match="another model"):
        psp.edit(inversion, {"smile": 1.0})


def test_what_cannot_be_inverted_or_saved_is_one_sentence(psp, tmp_path):
    with pytest.raises(ShapeError, match="photos"):
        psp.invert(photos()[..., :-1])
    with pytest.raises(PhotoError, match="floats"):
        psp.invert(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8))
    with pytest.raises(WeightsError, match="no file format"):
        save_inversion(psp.invert(photos()), tmp_path / "inversion")


def test_a_smaller_side_is_the_picture_averaged_down(psp):
    inversion = psp.invert(photos())
    edits = psp.resolve({"smile": 1.0})
    small = psp.method.edit(inversion, edits, size=SIDE // 2)
    whole = psp.method.edit(inversion, edits)
    torch.testing.assert_close(small, torch.nn.functional.avg_pool2d(whole, 2))


def test_published_directions_are_not_saved_as_a_methods_own(psp, tmp_path):
    method = copy.copy(psp.method)
    method.config = replace(method.config, catalog="ffhq")
    known = load_catalog("ffhq").with_own(psp.directions)
    Editor(method, known).save_pretrained(tmp_path / "model")
    own = load_own_directions(tmp_path / "model").entries
    assert {entry.name for entry in own} == {entry.name for entry in psp.directions.entries}


def test_a_method_that_is_saved_edits_as_before(editor, tmp_path):
    editor.save_pretrained(tmp_path / "model")
    again = MethodEditor.from_pretrained(tmp_path / "model", device="cpu")
    assert again.method.name == editor.method.name
    assert again.method.fingerprint == editor.method.fingerprint
    assert type(again.method) is type(editor.method)
    crop = to_tensor(np.full((SIDE, SIDE, 3), 90, np.uint8))
    quick = Editor(quicken(copy.deepcopy(editor.method)), editor.directions)
    pixels = [one.edit(crop, {"smile": 1.0}).pixels for one in (quick, again)]
    torch.testing.assert_close(*pixels, rtol=0, atol=1e-5)


def test_any_folder_opens_under_either_name(psp, tmp_path):
    psp.save_pretrained(tmp_path / "psp")
    tiny_editor().save_pretrained(tmp_path / "ours")
    crop = to_tensor(np.full((SIDE, SIDE, 3), 90, np.uint8))
    drawn = [
        kind.from_pretrained(tmp_path / "psp", device="cpu").edit(crop, {"smile": 1.0}).pixels
        for kind in (Editor, MethodEditor)
    ]
    assert torch.equal(*drawn)
    assert MethodEditor.from_pretrained(tmp_path / "ours", device="cpu").method.name == "SFE"
    with pytest.raises(ConfigError, match="runs on the backend torch in float32 alone"):
        Editor.from_pretrained(tmp_path / "psp", precision="bfloat16")


def test_a_method_on_anothers_networks_is_not_saved(tmp_path):
    ours = tiny_editor()
    other = MethodEditor.around(E4eMethod(ours.model), ours)
    assert other.direction("smile") is not None
    with pytest.raises(ConfigError, match="save its model"):
        other.save_pretrained(tmp_path)
