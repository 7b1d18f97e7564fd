"""Directions learnt from a classifier, on a generator that can be computed by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from seeded import draw
from stylefeatureeditor.directions.learned import learn_direction
from stylefeatureeditor.errors import ConfigError
from tiny import STYLES, WIDTH, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


class Bars:
    """Draws each of the first three numbers of style 0 as a colour channel."""

    latent_avg = torch.zeros(4)
    config = SimpleNamespace(num_styles=2)

    def synthesize(self, codes):
        return codes.wplus[:, 0, :3, None, None].expand(-1, 3, 8, 8) / 10


class Reader(nn.Module):
    """Knows how red a picture is, and how blue, through light and mirroring."""

    def forward(self, pixels):
        levels = 20 * pixels.mean(dim=(2, 3))
        return torch.stack([levels[:, 0], levels[:, 2]], dim=1)

    def column(self, name):
        return ("Red", "Blue").index(name)


@pytest.fixture
def codes():
    return draw("learning.codes", (64, 4))


def test_the_direction_brings_the_attribute_and_leaves_the_others(codes):
    found = learn_direction(Bars(), codes, Reader(), "Red")
    assert found.shape == (4,)
    assert found.norm().item() == pytest.approx(1, abs=1e-5)
    assert found[0] > 0.5
    assert found[0] > 4 * found[2].abs()
    assert found[3].abs() < 0.2  # nothing shows it
    other_way = learn_direction(Bars(), codes, Reader(), "-Red")
    assert other_way[0] < -0.5


def test_the_same_seed_gives_the_same_direction_and_leaves_torchs_own_draw(codes):
    torch.manual_seed(5)
    first, after = learn_direction(Bars(), codes, Reader(), "Red"), torch.rand(())
    torch.manual_seed(5)
    assert torch.rand(()) == after
    assert torch.equal(first, learn_direction(Bars(), codes, Reader(), "Red"))
    assert not torch.equal(first, learn_direction(Bars(), codes, Reader(), "Red", seed=1))


def test_codes_with_a_vector_for_each_style_give_one(monkeypatch):
    monkeypatch.setattr("stylefeatureeditor.directions.learned.STEPS", 2)
    generator = tiny_model().generator
    wplus = generator.latent_avg + draw("learning.wplus", (6, STYLES, WIDTH))

    class Light(Reader):
        def forward(self, pixels):
            return pixels.mean(dim=(2, 3))

    told = []
    found = learn_direction(generator, wplus, Light(), "Blue", progress=told.append)
    assert (found.shape, told) == ((STYLES, WIDTH), [1, 2])
    assert found.norm().item() == pytest.approx(1, abs=1e-5)
    assert all(p.grad is None for p in generator.parameters())


def test_one_code_is_too_few(codes):
    with pytest.raises(ConfigError, match="at least 2"):
        learn_direction(Bars(), codes[:1], Reader(), "Red")
