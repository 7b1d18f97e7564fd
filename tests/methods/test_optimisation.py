"""W+ optimisation: it comes nearer, and photos of a batch do not meet."""

from __future__ import annotations

import pytest
import torch

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.methods.optimisation import (
    WOptimisation,
    WOptimisationConfig,
    rate_at,
)
from stylefeatureeditor.metrics.pixel import l2
from stylefeatureeditor.records import Codes
from tiny import STYLES, tiny_model, tiny_photos

SHORT = WOptimisationConfig(steps=6)


def test_it_comes_nearer_than_its_start():
    model, photos = tiny_model(), tiny_photos(1)
    start = model.generator.synthesize(Codes(model.generator.latent_avg.expand(1, STYLES, -1)))
    method = WOptimisation(model, None, WOptimisationConfig(steps=8))
    found = method.invert(photos)
    pixels = method.reconstruct(found)
    assert l2(pixels, photos).item() < 0.9 * l2(start, photos).item()
    torch.testing.assert_close(pixels, model.generator.synthesize(found.codes))


def test_photos_of_a_batch_do_not_meet():
    model, photos = tiny_model(), tiny_photos(2)
    method = WOptimisation(model, None, SHORT)
    alone = method.invert(photos[1:]).codes.wplus
    together = method.invert(photos).codes.wplus[1:]
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)


def test_the_perceptual_term_takes_part():
    model, photos = tiny_model(), tiny_photos(1)

    class Red:
        name = "red"

        def distance(self, first, second):
            return (first - second)[:, 0].square().mean(dim=(1, 2))

    with_it = WOptimisation(model, Red(), SHORT).invert(photos)
    without = WOptimisation(model, None, SHORT).invert(photos)
    assert not torch.equal(with_it.codes.wplus, without.codes.wplus)


def test_the_generator_stays_as_it_is():
    model = tiny_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    WOptimisation(model, None, SHORT).invert(tiny_photos(1))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_the_rate_rises_stays_and_falls():
    assert rate_at(0.0, 0.05, 0.25) == 0
    assert rate_at(0.025, 0.05, 0.25) == pytest.approx(0.5)
    assert rate_at(0.5, 0.05, 0.25) == 1
    assert rate_at(0.875, 0.05, 0.25) == pytest.approx(0.5)
    assert rate_at(1.0, 0.05, 0.25) == pytest.approx(0)


def test_a_schedule_needs_a_step():
    with pytest.raises(ConfigError, match="positive"):
        WOptimisationConfig(steps=0)
