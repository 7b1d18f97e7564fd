"""What the phases share: frozen and training networks, measures and pictures."""

import pytest
import torch
from torch import nn

from phase_training import changed, snapshot
from stylefeatureeditor.training.phase import (
    freeze,
    likeness,
    picture,
    set_training,
)
from tiny import tiny_photos


def normalising():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))


def test_a_frozen_network_has_no_gradient_and_its_batch_norm_does_not_drift():
    network = normalising().train()
    freeze(network)
    before = snapshot(network)
    assert not network(tiny_photos(2)).requires_grad
    assert changed(network, before) == set()


@pytest.mark.parametrize(("mode", "drifts"), [("batch", True), ("frozen", False)])
def test_batch_norm_of_a_training_network_follows_its_mode(mode, drifts):
    network = normalising().eval()
    before = snapshot(network)
    set_training(network, mode)
    network(tiny_photos(2))
    assert network[2].training
    assert bool(changed(network, before)) is drifts


def test_likeness_is_measured_on_what_can_be_shown():
    photos = tiny_photos(2)
    assert likeness(photos, photos) == {"l2": 0.0, "ssim": pytest.approx(1.0)}
    bright = torch.full((1, 3, 8, 8), 5.0)
    assert likeness(bright, torch.ones(1, 3, 8, 8)) == {"l2": 0.0}  # too small for SSIM


def test_picture_has_one_row_per_batch():
    rows = [torch.full((2, 3, 4, 4), value) for value in (-1.0, 0.5, 9.0)]
    joined = picture(rows)
    assert joined.shape == (3, 12, 8)
    assert [joined[0, y, 0].item() for y in (0, 4, 8)] == [-1.0, 0.5, 1.0]
