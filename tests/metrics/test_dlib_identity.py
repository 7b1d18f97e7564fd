"""Our network against dlib's own, which the extra `faces` installs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import dlib
import pytest
import torch

from seeded import draw
from stylefeatureeditor.errors import DependencyError, ShapeError, WeightsError
from stylefeatureeditor.metrics import dlib_identity, perceptual
from stylefeatureeditor.metrics.dlib_identity import CHIP, SIDE, load_dlib_identity

if TYPE_CHECKING:
    import numpy as np


@pytest.fixture(scope="module")
def network():
    return load_dlib_identity()


def weights_file() -> Path:
    return Path(find_spec(dlib_identity.PACKAGE).origin).with_name("models") / dlib_identity.FILE


def chips() -> np.ndarray:
    """Smooth pictures of dlib's size, as bytes."""
    coarse = draw("dlib.chips", (3, 3, 10, 10))
    fine = torch.nn.functional.interpolate(coarse, size=SIDE, mode="bicubic").clamp(-2, 2)
    return ((fine + 2) / 4 * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def test_the_numbers_are_dlibs(network):
    theirs = dlib.face_recognition_model_v1(str(weights_file()))
    bytes_ = chips()
    wanted = torch.tensor([list(theirs.compute_face_descriptor(chip)) for chip in bytes_])
    got = network.describe(torch.from_numpy(bytes_).permute(0, 3, 1, 2).float() / 127.5 - 1)
    torch.testing.assert_close(got, wanted.float(), rtol=0, atol=1e-5)  # numbers of about 0.5


def test_a_crop_shows_the_chip_at_any_size(network):
    """A gradient over the crop gives the same gradient over the chip."""
    side = 256
    ramp = (torch.arange(side) + 0.5) / side * 2 - 1
    crop = ramp.expand(1, 3, side, side)
    seen = []
    network.describe, describe = (lambda x: seen.append(x) or x.mean((2, 3))), network.describe
    try:
        network.vectors(crop)
        network.vectors(torch.nn.functional.avg_pool2d(crop, 4))
    finally:
        network.describe = describe
    x = (torch.arange(SIDE) + 0.5) / SIDE
    wanted = (CHIP[0] + (CHIP[2] - CHIP[0]) * x) * 2 - 1
    for chip in seen:
        assert (chip[0, 0, 75] - wanted).abs().max() < 4 / side


def test_one_face_is_nearer_to_itself_than_to_another(network):
    faces = torch.from_numpy(chips()).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert network.distance(faces, faces).max() < 1e-5
    assert network.distance(faces, faces.roll(1, 0)).min() > 0.05


def test_gradients_reach_the_pixels_and_not_the_weights(network):
    pixels = draw("dlib.gradient", (1, 3, 64, 64)).requires_grad_()
    network.loss(pixels, torch.zeros_like(pixels)).backward()
    assert pixels.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.parameters())


def test_other_shapes_are_refused(network):
    with pytest.raises(ShapeError):
        network.describe(torch.zeros(1, 3, 64, 64))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(perceptual, "find_spec", lambda _name: None)
    with pytest.raises(DependencyError, match=r"stylefeatureeditor\[faces\]"):
        load_dlib_identity()


@pytest.mark.parametrize("kept", [0, 1000, 22_000_000])
def test_a_file_cut_short_is_refused(tmp_path, kept):
    path = tmp_path / "cut.dat"
    path.write_bytes(weights_file().read_bytes()[:kept])
    with pytest.raises(WeightsError, match="cut short"):
        dlib_identity._state(dlib_identity.DlibIdentity(), path)
