"""What a classifier asks of an edited photo, term by term."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from seeded import draw
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training import attribute_edits
from stylefeatureeditor.training.attribute_edits import (
    AttributeEditConfig,
    AttributeEditLoss,
    change,
    inside,
    others_moved,
    varied,
)


class Levels(nn.Module):
    """Logits that are ten times the mean of each colour channel."""

    def forward(self, pixels):
        return 10 * pixels.mean(dim=(2, 3))

    def column(self, name):
        return ("Red", "Green", "Blue").index(name)


@pytest.fixture
def _steady(monkeypatch):
    monkeypatch.setattr(attribute_edits, "varied", lambda *versions: list(versions))


def flat(*channels):
    return torch.tensor(channels)[None, :, None, None].expand(2, 3, 8, 8)


@pytest.mark.usefixtures("_steady")
@pytest.mark.parametrize(
    ("attribute", "share", "wanted"),
    [
        ("Red", 1.0, 2 - 1),  # reach 2, and A says 1
        ("Red", -1.0, 2 + 1),
        ("-Red", 1.0, 2 + 1),
        ("Red", 0.5, 0 - 1),
        ("Green", 1.0, 2 - 0),
    ],
)
def test_the_attribute_is_asked_for_in_proportion(attribute, share, wanted):
    config = AttributeEditConfig(others=0.0, near=0.0)
    loss = AttributeEditLoss(config, Levels())
    total, terms = loss(flat(0.1, 0.0, 0.0), flat(0.0, 0.0, 0.0), attribute, share)
    assert terms["flip"].item() == pytest.approx(math.log1p(math.exp(wanted)), rel=1e-5)
    assert total.item() == pytest.approx(terms["flip"].item(), rel=1e-5)


@pytest.mark.usefixtures("_steady")
def test_the_terms_add_up_and_reach_the_picture():
    config = AttributeEditConfig(others=3.0, near=7.0)
    edited = draw("attribute-edits", (2, 3, 8, 8)).requires_grad_()
    total, terms = AttributeEditLoss(config, Levels())(edited, flat(0.1, 0, 0), "Blue", 1.0)
    expected = terms["flip"] + 3 * terms["others"] + 7 * terms["near"]
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    total.backward()
    assert edited.grad.abs().max() > 0


def test_kin_of_the_attribute_may_move():
    before = torch.tensor(
        [[-2.0, -2.0, -1.0], [2.0, 2.0, -1.0], [-2.0, -2.0, 1.0], [2.0, 2.0, 1.0]]
    )
    own, kin, stranger = (before.clone() for _ in range(3))
    own[:, 0] += 3
    kin[:, 1] += 3
    stranger[:, 2] += 3
    assert others_moved(own, before, 0) == 0
    assert others_moved(kin, before, 0) < 1e-6
    moved = (torch.sigmoid(stranger) - torch.sigmoid(before))[:, 2].square().mean() / 3
    assert others_moved(stranger, before, 0) == pytest.approx(moved.item(), rel=1e-5)


def test_light_and_tint_count_more_than_the_same_pixels_elsewhere():
    grey, red = torch.full((1, 3, 8, 8), 0.3), torch.zeros(1, 3, 8, 8)
    red[:, 0] = 0.9
    board = grey * torch.tensor([1.0, -1.0]).repeat(4)[None, None, None, :]  # no light, no tint
    assert change(board) == pytest.approx(0.3)
    assert change(grey) == pytest.approx(0.9)  # 0.3 of pixels, twice 0.3 of light
    assert change(red) == pytest.approx(0.3 + 2 * 0.3 + 2 * 0.4)  # tint: 0.6, 0.3, 0.3


def test_values_beyond_white_are_white_and_still_learn():
    images = torch.tensor([2.0, 0.5, -3.0], requires_grad=True)
    kept = inside(images)
    assert kept.tolist() == [1.0, 0.5, -1.0]
    kept.sum().backward()
    assert images.grad.tolist() == [1.0, 1.0, 1.0]


def test_what_the_classifier_sees_varies_alike_and_is_seeded():
    images = draw("varied", (4, 3, 16, 16))
    torch.manual_seed(1)
    first, again = varied(images, images)
    (second,) = varied(images)
    assert torch.equal(first, again)
    torch.manual_seed(1)
    assert torch.equal(varied(images)[0], first)
    assert (first - second).abs().mean() > 0.1


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"reach": 0.0}, {"near": -0.1}])
def test_bad_weights_are_refused(wrong):
    with pytest.raises(ConfigError, match="cannot be negative"):
        AttributeEditConfig(**wrong)
