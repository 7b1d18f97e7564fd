"""Methods and perceptual distances by what is asked for and what is there."""

from __future__ import annotations

import pytest
import torch

from seeded import seeded_image
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.choose_method import METHODS, choose_perceptual, make_method
from stylefeatureeditor.evaluation.measures import Networks
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.metrics.perceptual import Lpips
from stylefeatureeditor.metrics.perceptual_vector import lpips_vector, pixel_vector
from stylefeatureeditor.metrics.pixel import l2
from tiny import tiny_model


def test_every_word_makes_a_method_of_its_own():
    model = tiny_model()
    made = [make_method(w, model, pixel_vector(), steps=3, label="(x)") for w in METHODS]
    assert len({method.name for method in made}) == len({m.identity for m in made}) == len(METHODS)
    assert all(method.name.endswith(" (x)") for method in made)
    with pytest.raises(ConfigError, match="there is no method 'psp'"):
        make_method("psp", model, pixel_vector())


def test_the_row_says_how_many_steps_were_taken():
    model = tiny_model()
    assert make_method("w+", model, pixel_vector()).name == "W+ optimisation, 500 steps"
    assert make_method("pti", model, pixel_vector()).name == "PTI, 450 + 350 steps"
    assert make_method("pti", model, pixel_vector(), steps=9).name == "PTI, 9 + 9 steps"


def test_lpips_comes_first_then_the_classifier_then_pixels():
    classifier = AttributeClassifier(AttributeClassifierConfig(attributes=("a",), size=16)).eval()
    names = [
        choose_perceptual(Networks(lpips=Lpips("alex")), classifier)[0].name,
        choose_perceptual(Networks(), classifier)[0].name,
        choose_perceptual(Networks(), None)[0].name,
    ]
    assert names == ["LPIPS", "attribute classifier", "pixels"]
    assert "not the published" in choose_perceptual(Networks(), classifier)[1]


def test_vectors_of_lpips_are_as_far_apart_as_lpips_says():
    network = Lpips("alex")
    for weight in network.weights:
        weight.data.uniform_()
    first, second = seeded_image("a", 48, 2), seeded_image("b", 48, 2)
    torch.testing.assert_close(
        lpips_vector(network).distance(first, second), network(first, second)
    )


def test_vectors_of_pixels_are_three_mean_squares_apart():
    first, second = seeded_image("a", 8, 2), seeded_image("b", 8, 2)
    torch.testing.assert_close(pixel_vector().distance(first, second), 3 * l2(first, second))


def test_the_classifier_gives_gradients():
    classifier = AttributeClassifier(AttributeClassifierConfig(attributes=("a",), size=16)).eval()
    vector, _ = choose_perceptual(Networks(), classifier)
    first = seeded_image("a", 16, 1).requires_grad_()
    vector.distance(first, seeded_image("b", 16, 1)).sum().backward()
    assert first.grad.abs().sum() > 0
