"""Edits that the generator makes itself."""

import pytest
import torch

from seeded import draw
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training.edit_pairs import TrainingDirection, make_edit
from tiny import (
    CARS_DELTA_LAYER,
    FEATURE_LAYER,
    WIDTH,
    tiny_cars_model,
    tiny_model,
    tiny_photos,
)

SMILE = EditDirection.linear(draw("test.smile", (WIDTH,)), "smile")


def test_target_is_the_generators_own_edit():
    model, photos = tiny_model(), tiny_photos(2)
    pair = make_edit(model, photos, SMILE, 2.0, "e4e")
    wplus = model.generator.latent_avg + model.e4e(photos) + 2 * SMILE.vector
    torch.testing.assert_close(pair.target, model.generator.synthesize(Codes(wplus)))


def test_delta_is_before_minus_after_at_the_models_layer():
    for model, layer in ((tiny_model(), FEATURE_LAYER), (tiny_cars_model(), CARS_DELTA_LAYER)):
        photos, generator = tiny_photos(2), model.generator
        before = Codes(generator.latent_avg + model.e4e(photos))
        after = Codes(before.wplus + 2 * SMILE.vector)
        expected = generator.features(before, layer) - generator.features(after, layer)
        pair = make_edit(model, photos, SMILE, 2.0, "e4e")
        torch.testing.assert_close(pair.delta, expected, rtol=1e-4, atol=1e-4)


def test_inverter_sees_what_the_generator_draws_before_the_edit():
    model, photos = tiny_model(), tiny_photos(2)
    pair = make_edit(model, photos, SMILE, 2.0, "e4e")
    source = model.generator.synthesize(Codes(model.generator.latent_avg + model.e4e(photos)))
    found = model.inverter(source, model.generator, FEATURE_LAYER)
    torch.testing.assert_close(pair.features, found.features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pair.codes.wplus, found.codes.wplus + 2 * SMILE.vector)
    rgb = model.generator.run_to(pair.codes, FEATURE_LAYER).rgb
    torch.testing.assert_close(pair.rgb, rgb)


def test_without_e_the_edit_starts_from_the_inverters_codes():
    model, photos = tiny_model(), tiny_photos(2)
    pair = make_edit(model, photos, SMILE, 2.0, "inverter")
    inverted = model.inverter(photos, model.generator, FEATURE_LAYER).codes
    target = model.generator.synthesize(SMILE.apply(inverted, 2.0))
    torch.testing.assert_close(pair.target, target, rtol=1e-4, atol=1e-4)


def test_nothing_has_a_gradient():
    model = tiny_model().requires_grad_()
    pair = make_edit(model, tiny_photos(1), SMILE, 1.0, "e4e")
    tensors = (pair.target, pair.features, pair.delta, pair.codes.wplus, pair.rgb)
    assert not any(tensor.requires_grad for tensor in tensors)


def test_refuses_a_direction_without_strength():
    with pytest.raises(ConfigError, match="'smile' needs at least one strength"):
        TrainingDirection(SMILE, ())
