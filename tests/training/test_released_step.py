"""One whole step of the released presets against the method written out once more, in float64.

Everything is compared: the loss, every gradient of what trains, H's or I's running statistics, and
the gradients of D that the step's own images leave.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from phase_training import PIXELS, prepared, tiny_discriminator
from seeded import draw
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training import presets
from stylefeatureeditor.training.edit_pairs import TrainingDirection
from stylefeatureeditor.training.feature_editor import EditorPhase
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.training.inverter import InverterPhase
from tiny import FEATURE_LAYER, SIZE, WIDTH, tiny_model, tiny_photos

IMAGE = replace(PIXELS, side=SIZE // 2)  # stands for L_im at 256 of 1024 px
STEP, BLEND = 46_000, 10_000
AGE = TrainingDirection(EditDirection.linear(draw("test.age", (WIDTH,)), "age"), (0.5,))


class Gradients(torch.optim.SGD):
    """Keeps the gradients of its step and moves nothing."""

    kept = ()

    def step(self):
        parameters = self.param_groups[0]["params"]
        self.kept = [None if p.grad is None else p.grad.clone() for p in parameters]


def small(pixels):
    return functional.adaptive_avg_pool2d(pixels, SIZE // 2)


def error(drawn, photos):
    return (small(drawn) - small(photos)).square().mean()


def take_step(phase, part, step):
    """Take a step; return its loss, gradients of a part and of D, and the part's statistics."""
    phase.optimizer = Gradients(part.parameters())
    critic = phase.adversary.optimizer = Gradients(phase.adversary.discriminator.parameters())
    metrics = phase.train_step(tiny_photos(4).double(), step)
    return metrics["loss"], phase.optimizer.kept, critic.kept, statistics(part)


def statistics(part):
    return {n: b.clone() for n, b in part.named_buffers() if "running" in n}


def by_hand(part, discriminator, loss, fakes, photos, step):
    """The same of a loss that has been written out; D learns from X and from X^ in their order."""
    gradients = torch.autograd.grad(loss, list(part.parameters()), allow_unused=True)
    discriminator.requires_grad_()
    real, fake = discriminator(photos), discriminator(fakes.detach())
    critic = (functional.softplus(-real).mean() + functional.softplus(fake).mean()) / 2
    if step % 16 == 0:
        shown = photos.clone().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(shown).sum(), shown, create_graph=True)
        critic = critic + 10 / 2 * 16 * slope.square().sum(dim=(1, 2, 3)).mean()
    of_critic = torch.autograd.grad(critic, list(discriminator.parameters()), allow_unused=True)
    return loss.item(), gradients, of_critic, statistics(part)


def assert_same(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-9)
    for one, other in zip(found[1:3], expected[1:3], strict=True):
        assert [g is None for g in one] == [g is None for g in other]
        for mine, theirs in zip(one, other, strict=True):
            if mine is not None:
                torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-12)
    assert found[3].keys() == expected[3].keys() != set()
    for name, value in found[3].items():
        torch.testing.assert_close(value, expected[3][name], rtol=1e-9, atol=1e-12)


@pytest.fixture
def networks():
    """A model and D of their own, twice: for the phase, and for the equations."""
    model, critic = tiny_model().double(), tiny_discriminator().double()
    return (model, critic), copy.deepcopy((model, critic))


def inverted(model, photos):
    """w, F_k and F_w of photos."""
    generator = model.generator
    offsets, predicted = model.inverter.encoder(photos)
    codes = Codes(generator.latent_avg + offsets)
    of_codes = generator.features(codes, FEATURE_LAYER)
    return codes, model.inverter.fuser(predicted, of_codes), of_codes


@pytest.mark.parametrize("step", [STEP, 5_000])
def test_a_step_of_phase_1(networks, step):
    (own, own_critic), (model, critic) = networks
    config = replace(presets.inverter_run("released").training, image=IMAGE)
    phase = prepared(InverterPhase(config, own, own_critic, LossNetworks()))
    found = take_step(phase, own.inverter, step)

    photos, generator = tiny_photos(4).double(), model.generator
    model.requires_grad_(requires_grad=False).eval()
    model.inverter.train().requires_grad_()
    codes, features, of_codes = inverted(model, photos)
    share = min(1.0, step / BLEND)
    mixed = (1 - share) * of_codes + share * features
    both = torch.cat(
        [generator.synthesize_from(mixed, codes, FEATURE_LAYER), generator.synthesize(codes)]
    )
    loss = error(both, torch.cat([photos, photos])) + 0.01 * (features - of_codes).square().mean()
    if step >= 45_000:
        loss = loss + 0.01 * functional.softplus(-critic(both)).mean()
        expected = by_hand(model.inverter, critic, loss, both, photos, step)
    else:  # before D takes part
        gradients = torch.autograd.grad(loss, list(model.inverter.parameters()))
        expected = loss.item(), gradients, (), statistics(model.inverter)
    assert_same(found, expected)


def test_a_step_of_phase_2(networks):
    (own, own_critic), (model, critic) = networks
    config = replace(presets.editor_run("released").training, edit=IMAGE, inversion=IMAGE)
    phase = prepared(EditorPhase(config, own, (AGE,), own_critic, LossNetworks()))
    found = take_step(phase, own.feature_editor, STEP)

    photos, generator, k = tiny_photos(4).double(), model.generator, FEATURE_LAYER
    model.requires_grad_(requires_grad=False).eval()
    model.feature_editor.train().requires_grad_()
    shift = 0.5 * AGE.direction.vector.double()
    codes, features, _ = inverted(model, photos)
    redrawn = generator.synthesize_from(
        model.feature_editor(features, torch.zeros_like(features)), codes, k
    )
    before = Codes(generator.latent_avg + model.e4e(photos))
    after = Codes(before.wplus + shift)
    delta = generator.features(before, k) - generator.features(after, k)
    codes, features, _ = inverted(model, generator.synthesize(before))
    edited = generator.synthesize_from(
        model.feature_editor(features, delta), Codes(codes.wplus + shift), k
    )
    target = generator.synthesize(after)
    loss = error(torch.cat([redrawn, edited]), torch.cat([photos, target]))
    loss = loss + 0.01 * functional.softplus(-critic(redrawn)).mean()
    assert_same(found, by_hand(model.feature_editor, critic, loss, redrawn, photos, STEP))
