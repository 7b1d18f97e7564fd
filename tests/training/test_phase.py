"""What the phases share: frozen and training networks, measures and pictures."""

import pytest
import torch
from torch import nn

from phase_training import changed, snapshot
from stylefeatureeditor.training.phase import (
    Phase,
    freeze,
    likeness,
    means,
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


class Counted:
    """Held-out photos that remember how many were asked for at a time, and which."""

    def __init__(self, photos):
        self.photos, self.asked = photos, []

    def __len__(self):
        return len(self.photos)

    def __getitem__(self, places):
        self.asked.append(list(places))
        return self.photos[places]


class Watching(Phase):
    """Trains nothing."""

    def prepare(self, _accelerator):
        raise AssertionError

    def train_step(self, *_args, **_kwargs):
        raise AssertionError

    def parts(self):
        return {}


class Ranks:
    """One of several processes; what it gathers is its own share, of each of them."""

    device = torch.device("cpu")

    def __init__(self, rank, count):
        self.process_index, self.num_processes = rank, count

    def gather(self, rows):
        return rows.repeat(self.num_processes, *[1] * (rows.ndim - 1))


@pytest.mark.parametrize(("rank", "mine"), [(0, [0, 1, 2, 3]), (2, [8, 9, 9, 9])])
def test_held_out_photos_are_shared_and_taken_a_batch_at_a_time(rank, mine):
    phase = Watching()
    phase.held_out, phase.batch = Counted(tiny_photos(10)), 3
    phase.accelerator = Ranks(rank, 3)
    found = phase.judged(lambda places: {"mean": phase.photos(places).mean(dim=(1, 2, 3))})
    assert phase.held_out.asked == [mine[:3], mine[3:]]
    assert found["mean"].shape == (10,)
    phase.accelerator = Ranks(0, 1)
    found = phase.judged(lambda places: {"mean": phase.photos(places).mean(dim=(1, 2, 3))}, 4)
    torch.testing.assert_close(found["mean"], tiny_photos(10)[:4].mean(dim=(1, 2, 3)))


def test_likeness_is_measured_on_what_can_be_shown():
    photos = tiny_photos(2)
    assert means(likeness(photos, photos)) == {"l2": 0.0, "ssim": pytest.approx(1.0)}
    bright = torch.full((1, 3, 8, 8), 5.0)
    found = likeness(bright, torch.ones(1, 3, 8, 8), "_edit")  # too small for SSIM
    assert means(found) == {"l2_edit": 0.0}


def test_picture_has_one_row_per_batch():
    rows = [torch.full((2, 3, 4, 4), value) for value in (-1.0, 0.5, 9.0)]
    joined = picture(rows)
    assert joined.shape == (3, 12, 8)
    assert [joined[0, y, 0].item() for y in (0, 4, 8)] == [-1.0, 0.5, 1.0]
