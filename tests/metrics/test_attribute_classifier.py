"""The attribute classifier on disk and at other sizes."""

import pytest
import torch
from torch.nn import functional

from stylefeatureeditor.errors import ConfigError, ShapeError, WeightsError
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.weights.storage import load_tensors, save_tensors
from tiny import randomize, tiny_photos

CONFIG = AttributeClassifierConfig(
    attributes=("Smiling", "Male"), size=32, channels=(4, 4, 6, 8), depths=(1, 1, 2, 1)
)


def tiny_classifier():
    return randomize(AttributeClassifier(CONFIG), "classifier")


def test_gives_a_logit_per_attribute_and_features_of_four_sides():
    network, photos = tiny_classifier(), tiny_photos(3)
    assert network(photos).shape == (3, 2)
    shapes = [tuple(stage.shape[1:]) for stage in network.features(photos)]
    assert shapes == [(4, 16, 16), (4, 8, 8), (6, 4, 4), (8, 2, 2)]


def test_looks_at_any_size_through_its_own_without_aliasing():
    network, photos = tiny_classifier(), tiny_photos(2)
    doubled = photos.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    resize = {"mode": "bilinear", "antialias": True}
    small = functional.interpolate(doubled, (32, 32), **resize)
    assert torch.equal(network(doubled), network(small))
    seen = []
    network.stem.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    cells = torch.arange(64)
    board = (1.0 - 2 * ((cells[:, None] + cells) % 2)).expand(1, 3, 64, 64)
    network(board)
    assert seen[0][:, :, 1:-1, 1:-1].abs().max() < 1e-6


def test_comes_back_from_disk_in_half_the_size(tmp_path):
    network, path = tiny_classifier(), tmp_path / "attributes.safetensors"
    network.save(path, {"source": "test"})
    tensors, header = load_tensors(path)
    assert header["source"] == "test"
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}
    loaded = AttributeClassifier.load(path)
    assert loaded.config == CONFIG
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    photos = tiny_photos(2)
    torch.testing.assert_close(loaded(photos), network(photos), rtol=2e-2, atol=2e-2)


def test_finds_the_column_of_an_attribute():
    network = tiny_classifier()
    assert network.column("Male") == 1
    with pytest.raises(ConfigError, match="no attribute 'Hat'; it knows Smiling, Male"):
        network.column("Hat")


def test_refuses_a_file_that_holds_something_else(tmp_path):
    path = tmp_path / "other.safetensors"
    save_tensors(path, {"weight": torch.zeros(2)}, {})
    with pytest.raises(WeightsError, match="no attribute classifier"):
        AttributeClassifier.load(path)


def test_refuses_shapes_it_cannot_see():
    with pytest.raises(ShapeError, match="square"):
        tiny_classifier()(torch.zeros(1, 3, 32, 16))
    with pytest.raises(ShapeError, match="pixels"):
        tiny_classifier()(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ConfigError, match="4 entries"):
        AttributeClassifierConfig(channels=(8, 8))
