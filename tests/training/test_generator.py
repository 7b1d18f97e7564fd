"""Training G against D."""

from __future__ import annotations

import copy
from dataclasses import replace
from math import log
from typing import TYPE_CHECKING

import pytest
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.training import generator as module
from stylefeatureeditor.training.augment import AugmentConfig
from stylefeatureeditor.training.generator import (
    GeneratorPhase,
    GeneratorTrainingConfig,
)
from stylefeatureeditor.training.loop import LoopConfig, make_accelerator
from stylefeatureeditor.training.presets import generator_run
from stylefeatureeditor.weights.storage import load_tensors

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("accelerate")

TINY = GeneratorTrainingConfig(
    network=GeneratorConfig(size=8, style_dim=8, mapping_layers=2, channel_base=64, channel_max=8),
    discriminator=DiscriminatorConfig(size=8, channel_base=64, channel_max=8),
    path_weight=0.0,
    samples=5,
)


def ready(config: GeneratorTrainingConfig = TINY, accumulate: int = 1, seed: int = 0, **options):
    torch.manual_seed(seed)
    phase = GeneratorPhase(config, **options)
    config = LoopConfig(device="cpu", precision="fp32", accumulate=accumulate)
    phase.prepare(make_accelerator(config))
    return phase


def standard(size: int) -> GeneratorTrainingConfig:
    return generator_run("standard", size).training


def photos(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8) * 2 - 1


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(dict(network.named_parameters()))


def same(before: dict[str, torch.Tensor], network: torch.nn.Module) -> bool:
    return all(torch.equal(before[name], p) for name, p in network.named_parameters())


def test_a_step_trains_both_networks_and_reports_finite_losses():
    phase = ready()
    generator, discriminator = weights(phase.generator), weights(phase.discriminator)
    metrics = phase.train_step(photos(), 0)
    assert not same(generator, phase.generator)
    assert not same(discriminator, phase.discriminator)
    assert torch.tensor(list(metrics.values())).isfinite().all()
    assert {"loss_d", "loss_g", "r1", "score_real", "score_fake"} <= metrics.keys()


def test_an_undecided_discriminator_costs_the_logarithms_of_two():
    phase = ready(replace(TINY, lr_discriminator=1e-12))
    for parameter in phase.discriminator.logit.parameters():
        parameter.data.zero_()
    metrics = phase.train_step(photos(), 1)
    assert metrics["loss_d"] == pytest.approx(2 * log(2))
    assert metrics["loss_g"] == pytest.approx(log(2), abs=1e-4)


def test_the_first_step_of_d_follows_the_equation():
    """Adam without history moves each weight by lr against the sign of its gradient."""
    phase = ready(replace(TINY, mixing=0.0, noise=False, generator_start=9, r1_gamma=0.7))
    before = copy.deepcopy(phase.discriminator)
    x = photos()
    torch.manual_seed(3)
    phase.train_step(x, 0)

    torch.manual_seed(3)
    z = torch.randn(2, 4, 8)[0]
    fakes = phase.generator.synthesize(phase.generator.map(z)).detach()
    shown = x.clone().requires_grad_()
    scores = before(shown)
    (slope,) = torch.autograd.grad(scores.sum(), shown, create_graph=True)
    penalty = slope.square().sum() / len(x)
    loss = functional.softplus(before(fakes)).mean() + functional.softplus(-scores).mean()
    (loss + 0.7 / 2 * 16 * penalty).backward()
    for name, parameter in before.named_parameters():
        moved = phase.discriminator.get_parameter(name) - parameter
        clear = parameter.grad.abs() > 1e-4
        expected = -TINY.lr_discriminator * parameter.grad.sign()
        torch.testing.assert_close(moved[clear], expected[clear], rtol=1e-2, atol=1e-6)


def test_r1_is_taken_on_every_nth_step_only(monkeypatch):
    calls = []
    taken = module.r1_penalty
    monkeypatch.setattr(module, "r1_penalty", lambda *a: (calls.append(1), taken(*a))[1])
    phase = ready(replace(TINY, r1_every=4))
    counts = []
    for step in range(9):
        phase.train_step(photos(2), step)
        counts.append(len(calls))
    assert counts == [1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_path_length_has_its_own_rhythm_and_moves_its_mean():
    phase = ready(replace(TINY, path_weight=2.0, path_every=4))
    means = [phase.train_step(photos(), step)["path_length"] for step in range(5)]
    assert 0 < means[0] == means[1] == means[3] != means[4]


def test_before_its_start_g_keeps_still_and_d_learns():
    phase = ready(replace(TINY, generator_start=1))
    generator, discriminator = weights(phase.generator), weights(phase.discriminator)
    assert "loss_g" not in phase.train_step(photos(), 0)
    assert same(generator, phase.generator)
    assert not same(discriminator, phase.discriminator)
    assert "loss_g" in phase.train_step(photos(), 1)
    assert not same(generator, phase.generator)


def test_r1_asks_for_no_second_derivative_of_the_augmentation(monkeypatch):
    class OnceOnly(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, grid):
            ctx.save_for_backward(x, grid)
            return taken(x, grid, padding_mode="reflection", align_corners=False)

        @staticmethod
        @once_differentiable
        def backward(ctx, gradient):
            x, grid = ctx.saved_tensors
            with torch.enable_grad():
                y = taken(x.requires_grad_(), grid, padding_mode="reflection", align_corners=False)
            return torch.autograd.grad(y, x, gradient)[0], None

    taken = functional.grid_sample
    monkeypatch.setattr(functional, "grid_sample", lambda x, grid, **_: OnceOnly.apply(x, grid))
    phase = ready(
        replace(TINY, augment="ada", ada=AugmentConfig(start=1.0, fixed=True), path_weight=2.0)
    )
    metrics = phase.train_step(photos(), 0)
    assert metrics["r1"] > 0
    assert metrics["augment_p"] == 1


def test_diff_augment_is_what_d_sees_of_photos_and_of_drawn_images(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "diff_augment", lambda images: seen.append(len(images)) or images)
    phase = ready(replace(TINY, augment="diff"))
    phase.train_step(photos(), 0)
    assert seen == [4, 4, 4]  # drawn and photos for D, drawn for G
    assert "augment" not in phase.state_dict()


def test_the_average_is_half_way_after_its_half_life():
    phase = ready(replace(TINY, average_images=4.0, average_ramp=1e9))
    before = weights(phase.average)
    phase.train_step(photos(4), 1)
    for name, new in phase.generator.named_parameters():
        torch.testing.assert_close(phase.average.get_parameter(name), (before[name] + new) / 2)


def test_the_average_follows_at_once_while_few_images_were_seen():
    phase = ready(replace(TINY, average_images=1e6, average_ramp=0.05))
    phase.train_step(photos(4), 1)
    for name, new in phase.generator.named_parameters():
        torch.testing.assert_close(phase.average.get_parameter(name), new, rtol=1e-3, atol=1e-5)


def test_latent_avg_is_the_running_mean_of_w():
    phase = ready(replace(TINY, latent_decay=0.0, lr_generator=1e-12))
    torch.manual_seed(3)
    z = torch.randn(2, 4, 8)[0]
    expected = phase.generator.mapping(z).mean(dim=0)
    x = photos(4)
    torch.manual_seed(3)
    phase.train_step(x, 1)
    torch.testing.assert_close(phase.generator.latent_avg, expected)
    assert torch.equal(phase.average.latent_avg, phase.generator.latent_avg)


@pytest.mark.parametrize("mixing", [0.0, 1.0])
def test_mixing_takes_late_styles_from_a_second_code(mixing):
    phase = ready(replace(TINY, mixing=mixing))
    _, codes = phase._draw(64)
    first, last = codes[:, 0], codes[:, -1]
    assert torch.equal(first, last) is (mixing == 0)
    if mixing:
        changes = (codes[:, 1:] != codes[:, :-1]).any(dim=2).sum(dim=1)
        assert (changes == 1).all()  # one cut per image, never before style 1


def test_a_restored_phase_goes_on_bit_by_bit():
    config = replace(TINY, augment="ada", ada=AugmentConfig(start=0.5, every=1), path_weight=2.0)
    whole, first = ready(config), ready(config)
    batches = [photos() for _ in range(4)]

    def go(phase, steps):
        for step in steps:
            torch.manual_seed(step)
            phase.train_step(batches[step], step)

    go(whole, range(4))
    go(first, range(2))
    second = ready(config, seed=7)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    go(second, range(2, 4))
    assert second.images_seen == whole.images_seen == 16
    for name in ("generator", "average", "discriminator"):
        assert same(weights(getattr(whole, name)), getattr(second, name))
    assert torch.equal(whole.path_mean, second.path_mean)


def test_two_half_batches_accumulate_to_one_whole():
    """But for the spread feature, which compares images of one part only."""
    config = replace(
        TINY,
        discriminator=replace(TINY.discriminator, group_size=1),
        mixing=0.0,
        noise=False,
        generator_start=9,
    )
    whole = ready(config)
    x = photos(8)
    torch.manual_seed(3)
    draws = torch.randn(2, 8, 8)
    whole._draw = lambda _: whole.forward(draws, torch.zeros(8, 4, dtype=torch.bool))
    whole.train_step(x, 0)
    parts = ready(config, accumulate=2)  # accelerate keeps this number for all its objects
    for half in (slice(0, 4), slice(4, 8)):
        parts._draw = lambda _, half=half: parts.forward(
            draws[:, half], torch.zeros(4, 4, dtype=torch.bool)
        )
        with parts.accelerator.accumulate(parts.discriminator):
            parts.train_step(x[half], 0)
    for name, parameter in whole.discriminator.named_parameters():
        other = parts.discriminator.get_parameter(name)
        if name == "conv.weight":
            other, parameter = other[:, :-1], parameter[:, :-1]
        torch.testing.assert_close(other, parameter, rtol=1e-4, atol=1e-5)
    assert parts.images_seen == whole.images_seen == 8


def test_samples_are_a_grid_of_the_averaged_generator_the_same_each_time():
    phase = ready()
    grid = phase.samples()
    assert grid.shape == (3, 8, 64)  # 5 images in a row of 8
    assert torch.equal(grid[:, :, 40:], -torch.ones(3, 8, 24))
    assert torch.equal(grid, phase.samples())
    one = phase.average.synthesize(phase.average.map(phase.sample_z[:1])).clamp(-1, 1)
    torch.testing.assert_close(grid[:, :, :8], one[0])


def test_validation_compares_with_held_out_photos():
    assert ready().validate() == {}
    phase = ready()
    z = torch.randn(64, 8)
    near = phase.average.synthesize(phase.average.map(z)).clamp(-1, 1)
    near_distance = ready(held_out=near).validate()["frechet_8px"]
    far = ready(held_out=-torch.ones(64, 3, 8, 8) + 0.1 * torch.rand(64, 3, 8, 8)).validate()
    assert 0 <= near_distance < far["frechet_8px"]
    assert far["detail"] > 1


def test_one_photo_to_validate_on_has_detail_and_no_distance():
    found = ready(held_out=torch.rand(1, 3, 8, 8)).validate()
    assert set(found) == {"detail"}


def test_the_saved_model_is_the_average(tmp_path: Path):
    phase = ready()
    phase.train_step(photos(), 0)
    phase.save_model(tmp_path)
    tensors, header = load_tensors(tmp_path / "generator.safetensors")
    assert header["images_seen"] == "4"
    assert '"size": 8' in header["config"]
    loaded = Generator(TINY.network)
    loaded.load_state_dict(tensors)
    assert same(weights(phase.average), loaded)


def test_presets_follow_the_published_heuristic():
    assert standard(256).r1_gamma == pytest.approx(0.0002 * 256**2 / 16)
    assert standard(64).r1_gamma == pytest.approx(0.0256)
    for size in (64, 128, 256, 512, 1024):
        config = standard(size)
        assert config.network.size == config.discriminator.size == size
        assert (config.path_weight > 0) == (size >= 256)
    with pytest.raises(ConfigError, match="presets for 64, 128"):
        standard(48)


def test_contradictory_settings_are_refused():
    with pytest.raises(ConfigError, match="G draws 8 px and D looks at 16 px"):
        replace(TINY, discriminator=DiscriminatorConfig(size=16, channel_base=64))
    with pytest.raises(ConfigError, match="mixing"):
        replace(TINY, mixing=1.5)
    with pytest.raises(ConfigError, match="positive"):
        replace(TINY, lr_generator=0.0)
