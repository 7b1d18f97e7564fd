"""Model: the four networks, and sizes that have to agree."""

from dataclasses import replace

import pytest
import torch

from stylefeatureeditor.editing.delta import DeltaDownsamplerConfig
from stylefeatureeditor.editing.feature_editor import FeatureEditorConfig
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.inversion.fuser import FuserConfig
from stylefeatureeditor.model import Framing, Model, ModelConfig
from tiny import tiny_cars_model, tiny_config, tiny_model, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = tiny_config()
CARS = tiny_config(cars=True)


def test_the_defaults_are_the_released_face_model():
    config = ModelConfig()
    assert (config.feature_layer, config.delta_layer, config.encoder_size) == (9, 9, 256)
    with torch.device("meta"):
        model = Model(config)
    photos = torch.zeros(1, 3, 256, 256, device="meta")
    output = model.inverter(photos, model.generator, 9)
    assert output.features.shape == (1, 512, 64, 64)
    assert output.codes.wplus.shape == model.e4e(photos).shape == (1, 18, 512)
    assert model.generator.synthesize_from(
        model.feature_editor(output.features, torch.zeros_like(output.features)), output.codes, 9
    ).shape == (1, 3, 1024, 1024)


def test_a_fresh_model_is_in_eval_mode():
    assert not any(module.training for module in Model(TINY).modules())


def test_only_models_with_another_delta_layer_have_the_extra_network():
    assert tiny_model().delta_downsampler is None
    cars = tiny_cars_model()
    delta = torch.zeros(1, *(8, 16, 16))
    assert cars.delta_downsampler(delta).shape == (1, 16, 8, 8)
    assert [name for name, _ in cars.named_children()][-1] == "delta_downsampler"


def test_delta_of_the_finer_layer_fits_the_downsampler():
    cars = tiny_cars_model()
    codes = cars.inverter(tiny_photos(), cars.generator, 3).codes
    assert cars.generator.features(codes, cars.config.delta_layer).shape[1:] == (8, 16, 16)


@pytest.mark.parametrize(
    ("config", "change", "sentence"),
    [
        (TINY, {"e4e": replace(TINY.e4e, num_styles=6)}, "has 8 styles, but e4e has 6"),
        (TINY, {"e4e": replace(TINY.e4e, style_dim=6)}, "style_dim"),
        (TINY, {"e4e": replace(TINY.e4e, size=64)}, "e4e sees 64 px, encoder_size is 32"),
        (TINY, {"feature_layer": 0}, r"outside 1\.\.7"),
        (TINY, {"delta_layer": 8}, r"outside 1\.\.7"),
        (TINY, {"feature_layer": 5, "delta_layer": 5}, "layer 5 .* is 8 x 16 x 16"),
        (TINY, {"feature_editor": FeatureEditorConfig(channels=8)}, "needs 16 channels"),
        (
            TINY,
            {"inverter": replace(TINY.inverter, fuser=FuserConfig(channels=8))},
            "Fuser needs 16 channels",
        ),
        (TINY, {"delta_layer": 5}, "delta_downsampler is needed exactly"),
        (TINY, {"delta_downsampler": DeltaDownsamplerConfig()}, "needed exactly"),
        (CARS, {"delta_downsampler": DeltaDownsamplerConfig()}, "must take 8 x 16 x 16 to 16 x 8"),
        (
            CARS,
            {"delta_downsampler": DeltaDownsamplerConfig(in_channels=8, out_channels=16, stride=1)},
            "must take 8 x 16 x 16 to 16 x 8",
        ),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(config, change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        replace(config, **change)


@pytest.mark.parametrize(
    "framing", [{"scale": 0.0}, {"scale": float("nan")}, {"shift": (0.0, float("inf"))}]
)
def test_a_framing_without_a_crop_is_refused(framing):
    with pytest.raises(ConfigError, match="framing"):
        Framing(**framing)
