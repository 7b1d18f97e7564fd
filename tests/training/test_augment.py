"""Adaptive discriminator augmentation."""

from __future__ import annotations

import pytest
import torch

from stylefeatureeditor.errors import ConfigError, ShapeError
from stylefeatureeditor.training.augment import (
    AdaptiveAugment,
    AugmentConfig,
    Draws,
    colour_map,
    diff_augment,
    geometry_map,
    recolour,
    resample,
)

SIZE = 16


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE) * 2 - 1


def affine(*rows: float) -> torch.Tensor:
    return torch.tensor(rows).reshape(1, 2, 3)


def test_with_p_zero_every_image_passes_bit_by_bit():
    x = images()
    assert torch.equal(AdaptiveAugment(AugmentConfig())(x), x)
    draws = Draws(4, torch.tensor(0.0), x.device)
    assert torch.equal(resample(x, geometry_map(draws, SIZE)), x)
    assert torch.equal(recolour(x, colour_map(draws)), x)


def test_an_image_that_drew_nothing_passes_beside_one_that_moved():
    x = images(2)
    maps = torch.cat([affine(1, 0, 0, 0, 1, 0), affine(-1, 0, 0, 0, 1, 0)])
    result = resample(x, maps)
    assert torch.equal(result[0], x[0])
    torch.testing.assert_close(result[1], x[1].flip(-1), rtol=0, atol=1e-5)


def test_a_whole_pixel_shift_moves_pixels_without_blur():
    x = images(1)
    result = resample(x, affine(1, 0, 3 / (SIZE / 2), 0, 1, 0))  # read 3 pixels to the right
    torch.testing.assert_close(result[..., :-3], x[..., 3:], rtol=0, atol=1e-5)


def test_beyond_the_border_the_image_is_mirrored():
    x = images(1)
    result = resample(x, affine(1, 0, 3 / (SIZE / 2), 0, 1, 0))
    torch.testing.assert_close(result[..., -3:], x[..., -3:].flip(-1), rtol=0, atol=1e-5)


def test_a_quarter_turn_equals_rot90():
    x = images(1)
    result = resample(x, affine(0, -1, 0, 1, 0, 0))
    torch.testing.assert_close(result, torch.rot90(x, 1, (2, 3)), rtol=0, atol=1e-5)


def test_with_p_one_almost_every_image_changes_and_stays_finite():
    augment = AdaptiveAugment(AugmentConfig(start=1.0))
    x = images(32)
    result = augment(x)
    assert result.shape == x.shape
    assert result.isfinite().all()
    assert ((result - x).abs().amax(dim=(1, 2, 3)) > 1e-3).all()


def test_geometry_mirrors_half_of_the_images_at_p_one():
    maps = geometry_map(Draws(4000, torch.tensor(1.0), torch.device("cpu")), SIZE)
    mirrored = torch.linalg.det(maps[:, :, :2]) < 0
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_geometry_of_small_p_leaves_most_images_alone():
    maps = geometry_map(Draws(4000, torch.tensor(0.1), torch.device("cpu")), SIZE)
    alone = (maps == torch.eye(3)[:2]).all(dim=2).all(dim=1).float().mean().item()
    # mirror (1/2 p), two whole shifts, scale, stretch, two rotations (together p), two shifts
    expected = 0.95 * 0.9**2 * 0.9 * 0.9 * 0.9 * 0.9**2
    assert alone == pytest.approx(
        expected, abs=0.06
    )  # some whole shifts round to 0, a half turn not


def test_colour_keeps_grey_grey_and_draws_nothing_at_p_zero():
    maps = colour_map(Draws(64, torch.tensor(1.0), torch.device("cpu")))
    grey = torch.linspace(-1, 1, 64).reshape(64, 1, 1, 1).expand(64, 3, 2, 2)
    result = recolour(grey, maps)
    torch.testing.assert_close(result, result.mean(dim=1, keepdim=True).expand_as(result))
    nothing = colour_map(Draws(4, torch.tensor(0.0), torch.device("cpu")))
    torch.testing.assert_close(nothing, torch.eye(3, 4).expand(4, 3, 4))


def test_a_colour_map_adds_its_last_column():
    x = images(1)
    maps = torch.eye(3, 4)[None].clone()
    maps[0, 1, 3] = 0.25
    torch.testing.assert_close(recolour(x, maps)[:, 1], x[:, 1] + 0.25)
    assert torch.equal(recolour(x, maps)[:, 0], x[:, 0])


def test_gradients_reach_the_pixels_once():
    augment = AdaptiveAugment(AugmentConfig(start=1.0))
    x = images().requires_grad_()
    (gradient,) = torch.autograd.grad(augment(x).square().sum(), x)
    assert gradient.abs().amax(dim=(1, 2, 3)).min() > 0


def test_p_rises_while_d_is_sure_and_falls_when_it_is_not():
    augment = AdaptiveAugment(AugmentConfig(speed=1000, every=2))
    for _ in range(4):
        augment.adapt(torch.ones(10, 1))
    assert augment.probability.item() == pytest.approx(40 / 1000)
    for _ in range(2):
        augment.adapt(-torch.ones(10, 1))
    assert augment.probability.item() == pytest.approx(20 / 1000)
    for _ in range(20):
        augment.adapt(-torch.ones(10, 1))
    assert augment.probability.item() == 0


def test_p_turns_at_the_target():
    scores = torch.tensor([[1.0]] * 9 + [[-1.0]])  # mean sign 0.8
    below, above = (
        AdaptiveAugment(AugmentConfig(target=t, every=1, start=0.5)) for t in (0.7, 0.9)
    )
    below.adapt(scores)
    above.adapt(scores)
    assert below.probability > 0.5 > above.probability


def test_a_fixed_p_stays():
    augment = AdaptiveAugment(AugmentConfig(start=0.3, every=1, fixed=True))
    augment.adapt(torch.ones(10, 1))
    assert augment.probability.item() == pytest.approx(0.3)


def test_p_and_what_it_counts_survive_a_checkpoint():
    first = AdaptiveAugment(AugmentConfig(speed=100, every=2))
    for _ in range(3):
        first.adapt(torch.ones(5, 1))
    second = AdaptiveAugment(AugmentConfig(speed=100, every=2))
    second.load_state_dict(first.state_dict())
    for augment in (first, second):
        augment.adapt(torch.ones(5, 1))
    assert second.probability.item() == first.probability.item() == pytest.approx(0.2)


def test_a_wrong_setting_or_shape_is_refused():
    with pytest.raises(ConfigError, match="start must lie in"):
        AugmentConfig(start=1.5)
    with pytest.raises(ConfigError, match="speed"):
        AugmentConfig(speed=0)
    with pytest.raises(ShapeError, match="images: expected shape"):
        AdaptiveAugment(AugmentConfig())(torch.zeros(1, 4, 8, 8))


class TestDiffAugment:
    def test_moves_by_an_eighth_and_cuts_a_square_out(self):
        torch.manual_seed(0)
        ones = torch.ones(64, 3, 32, 32)
        drawn = diff_augment(ones)
        for image in drawn:
            assert (image[0] == image[1]).all()  # grey stays grey
            seen = image[0][image[0] != 0]
            assert seen.unique().numel() == 1  # one brightness
            assert 0.5 <= seen[0] <= 1.5
            gone = (image[0] == 0).sum()
            assert 8 * 8 <= gone <= 16 * 16 + 32 * 32 - 28 * 28

    def test_a_place_tells_where_it_came_from(self):
        torch.manual_seed(1)
        places = torch.arange(256.0).reshape(1, 1, 16, 16).expand(32, 3, 16, 16) + 1
        colour = {"rand": lambda *_, **__: torch.full((3, 32, 1, 1, 1), 0.5)}  # but saturation: x 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "rand", colour["rand"])
            drawn = diff_augment(places)
        for image in drawn[:, 0]:
            kept = image.nonzero()
            moved = {
                tuple((torch.tensor([(v - 1) // 16, (v - 1) % 16]) - p).tolist())
                for p, v in ((p, round(image[tuple(p)].item())) for p in kept)
            }
            assert len(moved) == 1  # all by the same whole pixels
            assert max(map(abs, moved.pop())) <= 2

    def test_the_gradient_passes(self):
        images = torch.rand(4, 3, 16, 16, requires_grad=True)
        diff_augment(images).sum().backward()
        assert images.grad.abs().sum() > 0
