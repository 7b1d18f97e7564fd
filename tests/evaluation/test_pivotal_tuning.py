"""PTI: both stages, with stand-ins for its perceptual networks."""

from __future__ import annotations

import pytest
import torch

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.metrics import l2
from stylefeatureeditor.evaluation.pivotal_tuning import (
    PivotalTuning,
    PivotalTuningConfig,
    average_code,
    noise_regularity,
    shrink,
)
from tiny import SIZE, tiny_editor, tiny_model, tiny_photos

SHORT = PivotalTuningConfig(projection_steps=3, average_samples=20, tuning_steps=5)


class Toy:
    name = "toy"

    def __call__(self, pixels):
        return pixels.flatten(1) / 50

    def distance(self, first, second):
        return (first - second).abs().mean(dim=(1, 2, 3))


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def method(model):
    return PivotalTuning(model, Toy(), Toy(), SHORT)


@pytest.fixture(scope="module")
def state(method):
    return method.invert(tiny_photos(2))


def test_tuning_brings_the_picture_nearer(model, state):
    photos = tiny_photos(2)
    for row in range(2):
        pivot = model.generator.synthesize(state.codes[row])
        assert l2(state.reconstruction[row : row + 1], photos[row : row + 1]) < l2(
            pivot, photos[row : row + 1]
        )


def test_the_pivot_is_one_vector_for_all_styles(state):
    wplus = state.codes[0].wplus
    assert torch.equal(wplus, wplus[:, :1].expand_as(wplus))


def test_each_photo_has_its_own_generator_and_the_models_stays(model, state):
    first, second = (g.state_dict()["constant"] for g in state.generators)
    own = model.generator.constant
    assert not torch.equal(first, second)
    assert not torch.equal(first, own)
    assert torch.equal(own, tiny_model().generator.constant)
    noises = [g.layers[0].noise for g in (*state.generators, model.generator)]
    assert all(torch.equal(noise, noises[0]) for noise in noises)


def test_an_edit_is_drawn_by_the_tuned_generator(model, method, state):
    smile = tiny_editor(model=model).direction("smile")
    torch.testing.assert_close(method.edit(state, smile, 0.0), state.reconstruction)
    expected = state.generators[1].synthesize(smile.apply(state.codes[1], 1.0))
    torch.testing.assert_close(method.edit(state, smile, 1.0)[1:], expected)


def test_tuning_stops_before_the_update_once_it_is_near_enough(model):
    near = PivotalTuning(model, Toy(), Toy(), PivotalTuningConfig(enough=1e9))
    pivot, _ = average_code(model.generator, SHORT)
    codes = model.generator.map(torch.zeros(1, 12))
    tuned = near.tune(tiny_photos(1), codes)
    assert torch.equal(tuned.constant, model.generator.constant)
    assert pivot.shape == (12,)


def test_the_projection_repeats(method):
    photo = tiny_photos(1)
    assert torch.equal(method.project(photo).wplus, method.project(photo).wplus)


def test_the_spread_is_over_all_numbers(model):
    mean, spread = average_code(model.generator, SHORT)
    assert mean.shape == (12,)
    assert spread > 0
    assert average_code(model.generator, SHORT)[1] == spread


def test_smooth_noise_is_penalised_at_every_scale():
    white = torch.randn(1, 1, 32, 32)
    smooth = torch.nn.functional.interpolate(torch.randn(1, 1, 8, 8), 32)
    assert noise_regularity([smooth]) > 10 * noise_regularity([white])
    flat = torch.ones(1, 1, 16, 16)
    assert noise_regularity([flat]).item() == pytest.approx(4)  # two scales, two axes


def test_small_images_are_not_enlarged():
    pixels = tiny_photos(1)
    assert shrink(pixels, 256) is pixels
    assert shrink(pixels, SIZE // 2).shape[-1] == SIZE // 2


def test_a_schedule_needs_steps():
    with pytest.raises(ConfigError, match="positive"):
        PivotalTuningConfig(tuning_steps=0)
