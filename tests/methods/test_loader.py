"""Methods and perceptual distances by what is asked for and what is there."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from seeded import seeded_image
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.methods.loader import OWN, MethodLoader, fitted
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.metrics.perceptual import Lpips
from stylefeatureeditor.metrics.perceptual_vector import (
    classifier_vector,
    lpips_vector,
    pixel_vector,
)
from stylefeatureeditor.metrics.pixel import l2
from stylefeatureeditor.weights.local_models import pulled_folder
from tiny import tiny_editor, tiny_model


@pytest.fixture
def loader(tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path))
    tiny_editor().save_pretrained(tmp_path / "models" / "faces")
    return partial(MethodLoader, "faces", "cpu")


def test_networks_that_are_not_trained_are_not_used(loader):
    record = pulled_folder() / "faces" / "training.json"
    record.write_text('{"steps": {"generator": 3, "inverter": 5}}')
    with pytest.raises(ConfigError, match="has no trained e4e: `sfe train e4e` makes it"):
        loader().method()
    assert loader().everything() == []
    assert loader().method("sfe-without-h").size == tiny_model().config.generator.size
    record.write_text('{"steps": {"e4e": 3}}')
    assert loader().everything() == ["e4e"]


def test_every_word_makes_a_method_of_its_own(loader):
    given = loader(steps=3)
    made = [given.method(word, str(pulled_folder() / "faces")) for word in OWN]
    assert len({method.name for method in made}) == len({m.identity for m in made}) == len(OWN)
    assert all(method.name.endswith(" (faces)") for method in made)
    with pytest.raises(ConfigError, match="there is no method 'ppsp'"):
        given.method("ppsp")


def test_the_row_says_how_many_steps_were_taken():
    model = tiny_model()
    assert fitted("w+", model, pixel_vector(), None).name == "W+ optimisation, 500 steps"
    assert fitted("pti", model, pixel_vector(), None).name == "PTI, 450 + 350 steps"
    assert fitted("pti", model, pixel_vector(), 9).name == "PTI, 9 + 9 steps"


def test_lpips_comes_first_then_the_classifier_then_pixels(loader):
    classifier = AttributeClassifier(AttributeClassifierConfig(attributes=("a",), size=16)).eval()
    loaders = [
        loader(lpips=Lpips("alex"), classifier=classifier),
        loader(classifier=classifier),
        loader(),
    ]
    names = [one.method("w+").perceptual.name for one in loaders]
    assert names == ["LPIPS", "attribute classifier", "pixels"]
    assert "not the published" in loaders[1].notes[0]
    assert "not the published" not in loaders[0].notes[0]


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
    vector = classifier_vector(classifier)
    first = seeded_image("a", 16, 1).requires_grad_()
    vector.distance(first, seeded_image("b", 16, 1)).sum().backward()
    assert first.grad.abs().sum() > 0
