"""Small presets: their models fit together, and their phases take a step."""

import pytest
import torch

from phase_training import prepared
from seeded import draw
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.discriminator import Discriminator, DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.model import Model
from stylefeatureeditor.training import small_presets
from stylefeatureeditor.training.config import from_mapping, to_mapping
from stylefeatureeditor.training.e4e import E4ePhase
from stylefeatureeditor.training.edit_pairs import TrainingDirection
from stylefeatureeditor.training.feature_editor import EditorPhase
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.training.inverter import InverterPhase
from tiny import tiny_photos


@pytest.mark.parametrize("size", [32, 64, 128])
def test_features_are_a_quarter_of_the_image_wide(size):
    for model in (small_presets.tiny_model(size), small_presets.builtin_model(size)):
        assert model.generator.layer_shape(model.feature_layer)[1] == size // 4
        assert model.encoder_size == size


def test_built_in_model_fits_into_sixty_megabytes_of_float16():
    model = Model(small_presets.builtin_model(64))
    weights = sum(tensor.numel() for tensor in model.state_dict().values())
    assert 2 * weights < 60e6


@pytest.mark.parametrize("layer", [1, 2, 3, 4, 5, 7])
def test_any_layer_of_a_small_generator_can_be_taken(layer):
    generator = GeneratorConfig(size=64, style_dim=16, channel_base=512, channel_max=16)
    model = small_presets.small_model("test", generator, layer, width=4)
    assert model.feature_layer == layer


def test_a_layer_of_the_full_side_is_refused():
    generator = GeneratorConfig(size=32, style_dim=16, channel_base=512, channel_max=16)
    with pytest.raises(ConfigError, match="nothing to draw"):
        small_presets.small_model("test", generator, 7, width=4)


def test_every_phase_of_the_smoke_run_takes_a_step():
    e4e, inverter, editor = small_presets.tiny(32)
    torch.manual_seed(0)
    model = Model(e4e.model)
    discriminator = Discriminator(DiscriminatorConfig(size=32, channel_base=512, channel_max=32))
    photos, networks = tiny_photos(2), LossNetworks()
    direction = TrainingDirection(EditDirection.linear(draw("d", (64,))), (1.0,))
    phases = [
        E4ePhase(e4e.training, model, networks, discriminator, photos),
        InverterPhase(inverter.training, model, discriminator, networks, photos),
        EditorPhase(editor.training, model, [direction], discriminator, networks, photos),
    ]
    for phase in phases:
        assert prepared(phase).train_step(photos, 50)["loss"] > 0
        assert phase.validate()["l2"] > 0


def test_runs_can_be_written_and_read_back():
    runs = (*small_presets.builtin_64(), small_presets.small_attributes())
    for run in runs:
        assert from_mapping(type(run)(), to_mapping(run)).training == run.training
