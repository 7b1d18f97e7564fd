"""PTI: both stages, with stand-ins for its perceptual networks."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d
from torch.optim.optimizer import register_optimizer_step_pre_hook

from released import golden
from released_comparisons import STRENGTH, assert_picture, direction
from seeded import seeded_image
from seeded_comparisons import comparison_state, part
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.stylegan2 import Generator
from stylefeatureeditor.methods.pti import (
    PivotalTuning,
    PivotalTuningConfig,
    average_code,
    noise_regularity,
    project,
    tune,
)
from stylefeatureeditor.methods.reweighted import reweighted
from stylefeatureeditor.metrics.pixel import l2
from stylefeatureeditor.records import Codes
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.released import nvidia_generator_state
from tiny import SIZE, tiny_editor, tiny_model, tiny_photos

SHORT = PivotalTuningConfig(projection_steps=3, average_samples=20, tuning_steps=5)


class Toy:
    name = "toy"

    def __call__(self, pixels):
        return pixels.flatten(1) / 50

    def distance(self, first, second):
        return (first - second).abs().mean(dim=(1, 2, 3))


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def method(model):
    return PivotalTuning(model, Toy(), Toy(), SHORT)


@pytest.fixture(scope="module")
def state(method):
    return method.invert(tiny_photos(2))


@pytest.fixture(scope="module")
def generators(model, state):
    rows = [{name: weight[row] for name, weight in state.kept.items()} for row in range(2)]
    return [reweighted(model.generator, weights) for weights in rows]


def test_tuning_brings_the_picture_nearer(model, method, state):
    photos, pixels = tiny_photos(2), method.reconstruct(state)
    for row in range(2):
        pivot = model.generator.synthesize(state[row].codes)
        assert l2(pixels[row : row + 1], photos[row : row + 1]) < l2(pivot, photos[row : row + 1])


def test_the_pivot_is_one_vector_for_all_styles(state):
    wplus = state[0].codes.wplus
    assert torch.equal(wplus, wplus[:, :1].expand_as(wplus))


def test_each_photo_has_its_own_generator_and_the_models_stays(model, generators):
    first, second = (g.state_dict()["constant"] for g in generators)
    own = model.generator.constant
    assert not torch.equal(first, second)
    assert not torch.equal(first, own)
    assert torch.equal(own, tiny_model().generator.constant)
    noises = [g.layers[0].noise for g in (*generators, model.generator)]
    assert all(torch.equal(noise, noises[0]) for noise in noises)


def test_an_edit_is_drawn_by_the_tuned_generator(model, method, state, generators):
    smile = tiny_editor(model=model).direction("smile")
    torch.testing.assert_close(method.edit(state, {smile: 0.0}), state.pixels)
    expected = generators[1].synthesize(smile.apply(state[1].codes, 1.0))
    torch.testing.assert_close(method.edit(state, {smile: 1.0})[1:], expected)


def test_tuning_stops_before_the_update_once_it_is_near_enough(model):
    pivot, _ = average_code(model.generator, SHORT)
    codes = model.generator.map(torch.zeros(1, 12))
    near = PivotalTuningConfig(enough=1e9)
    tuned = tune(model.generator, tiny_photos(1), codes, Toy(), near)
    assert torch.equal(tuned.constant, model.generator.constant)
    assert pivot.shape == (12,)


def test_the_projection_repeats(model):
    first, second = (project(model.generator, tiny_photos(1), Toy(), SHORT) for _ in range(2))
    assert torch.equal(first.wplus, second.wplus)


def test_the_projection_is_the_released_loop(model):
    """The loop once more, plainly: torch's own random numbers, the penalty written out."""
    photo, steps, generator = tiny_photos(1), 4, copy.deepcopy(model.generator)
    z = torch.from_numpy(np.random.RandomState(123).randn(20, 12)).float()
    samples = generator.mapping(z)
    mean = samples.mean(dim=0)
    spread = ((samples - mean).square().sum() / 20).sqrt()
    torch.manual_seed(0)
    noises = [layer.noise for layer in generator.layers]
    for noise in noises:
        noise.copy_(torch.randn_like(noise)).requires_grad_()
    w = mean.clone()[None, None].requires_grad_()
    optimiser = torch.optim.Adam([w, *noises], betas=(0.9, 0.999))
    for step in range(steps):
        t = step / steps
        ramp = (0.5 - 0.5 * math.cos(math.pi * min(1, (1 - t) / 0.25))) * min(1, t / 0.05)
        optimiser.param_groups[0]["lr"] = 0.01 * ramp
        shaken = w + torch.randn_like(w) * spread * 0.05 * max(0, 1 - t / 0.75) ** 2
        drawn = generator.synthesize(Codes(shaken.repeat(1, 8, 1)))
        loss = (Toy()(photo) - Toy()(drawn)).square().sum()
        for noise in noises:
            part_of = noise
            while True:
                for axis in (2, 3):
                    loss = loss + 1e5 * (part_of * part_of.roll(1, axis)).mean() ** 2
                if part_of.shape[-1] <= 8:
                    break
                part_of = torch.nn.functional.avg_pool2d(part_of, 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for noise in noises:
                noise -= noise.mean()
                noise *= noise.square().mean().rsqrt()
    config = replace(SHORT, projection_steps=steps)
    found = project(model.generator, photo, Toy(), config).wplus
    torch.testing.assert_close(found, w.detach().expand(-1, 8, -1), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found[0, 0], mean, atol=1e-2)


def test_the_spread_is_over_all_numbers(model):
    mean, spread = average_code(model.generator, SHORT)
    assert mean.shape == (12,)
    assert spread > 0
    assert average_code(model.generator, SHORT)[1] == spread


def test_smooth_noise_is_penalised_at_every_scale():
    white = torch.randn(1, 1, 32, 32)
    smooth = torch.nn.functional.interpolate(torch.randn(1, 1, 8, 8), 32)
    assert noise_regularity([smooth]) > 10 * noise_regularity([white])
    flat = torch.ones(1, 1, 16, 16)
    assert noise_regularity([flat]).item() == pytest.approx(4)  # two scales, two axes


def test_small_images_are_not_enlarged_and_large_ones_are_averaged(model):
    sides = []

    class Watching(Toy):
        def __call__(self, pixels):
            sides.append(pixels.shape[-1])
            return super().__call__(pixels)

    for side in (256, SIZE // 2):
        few = replace(SHORT, projection_steps=1, projection_side=side)
        project(model.generator, tiny_photos(1), Watching(), few)
    assert sides == [SIZE, SIZE, SIZE // 2, SIZE // 2]


def test_a_schedule_needs_steps():
    with pytest.raises(ConfigError, match="positive"):
        PivotalTuningConfig(tuning_steps=0)


class PooledDistance:
    """What stood for LPIPS when the golden numbers were made; it keeps what it was shown."""

    name = "pooled"

    def __init__(self):
        self.drawn, self.losses = [], []

    def distance(self, drawn, photo):
        pools = (adaptive_avg_pool2d(picture, 32) for picture in (drawn, photo))
        pooled = (next(pools) - next(pools)).square().mean(dim=(1, 2, 3))
        self.drawn.append(drawn.detach())
        pixels = (drawn.detach() - photo).square().mean().item()
        self.losses.append((pixels + pooled.item(), pixels, pooled.item()))
        return pooled


@pytest.fixture(scope="module")
def released():
    """NVIDIA's generator, the pivot of the golden numbers, and what three steps make of G."""
    config, state = nvidia_generator_state(part(comparison_state("pti"), "decoder."))
    with torch.device("meta"):
        generator = Generator(config).eval()
    assign_state(generator, state, "pti")
    pivot = Codes(torch.from_numpy(golden("cmp_pti")["w_pivot"]).repeat(1, 18, 1))
    shown = PooledDistance()
    photo = seeded_image("cmp.x1024", 1024)
    smallest: dict[int, torch.Tensor] = {}  # gradient of each weight over the steps

    def look(optimizer, *_):
        weights = (w for group in optimizer.param_groups for w in group["params"])
        for weight in (w for w in weights if w.grad is not None):
            found = weight.grad.abs()
            smallest[id(weight)] = torch.minimum(smallest.get(id(weight), found), found)

    hook = register_optimizer_step_pre_hook(look)
    tuned = tune(generator, photo, pivot, shown, PivotalTuningConfig(tuning_steps=3, enough=0))
    hook.remove()
    gradients = {name: smallest.get(id(weight)) for name, weight in tuned.named_parameters()}
    return SimpleNamespace(
        generator=generator, pivot=pivot, shown=shown, tuned=tuned, gradients=gradients
    )


@pytest.mark.slow
def test_the_released_pivot_lies_three_of_adams_steps_from_our_start(released):
    """Of its four steps the first has the rate 0, and Adam's first hardly exceed their rate."""
    config = PivotalTuningConfig()
    start, _ = average_code(released.generator, config)
    moved = (released.pivot.wplus - start).abs()
    assert moved.max() < 3 * config.projection_rate
    assert moved.mean() > config.projection_rate


@pytest.mark.slow
def test_tunes_with_the_released_losses(released):
    expected = golden("cmp_pti")["tuning_losses_total_l2_lpips"]
    assert torch.tensor(released.shown.losses) == pytest.approx(expected, rel=1e-5)
    assert_picture(released.shown.drawn[0], "pti", "before")


@pytest.mark.slow
def test_a_tuned_generator_draws_and_edits_as_released(released):
    moved = direction().apply(released.pivot, STRENGTH)
    for codes, case in ((released.pivot, "inversion"), (moved, "edit")):
        assert_picture(released.tuned.synthesize(codes), "pti", case, tolerance=1e-3)


@pytest.mark.slow
def test_every_kind_of_weight_moves_as_released_and_the_mapping_stays(released):
    """Adam's first steps are near to signs: where a gradient is tiny, its rounding shows.

    A gradient g sums over a million cells, whose roundings walk at random: 1024 units in the last
    place, 2^-24, of the layer's largest. Relative to g they move Adam's steps by at most twice
    that, so the bound is 2 * 1024 * 2^-24 max|g| / |g| of the longest move.
    """
    numbers = golden("cmp_pti")
    before, after = released.generator.state_dict(), released.tuned.state_dict()
    names = {
        "delta/b64.conv0.weight": "layers.7.conv.weight",
        "delta/b4.const": "constant",
        "delta/b1024.torgb.bias": "to_rgb.8.bias",
        "delta/b8.conv1.noise_strength": "layers.2.noise_strength",
    }
    for case, name in names.items():
        expected = torch.from_numpy(numbers[case])
        moved, gradient = after[name] - before[name], released.gradients[name]
        if expected.ndim > 2:
            moved, gradient = (
                x.reshape(-1, *x.shape[-expected.ndim + 1 :])[::64] for x in (moved, gradient)
            )
        if expected.ndim == 4:
            moved, gradient = moved[:, ::64], gradient[:, ::64]
        bound = 2 * 1024 * 2**-24 * released.gradients[name].max() / gradient
        assert bound.median() < 0.1
        assert bool(((moved - expected).abs() <= bound * expected.abs().max()).all())
    assert numbers["mapping_changed"].max() == 0
    for name, value in before.items():
        if name.startswith("mapping.") or name.endswith(".noise"):
            assert torch.equal(value, after[name])
