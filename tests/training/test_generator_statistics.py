"""Cheap numbers about drawn images."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from stylefeatureeditor.training.generator import detail, thumbnail_distance, thumbnails


def test_equal_sets_are_at_distance_zero_and_a_shift_counts_squared():
    x = thumbnails(torch.rand(64, 3, 16, 16))
    assert thumbnail_distance(x, x) == pytest.approx(0, abs=1e-6)
    # 192 coordinates, each moved by 0.5
    assert thumbnail_distance(x, x + 0.5) == pytest.approx(192 * 0.25, rel=1e-4)


def test_a_collapsed_set_is_far_from_a_varied_one():
    torch.manual_seed(0)
    varied = torch.randn(256, 3, 1, 1).expand(-1, -1, 16, 16)
    other = torch.randn(256, 3, 1, 1).expand(-1, -1, 16, 16)
    varied, other = thumbnails(varied), thumbnails(other)
    collapsed = torch.zeros(256, 192)
    assert thumbnail_distance(varied, collapsed) > 20 * thumbnail_distance(varied, other)


def test_blur_lowers_detail_and_a_flat_image_has_none():
    x = torch.rand(4, 3, 16, 16)
    assert (detail(functional.avg_pool2d(x, 3, 1, 1)) < detail(x) / 4).all()
    assert detail(torch.ones(4, 3, 16, 16)).tolist() == [0] * 4
