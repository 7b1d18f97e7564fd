"""The image loss: each term by hand, its networks, its errors."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from phase_training import PIXELS, tiny_discriminator
from seeded import draw
from stylefeatureeditor.errors import ConfigError, ShapeError
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.metrics.efficientnet_lite import load_efficientnet_lite
from stylefeatureeditor.metrics.pixel import ssim
from stylefeatureeditor.training.image_losses import (
    ImageLoss,
    ImageLossConfig,
    LossNetworks,
    discriminator_layers,
    layer_distance,
    pyramid_loss,
)
from tiny import SIZE, tiny_photos


class Halves(nn.Module):
    """Stands for LPIPS: per image, the mean absolute difference of the upper halves."""

    def forward(self, first, second):
        rows = first.shape[2] // 2
        return (first - second)[:, :, :rows].abs().mean(dim=(1, 2, 3))


class Means(nn.Module):
    """Stands for an identity network."""

    def loss(self, pixels, reference):
        return (pixels.mean() - reference.mean()).abs()


def classifier():
    torch.manual_seed(3)
    config = AttributeClassifierConfig(
        attributes=("a", "b"), size=SIZE, channels=(4, 4, 6, 6), depths=(1, 1, 1, 1)
    )
    return AttributeClassifier(config).eval()


def pair():
    return tiny_photos(2, "first"), tiny_photos(2, "second")


def test_total_is_the_weighted_sum_of_the_terms():
    drawn, photos = pair()
    config = ImageLossConfig(l2=2.0, lpips=0.5, identity=0.25, l1=0.125)
    networks = LossNetworks(perceptual=Halves(), identity=Means())  # type: ignore[arg-type]
    found = ImageLoss(config, networks)(drawn, photos)
    difference = drawn - photos
    expected = {
        "l2": difference.square().mean(),
        "lpips": difference[:, :, : SIZE // 2].abs().mean(),
        "identity": difference.mean().abs(),
        "l1": difference.abs().mean(),
    }
    assert found.metrics("x_") == {f"x_{k}": pytest.approx(v.item()) for k, v in expected.items()}
    weighted = sum(getattr(config, name) * value for name, value in expected.items())
    assert found.total.item() == pytest.approx(weighted.item())


def test_terms_of_weight_zero_are_not_computed():
    drawn, photos = pair()
    assert set(ImageLoss(PIXELS, LossNetworks())(drawn, photos).terms) == {"l2"}


def test_side_averages_the_images_down_first():
    drawn, photos = pair()
    small = ImageLoss(replace(PIXELS, side=8), LossNetworks())(drawn, photos).total
    expected = functional.avg_pool2d(drawn - photos, SIZE // 8).square().mean()
    torch.testing.assert_close(small, expected)
    large = ImageLoss(replace(PIXELS, side=4 * SIZE), LossNetworks())(drawn, photos).total
    torch.testing.assert_close(large, (drawn - photos).square().mean())


def test_structure_is_what_ssim_lacks():
    photos = torch.rand(2, 3, 16, 16) * 2 - 1
    drawn = (photos + 0.1 * torch.randn_like(photos)).requires_grad_()
    loss = ImageLoss(replace(PIXELS, l2=0.0, structure=2.0), LossNetworks())
    value = loss(drawn, photos)
    torch.testing.assert_close(value.total, 2 - 2 * ssim(drawn, photos).mean())
    value.total.backward()
    assert drawn.grad.abs().sum() > 0
    assert loss(photos, photos).total.abs() < 1e-5
    with pytest.raises(ConfigError, match="side of at least 11, got 8"):
        replace(PIXELS, structure=1.0, side=8)


def test_the_distance_of_efficientnet_lite_is_a_term():
    photos = draw("lite.photos", (2, 3, 64, 64)).clamp(-1, 1)
    drawn = (photos + 0.1 * draw("lite.noise", (2, 3, 64, 64))).requires_grad_()
    network = load_efficientnet_lite()
    loss = ImageLoss(replace(PIXELS, l2=0.0, efficientnet_lite=2.0), LossNetworks(lite=network))
    value = loss(drawn, photos)
    torch.testing.assert_close(value.total, 2 * network(drawn, photos).mean())
    value.total.backward()
    assert drawn.grad.abs().sum() > 0
    with pytest.raises(ConfigError, match="install the extra features"):
        ImageLoss(loss.config, LossNetworks())


def test_pyramid_halves_as_often_as_told():
    drawn, photos = pair()
    halves = [functional.avg_pool2d(drawn - photos, 2**i).square().mean() for i in (1, 2)]
    torch.testing.assert_close(pyramid_loss(drawn, photos, 2), sum(halves) / 2)
    config = replace(PIXELS, l2=0.0, pyramid=3.0, pyramid_levels=1)
    torch.testing.assert_close(
        ImageLoss(config, LossNetworks())(drawn, photos).total, 3 * halves[0]
    )


def test_lpips_scale_adds_the_sizes_up():
    drawn, photos = pair()
    networks = LossNetworks(perceptual=Halves())  # type: ignore[arg-type]
    sizes = [functional.avg_pool2d(drawn - photos, 2**i) for i in (0, 1, 2)]
    expected = sum(size[:, :, : size.shape[2] // 2].abs().mean() for size in sizes)
    config = replace(PIXELS, l2=0.0, lpips_scale=2.0)
    value = ImageLoss(config, networks)(drawn, photos)
    torch.testing.assert_close(value.total, 2 * expected)
    torch.testing.assert_close(value.terms["lpips_scale"], expected)


def test_layer_distance_compares_directions_not_lengths():
    one = torch.tensor([3.0, 0.0]).reshape(1, 2, 1, 1)
    other = torch.tensor([0.0, 0.5]).reshape(1, 2, 1, 1)
    assert layer_distance([one], [5 * one]).item() == pytest.approx(0)
    assert layer_distance([one, one], [other, one]).item() == pytest.approx(1)  # (2 + 0) / 2


def test_discriminator_layers_do_not_depend_on_the_batch():
    discriminator, photos = tiny_discriminator(), tiny_photos(3)
    together = discriminator_layers(discriminator, photos)
    assert [tuple(layer.shape[2:]) for layer in together] == [(16, 16), (8, 8), (4, 4)]
    alone = discriminator_layers(discriminator, photos[1:2])
    for one, several in zip(alone, together, strict=True):
        torch.testing.assert_close(one[0], several[1], rtol=1e-4, atol=1e-5)


def test_frozen_copy_stays_when_the_discriminator_learns_and_the_live_one_follows():
    drawn, photos = pair()
    discriminator = tiny_discriminator()
    config = replace(PIXELS, l2=0.0, discriminator_features=1.0)
    frozen = ImageLoss(config, LossNetworks(), discriminator)
    live = ImageLoss(replace(config, discriminator_copy="live"), LossNetworks(), discriminator)
    before = frozen(drawn, photos).total
    torch.testing.assert_close(live(drawn, photos).total, before)
    with torch.no_grad():
        for block in discriminator.blocks:
            block.conv2.bias.add_(1.0)
    torch.testing.assert_close(frozen(drawn, photos).total, before)
    assert not torch.allclose(live(drawn, photos).total, before)


def test_features_pull_the_drawing_towards_the_photo_and_leave_the_networks_alone():
    photos, discriminator, judge = tiny_photos(1), tiny_discriminator(), classifier()
    kept = copy.deepcopy(judge.state_dict())
    for name in ("discriminator_features", "attribute_features"):
        config = replace(PIXELS, l2=0.0, **{name: 1.0})
        loss = ImageLoss(config, LossNetworks(attributes=judge), discriminator)
        drawn = torch.nn.Parameter(tiny_photos(1, "other"))
        optimizer = torch.optim.Adam([drawn], lr=0.05)
        losses = []
        for _ in range(15):
            found = loss(drawn, photos)
            found.total.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(found.total.item())
        assert losses[-1] < 0.8 * losses[0], name
        assert loss(photos, photos).total.item() == pytest.approx(0, abs=1e-6)
    assert all(torch.equal(kept[name], value) for name, value in judge.state_dict().items())
    assert all(p.grad is None for p in judge.parameters())


def test_photos_get_no_gradient():
    drawn, photos = pair()
    photos.requires_grad_()
    with pytest.raises(RuntimeError, match="does not require grad"):
        ImageLoss(PIXELS, LossNetworks())(drawn, photos).total.backward()


@pytest.mark.parametrize(
    ("name", "help_"),
    [
        ("lpips", "pull lpips"),
        ("lpips_scale", "pull lpips"),
        ("identity", "pull arcface"),
        ("discriminator_features", "discriminator"),
        ("attribute_features", "train attributes"),
    ],
)
def test_a_weight_without_its_network_says_what_to_do(name, help_):
    with pytest.raises(ConfigError, match=rf"{name} = 0.5 .*{help_}.* or set it to 0"):
        ImageLoss(replace(PIXELS, **{name: 0.5}), LossNetworks())


def test_refuses_weights_that_make_no_sense():
    with pytest.raises(ConfigError, match="negative"):
        replace(PIXELS, l1=-1.0)
    with pytest.raises(ConfigError, match="all 0"):
        replace(PIXELS, l2=0.0)


def test_refuses_images_of_two_sizes():
    drawn, photos = pair()
    with pytest.raises(ShapeError, match="photos"):
        ImageLoss(PIXELS, LossNetworks())(drawn, photos[:, :, :16, :16])
