"""Presets: numbers of the paper and the release, ablations, and that files can change them."""

from dataclasses import replace

import pytest
import torch

from phase_training import prepared
from seeded import draw
from stylefeatureeditor.cli.train import options
from stylefeatureeditor.editing.catalog import load_catalog
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.discriminator import Discriminator, DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.model import Model, ModelConfig
from stylefeatureeditor.training import presets
from stylefeatureeditor.training.e4e import E4ePhase
from stylefeatureeditor.training.edit_pairs import TrainingDirection
from stylefeatureeditor.training.feature_editor import EditorPhase
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.training.inverter import InverterPhase
from stylefeatureeditor.training.losses import R1Config
from stylefeatureeditor.weights.configs import changed, from_plain, to_plain
from tiny import tiny_photos

FACES = presets.FACE_DIRECTIONS
SMALL = presets.generator_run("small", 64).training.network
LARGE = GeneratorConfig(size=512)
OWN = {"smile": (-2.0, 2.0), "age": (1.0,), "beard": (3.0,)}


def test_phase_1_has_the_numbers_of_the_paper():
    run = presets.inverter_run("paper")
    training, image = run.training, run.training.image
    assert (run.loop.steps, run.loop.batch_size) == (37_500, 8)
    assert (image.l2, image.lpips, image.identity, image.side) == (1.0, 0.8, 0.1, None)
    assert (training.adversarial.weight, training.adversarial.start) == (0.01, 14_000)
    assert (training.adversarial.lr, training.adversarial.r1.weight) == (1e-4, 0.0)
    assert (training.features, training.feature_form) == (0.01, "norm")
    assert (training.pair, training.blend_steps) == ("sum", 0)
    ranger = training.ranger
    assert (ranger.lr, ranger.alpha, ranger.k) == (2e-4, 0.5, 6)
    assert (ranger.betas, ranger.eps, ranger.centralise_above) == ((0.95, 0.999), 1e-5, 1)


def test_phase_1_has_the_numbers_of_the_release():
    run = presets.inverter_run("released")
    training, image = run.training, run.training.image
    assert (run.loop.steps, run.loop.batch_size) == (300_000, 8)
    assert (image.l2, image.lpips, image.identity, image.side) == (1.0, 0.8, 0.1, 256)
    assert (training.adversarial.weight, training.adversarial.start) == (0.01, 45_000)
    assert training.adversarial.r1 == R1Config(weight=10.0, every=16)
    assert (training.features, training.feature_form) == (0.01, "distance")
    assert (training.pair, training.blend_steps) == ("mean", 10_000)
    assert training.ranger == replace(presets.inverter_run("paper").training.ranger, lr=1e-4)


def test_phase_2_has_the_numbers_of_both():
    paper, released = presets.editor_run("paper"), presets.editor_run("released")
    assert (paper.loop.steps, released.loop.steps) == (20_000, 200_000)
    assert (paper.training.ranger.lr, released.training.ranger.lr) == (2e-4, 1e-4)
    assert (paper.training.adversarial.r1, released.training.adversarial.r1) == (
        R1Config(weight=0.0),
        R1Config(),
    )
    for run, share in ((paper, 1.0), (released, 0.5)):  # sum and mean of the halves
        assert (run.training.edit_weight, run.training.inversion_weight) == (share, share)
        assert run.training.inversion_weight * run.training.adversarial.weight == 0.01
        assert run.training.adversarial.start == 0
        assert run.training.edit == run.training.inversion
        assert run.directions == FACES


def test_psp_has_the_image_loss_alone():
    run = presets.e4e_run("psp")
    training = run.training
    assert (training.image.l2, training.image.lpips, training.image.identity) == (1.0, 0.8, 0.1)
    assert (training.image.side, training.ranger.lr, run.loop.batch_size) == (256, 1e-4, 8)
    assert (training.delta, training.latent.weight) == (0.0, 0.0)
    assert training.active_styles(0, 18) == 18


def test_e4e_has_the_numbers_of_its_authors():
    run = presets.e4e_run("paper")
    training = run.training
    assert (training.image.l2, training.image.lpips, training.image.identity) == (1.0, 0.8, 0.1)
    assert (training.delta, training.latent.weight, training.latent.lr) == (2e-4, 0.1, 2e-5)
    assert (training.progressive_start, training.progressive_every) == (20_000, 2_000)
    assert (run.loop.steps, training.ranger.lr) == (200_000, 1e-4)


def test_training_directions_are_in_the_catalogue():
    faces = {entry.name for entry in load_catalog("ffhq").entries}
    assert set(FACES) <= faces
    assert set(presets.FEW_DIRECTIONS) <= set(FACES)
    assert set(presets.CAR_DIRECTIONS) <= {entry.name for entry in load_catalog("cars").entries}


def test_cars_take_delta_at_layer_11_and_moco_at_one_half():
    phase1 = presets.inverter_run("cars")
    phase2 = presets.editor_run("cars")
    for run in (phase1, phase2):
        assert (run.model.feature_layer, run.model.delta_layer) == (9, 11)
        assert (run.model.generator.size, run.model.e4e.num_styles) == (512, 16)
        shape = run.model.delta_downsampler
        assert (shape.in_channels, shape.out_channels, shape.stride) == (256, 512, 2)
    e4e = presets.e4e_run("cars")
    losses = [e4e.training.image, phase1.training.image]
    losses += [phase2.training.edit, phase2.training.inversion]
    assert {(loss.identity, loss.identity_features) for loss in losses} == {(0.5, "moco")}
    released = presets.cars_model(delta_layer=9)
    assert (released.delta_layer, released.delta_downsampler) == (9, None)
    with pytest.raises(ConfigError, match="layer k or finer"):
        presets.cars_model(delta_layer=5)


def test_each_ablation_changes_what_it_names_and_nothing_else():
    phase1, phase2 = presets.inverter_run("released"), presets.editor_run("released")
    run = presets.inverter_run("released", ablation="without-fuser")
    inverter = replace(run.model.inverter, fuser=phase1.model.inverter.fuser)
    assert run.model.inverter.fuser is None
    assert replace(run, model=replace(run.model, inverter=inverter)) == phase1
    run = presets.editor_run("released", ablation="without-inversion-loss")
    assert run == replace(phase2, training=replace(phase2.training, inversion_weight=0.0))
    run = presets.editor_run("released", ablation="without-e4e")
    assert run == replace(phase2, training=replace(phase2.training, edit_codes="inverter"))
    run = presets.editor_run("released", ablation="few-directions")
    assert run == replace(phase2, directions={name: FACES[name] for name in presets.FEW_DIRECTIONS})


def test_few_directions_of_another_set_are_its_first_half():
    others = {"a": (1.0,), "b": (2.0,), "c": (3.0,)}
    run = presets.editor_run("small", directions=others, ablation="few-directions")
    assert run.directions == {"a": (1.0,)}


@pytest.mark.parametrize("phase", presets.ABLATIONS)
def test_every_ablation_changes_its_preset(phase):
    for name in presets.ABLATIONS[phase]:
        if phase == "inverter":
            runs = [presets.inverter_run("small", ablation=a) for a in (None, name)]
        else:
            runs = [presets.editor_run("small", None, OWN, a) for a in (None, name)]
        assert runs[0] != runs[1], name
    coarser = presets.inverter_run("small", ablation="coarser-layer").model
    assert coarser.generator.side(coarser.feature_layer) == 4


def test_another_layer_fits_the_model():
    model = presets.at_layer(ModelConfig(), 5)
    assert (model.feature_layer, model.delta_layer) == (5, 5)
    assert model.inverter.encoder.trunk.strides == (2, 2, 4, 2)  # 256 / 16 = 16 cells
    finer = presets.at_layer(ModelConfig(), 7)
    assert finer.inverter.encoder.trunk.strides == (2, 2, 2, 2)
    with pytest.raises(ConfigError, match="128 cells"):
        presets.at_layer(ModelConfig(), 11)


@pytest.mark.parametrize(
    "run",
    [
        presets.e4e_run("paper"),
        presets.e4e_run("psp"),
        presets.inverter_run("released"),
        presets.editor_run("cars-released"),
        presets.attributes_run("small"),
    ],
    ids=lambda run: type(run).__name__,
)
def test_a_run_can_be_written_and_read_back(run):
    plain = to_plain(run)
    assert from_plain(type(run), plain) == run


def test_one_setting_can_be_changed_by_its_path():
    values = {"training": {"image": {"lpips": 0.5}, "adversarial": {"r1": {"every": 4}}}}
    run = changed(presets.inverter_run("released"), values)
    assert run.training.image.lpips == 0.5
    assert run.training.adversarial.r1 == R1Config(every=4)
    with pytest.raises(ConfigError, match=r"training: .*blend_step.*blend_steps"):
        changed(run, {"training": {"blend_step": 1}})


# --- every preset of the command line makes a run that fits its generator


def model(name):
    return presets.model_config(name, SMALL if name in ("small", "tiny") else LARGE)


@pytest.mark.parametrize("name", presets.PRESETS["generator"])
def test_generator_presets_have_equal_sides(name):
    run = presets.generator_run(name, 64)
    assert run.training.network.size == run.training.discriminator.size == 64
    assert run.loop.steps > 0


@pytest.mark.parametrize("name", presets.PRESETS["inverter"])
def test_each_preset_makes_both_phases(name):
    config = model(name)
    inverter, editor = presets.inverter_run(name, config), presets.editor_run(name, config, OWN)
    assert inverter.model == editor.model == config
    assert inverter.training.image.identity == editor.training.edit.identity


def test_presets_differ_where_paper_and_release_do():
    config = model("paper")
    assert presets.inverter_run("paper", config).training.feature_form == "norm"
    assert presets.inverter_run("released", config).training.feature_form == "distance"
    assert presets.e4e_run("paper", config).loop.steps == 200_000
    assert presets.e4e_run("psp", config).training.latent.weight == 0
    assert presets.e4e_run("cars", model("cars")).training.image.identity_features == "moco"
    assert presets.e4e_run("tiny", model("tiny")).loop.steps < 1000


def test_cars_take_delta_finer_and_only_their_generator():
    config = model("cars")
    assert (config.delta_layer, config.catalog) == (11, "cars")
    clamped = GeneratorConfig(size=512, clamp=256.0)
    assert presets.model_config("cars", clamped).generator == clamped
    run = presets.editor_run("cars", config, OWN)
    assert run.directions == presets.CAR_DIRECTIONS
    with pytest.raises(ConfigError, match="512 px car generator"):
        presets.model_config("cars", GeneratorConfig(size=256))


def test_cars_move_the_layer_of_delta_of_a_model_and_keep_its_sizes():
    start = presets.inverter_run("paper", model("paper"), "without-fuser").model
    for name, layer in (("cars", 11), ("cars-released", 9)):
        config = presets.model_config(name, LARGE, start)
        assert config.delta_layer == layer
        assert (config.inverter, config.e4e) == (start.inverter, start.e4e)
    assert presets.model_config("paper", LARGE, start) == start


def test_schedules_of_small_presets_stretch_with_the_steps():
    config = model("small")
    e4e = presets.e4e_run("small", config, steps=400)
    assert (e4e.loop.steps, e4e.training.progressive_start) == (400, 100)
    assert e4e.training.active_styles(250, config.generator.num_styles) == 10
    inverter = presets.inverter_run("small", config, steps=300)
    assert (inverter.loop.steps, inverter.training.adversarial.start) == (300, 200)


def test_models_without_published_directions_train_with_their_own():
    run = presets.editor_run("paper", model("paper"), OWN)
    assert run.directions == OWN


def test_the_size_decides_where_nothing_is_asked_for():
    assert presets.default_preset("inverter", 64) == "small"
    assert presets.default_preset("inverter", 1024) == "paper"
    assert presets.default_preset("generator", 256) == "standard"
    assert presets.default_preset("attributes", 1024) == "small"


def test_sizes_without_a_preset_are_named():
    with pytest.raises(ConfigError, match="got 16"):
        presets.generator_run("standard", 16)


def test_the_tiny_classifier_is_tiny():
    small, tiny = (presets.attributes_run(name).training.network for name in ("small", "tiny"))
    assert sum(tiny.channels) < sum(small.channels)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_features_are_a_quarter_of_the_image_wide(size):
    for name in ("small", "tiny"):
        config = presets.model_config(name, presets.generator_run(name, size).training.network)
        assert config.generator.layer_shape(config.feature_layer)[1] == size // 4
        assert config.encoder_size == size


def test_built_in_model_fits_into_sixty_megabytes_of_float16():
    built = Model(model("small"))
    weights = sum(tensor.numel() for tensor in built.state_dict().values())
    assert 2 * weights < 60e6


def test_a_small_model_is_not_called_like_the_built_in_one():
    assert model("small").name == "small"


@pytest.mark.parametrize("layer", [1, 2, 3, 4, 5, 7])
def test_any_layer_of_a_small_generator_can_be_taken(layer):
    generator = GeneratorConfig(size=64, style_dim=16, channel_base=512, channel_max=16)
    config = presets.small_model("test", generator, layer, width=4)
    assert config.feature_layer == layer


def test_a_layer_of_the_full_side_is_refused():
    generator = GeneratorConfig(size=32, style_dim=16, channel_base=512, channel_max=16)
    with pytest.raises(ConfigError, match="nothing to draw"):
        presets.small_model("test", generator, 7, width=4)


def test_every_phase_of_the_smoke_run_takes_a_step():
    config = presets.model_config("tiny", presets.generator_run("tiny", 32).training.network)
    e4e, inverter = (make("tiny", config) for make in (presets.e4e_run, presets.inverter_run))
    editor = presets.editor_run("tiny", config)
    torch.manual_seed(0)
    model = Model(config)
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


def test_r1_and_the_average_follow_the_batch():
    own, small = presets.generator_run("standard", 64), presets.generator_run("standard", 64, 8)
    assert (own.loop.batch_size, small.loop.batch_size) == (32, 8)
    assert small.training.r1_gamma == pytest.approx(4 * own.training.r1_gamma)
    assert small.training.average_images == pytest.approx(own.training.average_images / 4)
    _, run = options("generator", ["--preset", "standard", "--loop.batch-size", "8"])
    assert run.training.r1_gamma == small.training.r1_gamma
