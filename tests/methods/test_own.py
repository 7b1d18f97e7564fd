"""Methods that only run networks: what each draws, by the networks themselves."""

from __future__ import annotations

import pytest
import torch

from stylefeatureeditor.methods.e4e import E4eMethod
from stylefeatureeditor.methods.sfe import Sfe, SfeWithoutH
from tiny import SIZE, tiny_editor, tiny_model, tiny_photos


@pytest.fixture(scope="module")
def editor():
    return tiny_editor(model=tiny_model())


@pytest.fixture(scope="module")
def photos():
    return tiny_photos(2)


@pytest.mark.parametrize("kind", [Sfe, SfeWithoutH, E4eMethod])
def test_an_edit_changes_the_photo_and_no_edit_does_not(kind, editor, photos):
    method = kind(editor.model)
    state = method.invert(photos)
    smile = editor.direction("smile")
    redrawn = method.reconstruct(state)
    assert redrawn.shape == (2, 3, SIZE, SIZE)
    torch.testing.assert_close(method.edit(state, {smile: 0.0}), redrawn)
    assert (method.edit(state, {smile: 1.0}) - redrawn).abs().mean() > 0.01


def test_sfe_draws_what_the_editor_draws(editor, photos):
    method = Sfe(editor.model)
    state = method.invert(photos)
    inversion = editor.invert(photos)
    assert torch.equal(method.reconstruct(state), inversion.pixels)
    edited = method.edit(state, {editor.direction("age"): 2.0})
    assert torch.equal(edited, editor.edit(photos, {"age": 2.0}).pixels)


def test_without_h_the_features_move_by_delta(editor, photos):
    model, method = editor.model, SfeWithoutH(editor.model)
    output = model.inverter(photos, model.generator, 3)
    smile = editor.direction("smile")
    codes = smile.apply(output.codes, 1.5)
    features = output.features + model.generator.features(codes, 3) - output.start.features
    expected = model.generator.synthesize_from(features, codes, 3)
    torch.testing.assert_close(method.edit(method.invert(photos), {smile: 1.5}), expected)


def test_e4e_draws_its_codes(editor, photos):
    model, method = editor.model, E4eMethod(editor.model)
    state = method.invert(photos)
    torch.testing.assert_close(state.codes.wplus, model.generator.latent_avg + model.e4e(photos))
    torch.testing.assert_close(method.reconstruct(state), model.generator.synthesize(state.codes))


def test_identity_follows_the_method_and_the_weights(editor):
    other = tiny_model(name="other")
    names = {kind(model).identity for kind in (Sfe, E4eMethod) for model in (editor.model, other)}
    assert len(names) == 4
