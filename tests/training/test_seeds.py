"""Seeds made from what a draw belongs to."""

from __future__ import annotations

import itertools

import torch

from stylefeatureeditor.training.loop import seed_of, shared_generator


def test_seeds_differ_by_every_part_and_their_order():
    parts = list(itertools.product((0, 1, -1), repeat=3))
    seeds = {seed_of(*each) for each in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_stay_what_they_were():
    assert seed_of(0, 0, 0) == 7896617691693857887


def test_a_shared_draw_depends_on_its_step_and_purpose_alone():
    torch.manual_seed(1)
    one = torch.rand(3, generator=shared_generator(0, 5))
    torch.manual_seed(2)
    assert torch.equal(one, torch.rand(3, generator=shared_generator(0, 5)))
    assert not torch.equal(one, torch.rand(3, generator=shared_generator(0, 6)))
    assert not torch.equal(one, torch.rand(3, generator=shared_generator(0, 5, 1)))
