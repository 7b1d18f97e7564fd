"""Inception of FID: layout of the published file, and the two ways to prepare images.

Its arithmetic was compared once with an independent implementation on random weights: equal.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stylefeatureeditor.errors import ShapeError, WeightsError
from stylefeatureeditor.metrics.inception import (
    MIXED_A,
    MIXED_E,
    SIDE,
    Inception,
    Mixed,
    clean_fid_input,
    fid_input,
    load_inception,
    mean3,
)
from stylefeatureeditor.photo.image import to_tensor


@pytest.fixture(scope="module")
def state():
    return Inception().state_dict()


def test_the_keys_are_those_of_the_published_file(state):
    units = {key.rsplit(".", 2)[0] for key in state}
    assert len(units) == 94
    assert state["Mixed_6b.branch7x7dbl_5.conv.weight"].shape == (192, 128, 1, 7)
    assert state["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)
    learned = (v.numel() for k, v in state.items() if k.endswith(("weight", "bias")))
    assert sum(learned) == 21_785_568


def test_a_file_with_a_classifier_and_without_counters_loads(state, tmp_path):
    published = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    published |= {"fc.weight": torch.zeros(8, 2048), "fc.bias": torch.zeros(8)}
    torch.save(published, tmp_path / "inception.pth")
    network = load_inception(tmp_path / "inception.pth")
    loaded = network.state_dict()["Mixed_5b.branch1x1.conv.weight"]
    assert torch.equal(loaded, state["Mixed_5b.branch1x1.conv.weight"])
    assert not network.train().training


def test_a_missing_or_foreign_file_is_one_sentence(tmp_path):
    with pytest.raises(WeightsError, match="sfe models pull inception"):
        load_inception(tmp_path / "none.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="missing"):
        load_inception(tmp_path / "other.pth")


def test_means_leave_the_padding_out():
    assert torch.equal(mean3(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_the_last_block_pools_by_maximum():
    torch.manual_seed(0)
    mean, last = (Mixed(8, MIXED_E.format(pool)).eval() for pool in ("mean", "max"))
    last.load_state_dict(mean.state_dict())
    x = torch.randn(1, 8, 5, 5)
    assert torch.equal(mean(x)[:, :-192], last(x)[:, :-192])
    assert not torch.allclose(mean(x)[:, -192:], last(x)[:, -192:])


def test_branches_stand_in_the_published_order():
    block = Mixed(4, MIXED_A.format(6)).eval()
    x = torch.randn(1, 4, 5, 5)
    assert block(x).shape == (1, 230, 5, 5)
    assert torch.equal(block(x)[:, :64], block.branch1x1(x))
    assert torch.equal(block(x)[:, -6:], block.branch_pool(mean3(x)))


def test_only_prepared_images_are_taken():
    with pytest.raises(ShapeError, match="prepared"):
        Inception()(torch.zeros(1, 3, 64, 64))


def test_fid_input_keeps_an_image_of_the_right_side():
    pixels = torch.rand(1, 3, SIDE, SIDE) * 2 - 1
    torch.testing.assert_close(fid_input(pixels), pixels)
    assert fid_input(pixels[..., :64, :64]).shape == (1, 3, SIDE, SIDE)


def test_clean_input_is_pillows_resize_of_each_channel():
    picture = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    found = clean_fid_input(to_tensor(picture))[0, 1] * 128 + 128
    green = Image.fromarray(picture[..., 1].astype(np.float32))
    expected = np.asarray(green.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).clip(0, 255)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_the_two_inputs_differ_when_an_image_shrinks():
    picture = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    assert clean_fid_input(to_tensor(picture)).std() < 0.8 * fid_input(to_tensor(picture)).std()
