"""Inverter I (Eq. 3): (w, F_k) from a photo, its own generator and k."""

from dataclasses import replace

import pytest
import torch

from stylefeatureeditor.inversion.inverter import Inverter
from tiny import FEATURE_LAYER, randomize, tiny_model, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_codes_are_the_mean_code_plus_what_the_encoder_sees(model):
    offsets, predicted = model.inverter.encoder(tiny_photos(2))
    output = model.inverter(tiny_photos(2), model.generator, FEATURE_LAYER)
    torch.testing.assert_close(output.codes.wplus, offsets + model.generator.latent_avg)
    torch.testing.assert_close(output.predicted, predicted)


def test_features_are_the_prediction_fused_with_what_w_draws(model):
    output = model.inverter(tiny_photos(2), model.generator, FEATURE_LAYER)
    drawn = model.generator.features(output.codes, FEATURE_LAYER)
    torch.testing.assert_close(output.start.features, drawn)
    torch.testing.assert_close(output.features, model.inverter.fuser(output.predicted, drawn))
    torch.testing.assert_close(
        output.start.rgb, model.generator.run_to(output.codes, FEATURE_LAYER).rgb
    )


def test_without_a_fuser_the_prediction_is_taken_as_it_is(model):
    config = replace(model.config.inverter, fuser=None)
    plain = randomize(Inverter(config), "plain")
    assert not [key for key in plain.state_dict() if "fuser" in key]
    output = plain(tiny_photos(), model.generator, FEATURE_LAYER)
    assert output.features is output.predicted


def test_another_k_of_the_same_shape_is_obeyed(model):
    odd, even = (model.inverter(tiny_photos(), model.generator, layer) for layer in (3, 2))
    assert torch.equal(odd.codes.wplus, even.codes.wplus)
    assert not torch.allclose(odd.features, even.features)


def test_the_gradient_reaches_the_encoder_through_both_ways(model):
    inverter = randomize(Inverter(model.config.inverter), "gradient")
    output = inverter(tiny_photos(), model.generator, FEATURE_LAYER)
    output.features.square().mean().backward()
    reached = {
        name
        for name, weight in inverter.named_parameters()
        if weight.grad is not None and weight.grad.abs().sum() > 0
    }
    assert "encoder.content.1.weight" in reached  # by F_pred
    assert "encoder.styles.0.weight" in reached  # by w and F_w
    assert "encoder.styles.7.weight" not in reached  # style 7 draws above k
