"""Every preset of the command line makes a run that fits its generator."""

import pytest

from stylefeatureeditor.cli.train import ABLATIONS, PRESETS
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.training import presets, recipes

SMALL = recipes.generator_run("small", 64).training.network
LARGE = GeneratorConfig(size=512)
OWN = {"smile": (-2.0, 2.0), "age": (1.0,), "beard": (3.0,)}


def model(name):
    return recipes.model_config(name, SMALL if name in ("small", "tiny") else LARGE)


@pytest.mark.parametrize("name", PRESETS["generator"])
def test_generator_presets_have_equal_sides(name):
    run = recipes.generator_run(name, 64)
    assert run.training.network.size == run.training.discriminator.size == 64
    assert run.loop.steps > 0


@pytest.mark.parametrize("name", PRESETS["inverter"])
def test_each_preset_makes_both_phases(name):
    config = model(name)
    inverter, editor = recipes.inverter_run(name, config), recipes.editor_run(name, config, OWN)
    assert inverter.model == editor.model == config
    assert inverter.training.image.identity == editor.training.edit.identity


def test_presets_differ_where_paper_and_release_do():
    config = model("paper")
    assert recipes.inverter_run("paper", config).training.feature_form == "norm"
    assert recipes.inverter_run("released", config).training.feature_form == "distance"
    assert recipes.e4e_run("paper", config).loop.steps == 200_000
    assert recipes.e4e_run("psp", config).training.latent.weight == 0
    assert recipes.e4e_run("cars", model("cars")).training.image.identity_features == "moco"
    assert recipes.e4e_run("tiny", model("tiny")).loop.steps < 1000


def test_cars_take_delta_finer_and_only_their_generator():
    config = model("cars")
    assert (config.delta_layer, config.catalog) == (11, "cars")
    clamped = GeneratorConfig(size=512, clamp=256.0)
    assert recipes.model_config("cars", clamped).generator == clamped
    run = recipes.editor_run("cars", config, OWN)
    assert run.directions == presets.CAR_DIRECTIONS
    with pytest.raises(ConfigError, match="512 px car generator"):
        recipes.model_config("cars", GeneratorConfig(size=256))


def test_cars_move_the_layer_of_delta_of_a_model_and_keep_its_sizes():
    start = presets.without_fuser(recipes.inverter_run("paper", model("paper"))).model
    for name, layer in (("cars", 11), ("cars-released", 9)):
        config = recipes.model_config(name, LARGE, start)
        assert config.delta_layer == layer
        assert (config.inverter, config.e4e) == (start.inverter, start.e4e)
    assert recipes.model_config("paper", LARGE, start) == start


def test_features_are_a_quarter_of_the_side_in_small_models():
    for name in ("small", "tiny"):
        config = model(name)
        assert config.generator.side(config.feature_layer) == 16


def test_schedules_of_small_presets_stretch_with_the_steps():
    config = model("small")
    e4e = recipes.e4e_run("small", config, steps=400)
    assert (e4e.loop.steps, e4e.training.progressive_start) == (400, 100)
    assert e4e.training.active_styles(250, config.generator.num_styles) == 10
    inverter = recipes.inverter_run("small", config, steps=300)
    assert (inverter.loop.steps, inverter.training.adversarial.start) == (300, 200)


@pytest.mark.parametrize("phase", ABLATIONS)
def test_every_ablation_changes_its_preset(phase):
    for name in ABLATIONS[phase]:
        if phase == "inverter":
            runs = [recipes.inverter_run("small", model("small"), a) for a in (None, name)]
        else:
            runs = [recipes.editor_run("small", model("small"), OWN, a) for a in (None, name)]
        assert runs[0] != runs[1], name
    coarser = recipes.inverter_run("small", model("small"), "coarser-layer").model
    assert coarser.generator.side(coarser.feature_layer) == 4


def test_models_without_published_directions_train_with_their_own():
    run = recipes.editor_run("paper", model("paper"), OWN)
    assert run.directions == OWN


def test_the_size_decides_where_nothing_is_asked_for():
    assert recipes.default_preset("inverter", 64) == "small"
    assert recipes.default_preset("inverter", 1024) == "paper"
    assert recipes.default_preset("generator", 256) == "standard"
    assert recipes.default_preset("attributes", 1024) == "small"


def test_sizes_without_a_preset_are_named():
    with pytest.raises(ConfigError, match="got 16"):
        recipes.generator_run("standard", 16)


def test_the_tiny_classifier_is_tiny():
    small, tiny = (recipes.attributes_run(name).training.network for name in ("small", "tiny"))
    assert sum(tiny.channels) < sum(small.channels)
