"""Training of e4e: its stages, its latent discriminator, and that nothing else moves."""

from dataclasses import replace

import pytest
import torch

from phase_training import (
    PIXELS,
    assert_resumes,
    changed,
    prepared,
    run_steps,
    snapshot,
)
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training.e4e import (
    CodePool,
    E4ePhase,
    E4eTrainingConfig,
    LatentDiscriminatorConfig,
    style_spread,
)
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.training.losses import R1Config, lazy_r1
from stylefeatureeditor.training.ranger import RangerConfig
from stylefeatureeditor.weights.checkpoint import load_model
from tiny import SIZE, STYLES, WIDTH, tiny_model, tiny_photos

CONFIG = E4eTrainingConfig(
    image=PIXELS,
    latent=LatentDiscriminatorConfig(lr=1e-2, pool_size=5),
    progressive_start=2,
    progressive_every=1,
    ranger=RangerConfig(lr=2e-3),
)


def make(config=CONFIG, held_out=None):
    return E4ePhase(config, tiny_model(), LossNetworks(), held_out=held_out)


def test_loss_falls_on_one_batch():
    metrics = run_steps(prepared(make()), tiny_photos(4), 0, 15)
    assert metrics[-1]["l2"] < 0.95 * metrics[0]["l2"]


def test_only_the_encoder_moves_its_batch_norm_included():
    phase = prepared(make())
    parts = ("generator", "inverter", "feature_editor")
    before = {part: snapshot(getattr(phase.model, part)) for part in (*parts, "e4e")}
    run_steps(phase, tiny_photos(2), STYLES, STYLES + 3)  # all styles take part
    for part in parts:
        assert changed(getattr(phase.model, part), before[part]) == set()
        assert not getattr(phase.model, part).training
    moved = changed(phase.model.e4e, before["e4e"])
    assert moved == set(before["e4e"])


def test_styles_join_one_by_one():
    config = E4eTrainingConfig()
    steps = [0, 19_999, 20_000, 21_999, 22_000, 50_000, 52_000, 10**6]
    assert [config.active_styles(step, 18) for step in steps] == [1, 1, 2, 2, 3, 17, 18, 18]
    assert replace(config, progressive_every=0).active_styles(0, 18) == 18
    metrics = run_steps(prepared(make()), tiny_photos(2), 0, 4)
    assert [m["active_styles"] for m in metrics] == [1, 1, 2, 3]


def test_heads_that_wait_do_not_change_and_add_nothing_to_the_saved_model(tmp_path):
    phase = prepared(make())
    before = snapshot(phase.model.e4e)
    photos = tiny_photos(2)
    run_steps(phase, photos, 0, 3)  # styles 0 and 1
    moved = changed(phase.model.e4e, before)
    assert {int(name.split(".")[1]) for name in moved if name.startswith("heads")} == {0, 1}
    phase.save_model(tmp_path)
    wplus = load_model(tmp_path).e4e(photos)
    assert style_spread(wplus[:, [0, *range(2, STYLES)]]).max() == 0
    assert style_spread(wplus[:, :2]).min() > 0


def test_spread_is_the_sum_of_distances_from_style_0():
    codes = torch.zeros(2, 3, 4)
    codes[0, 1, 2] = 3.0
    codes[0, 2, :2] = torch.tensor([3.0, 4.0])
    assert style_spread(codes).tolist() == [8, 0]


def test_spread_of_equal_styles_has_a_finite_gradient():
    codes = torch.ones(2, 3, 4, requires_grad=True)
    style_spread(codes).sum().backward()
    assert codes.grad is not None
    assert torch.isfinite(codes.grad).all()


def test_spread_weight_holds_the_styles_together():
    spreads = []
    for weight in (0.0, 1.0):
        config = replace(CONFIG, delta=weight, progressive_every=0, zero_heads=False)
        metrics = run_steps(prepared(make(config)), tiny_photos(2), 0, 8)
        spreads.append(metrics[-1]["style_spread"])
    assert spreads[1] < 0.9 * spreads[0]


def test_codes_of_drawn_images_are_learned():
    metrics = run_steps(prepared(make(replace(CONFIG, drawn=10.0))), tiny_photos(4), 2, 40)
    first, last = (
        sum(found["drawn_codes"] for found in part) for part in (metrics[:8], metrics[-8:])
    )
    assert last < 0.8 * first
    assert "drawn_codes" not in run_steps(prepared(make()), tiny_photos(4), 0, 1)[0]


def test_latent_discriminator_learns_to_tell_the_codes_apart():
    config = replace(CONFIG, ranger=RangerConfig(lr=1e-9))
    metrics = run_steps(prepared(make(config)), tiny_photos(4), 0, 12)
    assert metrics[-1]["loss_d"] < metrics[0]["loss_d"]
    assert metrics[-1]["score_real"] > metrics[-1]["score_encoded"]


def test_without_weight_the_latent_discriminator_does_not_run():
    phase = prepared(make(replace(CONFIG, latent=LatentDiscriminatorConfig(weight=0.0))))
    before = snapshot(phase.latent_discriminator)
    assert "loss_d" not in run_steps(phase, tiny_photos(2), 0, 1)[0]
    assert changed(phase.latent_discriminator, before) == set()


def test_penalty_is_the_squared_slope_times_its_factors():
    network = torch.nn.Linear(3, 1)
    codes, config = torch.randn(5, 3), R1Config(weight=10.0, every=16)
    slope = network.weight.square().sum().item()
    found = lazy_r1(network, codes, 32, config)
    assert found.item() == pytest.approx(10 / 2 * 16 * slope, rel=1e-5)
    assert lazy_r1(network, codes, 33, config).item() == 0


def test_pool_gives_back_older_codes_once_it_is_full():
    pool = CodePool(4, 2)
    first = torch.arange(8.0).reshape(4, 2)
    assert torch.equal(pool.exchange(first), first)
    back = torch.cat([pool.exchange(torch.full((4, 2), -1.0)) for _ in range(8)])
    old = back[back[:, 0] >= 0]
    assert 0 < len(old) <= 4
    assert all((row == first).all(dim=1).any() for row in old)
    empty = CodePool(0, 2)
    assert torch.equal(empty.exchange(first), first)


def test_resumes_exactly_pools_included():
    assert_resumes(make, tiny_photos(2))


def test_validates_and_shows_the_stage_it_is_in():
    held_out = tiny_photos(3)
    phase = prepared(make(replace(CONFIG, samples=2), held_out=held_out))
    assert phase.validate()["style_spread"] == 0
    run_steps(phase, held_out, 3, 4)
    before = snapshot(phase.model)
    metrics = phase.validate()
    assert set(metrics) == {"l2", "ssim", "style_spread"}
    assert metrics["style_spread"] > 0
    assert phase.samples().shape == (3, 2 * SIZE, 2 * SIZE)
    assert changed(phase.model, before) == set()
    assert phase.model.e4e.training


def test_codes_start_from_latent_avg():
    phase = prepared(make())
    with torch.no_grad():
        _, wplus = phase.forward(tiny_photos(2), 1)
        _, moved = _with_other_average(phase)
    torch.testing.assert_close(moved - wplus, torch.ones(2, STYLES, WIDTH))


def _with_other_average(phase):
    phase = prepared(make())
    phase.model.generator.latent_avg.add_(1.0)
    return phase.forward(tiny_photos(2), 1)


def test_refuses_negative_settings():
    with pytest.raises(ConfigError, match="progressive"):
        E4eTrainingConfig(progressive_every=-1)
    with pytest.raises(ConfigError, match="pool_size"):
        LatentDiscriminatorConfig(pool_size=-1)
