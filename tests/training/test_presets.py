"""Presets: numbers of the paper and the release, ablations, and that files can change them."""

from dataclasses import replace

import pytest

from stylefeatureeditor.editing.catalog import load_catalog
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training import presets
from stylefeatureeditor.training.config import from_mapping, to_mapping
from stylefeatureeditor.training.losses import R1Config

FACES = presets.FACE_DIRECTIONS


def test_phase_1_has_the_numbers_of_the_paper():
    run = presets.paper_inverter()
    training, image = run.training, run.training.image
    assert (run.loop.steps, run.loop.batch_size) == (37_500, 8)
    assert (image.l2, image.lpips, image.identity, image.side) == (1.0, 0.8, 0.1, None)
    assert (training.adversarial.weight, training.adversarial.start) == (0.01, 14_000)
    assert (training.adversarial.lr, training.adversarial.r1) == (1e-4, None)
    assert (training.features, training.feature_form) == (0.01, "norm")
    assert (training.pair, training.blend_steps) == ("sum", 0)
    ranger = training.ranger
    assert (ranger.lr, ranger.alpha, ranger.k) == (2e-4, 0.5, 6)
    assert (ranger.betas, ranger.eps, ranger.centralise_above) == ((0.95, 0.999), 1e-5, 1)


def test_phase_1_has_the_numbers_of_the_release():
    run = presets.released_inverter()
    training, image = run.training, run.training.image
    assert (run.loop.steps, run.loop.batch_size) == (300_000, 8)
    assert (image.l2, image.lpips, image.identity, image.side) == (1.0, 0.8, 0.1, 256)
    assert (training.adversarial.weight, training.adversarial.start) == (0.01, 45_000)
    assert training.adversarial.r1 == R1Config(weight=10.0, every=16)
    assert (training.features, training.feature_form) == (0.01, "distance")
    assert (training.pair, training.blend_steps) == ("mean", 10_000)
    assert training.ranger == replace(presets.paper_inverter().training.ranger, lr=1e-4)


def test_phase_2_has_the_numbers_of_both():
    paper, released = presets.paper_editor(), presets.released_editor()
    assert (paper.loop.steps, released.loop.steps) == (20_000, 200_000)
    assert (paper.training.ranger.lr, released.training.ranger.lr) == (2e-4, 1e-4)
    assert (paper.training.adversarial.r1, released.training.adversarial.r1) == (None, R1Config())
    for run, share in ((paper, 1.0), (released, 0.5)):  # sum and mean of the halves
        assert (run.training.edit_weight, run.training.inversion_weight) == (share, share)
        assert run.training.inversion_weight * run.training.adversarial.weight == 0.01
        assert run.training.adversarial.start == 0
        assert run.training.edit == run.training.inversion
        assert run.directions == FACES


def test_psp_has_the_image_loss_alone():
    run = presets.psp_e4e()
    training = run.training
    assert (training.image.l2, training.image.lpips, training.image.identity) == (1.0, 0.8, 0.1)
    assert (training.image.side, training.ranger.lr, run.loop.batch_size) == (256, 1e-4, 8)
    assert (training.delta, training.latent.weight) == (0.0, 0.0)
    assert training.active_styles(0, 18) == 18


def test_e4e_has_the_numbers_of_its_authors():
    run = presets.published_e4e()
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
    phase1 = presets.cars_inverter(presets.paper_inverter())
    phase2 = presets.cars_editor(presets.paper_editor())
    for run in (phase1, phase2):
        assert (run.model.feature_layer, run.model.delta_layer) == (9, 11)
        assert (run.model.generator.size, run.model.e4e.num_styles) == (512, 16)
        shape = run.model.delta_downsampler
        assert (shape.in_channels, shape.out_channels, shape.stride) == (256, 512, 2)
    e4e = presets.cars_e4e(presets.published_e4e())
    losses = [e4e.training.image, phase1.training.image]
    losses += [phase2.training.edit, phase2.training.inversion]
    assert {(loss.identity, loss.identity_features) for loss in losses} == {(0.5, "moco")}
    released = presets.cars_model(delta_layer=9)
    assert (released.delta_layer, released.delta_downsampler) == (9, None)
    with pytest.raises(ConfigError, match="layer k or finer"):
        presets.cars_model(delta_layer=5)


def test_each_ablation_changes_what_it_names_and_nothing_else():
    phase1, phase2 = presets.released_inverter(), presets.released_editor()
    for run in (phase1, phase2):
        changed = presets.without_fuser(run)
        inverter = replace(changed.model.inverter, fuser=run.model.inverter.fuser)
        assert changed.model.inverter.fuser is None
        assert replace(changed, model=replace(changed.model, inverter=inverter)) == run
    changed = presets.without_inversion_loss(phase2)
    assert changed.training == replace(phase2.training, inversion_weight=0.0)
    changed = presets.without_e4e(phase2)
    assert changed.training == replace(phase2.training, edit_codes="inverter")
    changed = presets.with_few_directions(phase2)
    assert replace(changed, directions=phase2.directions) == phase2
    assert changed.directions == {name: FACES[name] for name in presets.FEW_DIRECTIONS}


def test_few_directions_of_another_set_are_its_first_half():
    run = replace(presets.paper_editor(), directions={"a": (1.0,), "b": (2.0,), "c": (3.0,)})
    assert presets.with_few_directions(run).directions == {"a": (1.0,)}


def test_another_layer_fits_the_model():
    model = presets.at_layer(presets.paper_inverter()).model
    assert (model.feature_layer, model.delta_layer) == (5, 5)
    assert model.inverter.encoder.trunk.strides == (2, 2, 4, 2)  # 256 / 16 = 16 cells
    finer = presets.at_layer(presets.paper_inverter(), 7).model
    assert finer.inverter.encoder.trunk.strides == (2, 2, 2, 2)
    with pytest.raises(ConfigError, match="128 cells"):
        presets.at_layer(presets.paper_inverter(), 11)


@pytest.mark.parametrize(
    "run",
    [
        presets.published_e4e(),
        presets.psp_e4e(),
        presets.released_inverter(),
        presets.cars_editor(presets.released_editor()),
        presets.AttributesRun(),
    ],
    ids=lambda run: type(run).__name__,
)
def test_a_run_can_be_written_and_read_back(run):
    plain = to_mapping(run)
    assert from_mapping(type(run)(), plain) == run


def test_one_setting_can_be_changed_by_its_path():
    values = {"training": {"image": {"lpips": "0.5"}, "adversarial": {"r1": {"every": 4}}}}
    run = from_mapping(presets.released_inverter(), values)
    assert run.training.image.lpips == 0.5
    assert run.training.adversarial.r1 == R1Config(every=4)
    with pytest.raises(ConfigError, match=r"training\.blend_step.*blend_steps"):
        from_mapping(run, {"training": {"blend_step": 1}})
