"""D beside a phase."""

from dataclasses import replace

import torch
from accelerate import Accelerator
from torch.nn.functional import softplus

from phase_training import tiny_discriminator
from stylefeatureeditor.training.adversary import AdversarialConfig, Adversary
from tiny import tiny_photos


def test_it_takes_part_from_its_step_on_unless_it_weighs_nothing():
    config = AdversarialConfig(start=3)
    adversary = Adversary(config, tiny_discriminator())
    assert [adversary.active(step) for step in (0, 2, 3, 4)] == [False, False, True, True]
    assert not Adversary(replace(config, weight=0.0), tiny_discriminator()).active(9)


def test_it_is_asked_without_learning_and_learns_to_tell_drawn_from_photo():
    adversary = Adversary(AdversarialConfig(lr=1e-2, r1=None), tiny_discriminator())
    adversary.prepare(Accelerator(cpu=True))
    photos, drawn = tiny_photos(2, "first"), tiny_photos(2, "second").requires_grad_()
    said = adversary.ask(drawn)
    torch.testing.assert_close(said, softplus(-adversary.discriminator(drawn)).mean())
    said.backward()
    assert drawn.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in adversary.discriminator.parameters())
    rows = [adversary.train(photos, drawn.detach(), step) for step in range(8)]
    assert rows[-1]["loss_d"] < rows[0]["loss_d"]
    assert rows[-1]["score_real"] > rows[-1]["score_fake"]


def test_no_other_loss_leaves_it_a_gradient():
    adversary = Adversary(AdversarialConfig(r1=None), tiny_discriminator())
    adversary.prepare(Accelerator(cpu=True))
    photos = tiny_photos(2).requires_grad_()
    for step in range(2):
        adversary.discriminator(photos).sum().backward()
        assert all(parameter.grad is None for parameter in adversary.discriminator.parameters())
        adversary.train(photos.detach(), -photos.detach(), step)
