"""Losses without pretrained networks, against the released numbers and by hand."""

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from released import golden
from seeded import seeded_image, seeded_input
from seeded_critics import ada_discriminator
from stylefeatureeditor.errors import ConfigError, ShapeError
from stylefeatureeditor.generator.discriminator import Discriminator, DiscriminatorConfig
from stylefeatureeditor.training.losses import (
    R1Config,
    discriminator_loss,
    feature_distance,
    feature_l1,
    feature_norm,
    generator_loss,
    l2_loss,
    lazy_r1,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)

# Published parameter -> ours, as the golden gradients name them.
OURS = {
    "b64.fromrgb.weight": "from_rgb.weight",
    "b4.out.weight": "logit.weight",
    "b8.conv1.bias": "blocks.3.conv2.bias",
    "b8.conv1.weight": "blocks.3.conv2.weight",
}


@pytest.fixture(scope="module")
def discriminator():
    return ada_discriminator(64)


def assert_gradients(loss, network, case, tolerance=1e-4):
    """Compare the gradients that the golden file holds, each at its stride."""
    expected = {
        OURS[key.rsplit("/", 1)[1]]: value
        for key, value in golden("losses").items()
        if key.startswith(f"{case}/grad/")
    }
    assert len(expected) == 3
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(loss, [parameters[name] for name in expected])
    for gradient, value in zip(gradients, expected.values(), strict=True):
        steps = (-(-whole // kept) for whole, kept in zip(gradient.shape, value.shape, strict=True))
        kept = gradient[tuple(slice(None, None, step) for step in steps)].numpy()
        np.testing.assert_allclose(kept, value, rtol=0, atol=tolerance * value.std())


def test_l2_equals_the_release():
    a, b = (seeded_image(f"losses.{name}", 256, 2) for name in "ab")
    assert l2_loss(a, b).item() == pytest.approx(golden("losses")["l2"], rel=1e-5)


def test_l2_refuses_to_broadcast():
    with pytest.raises(ShapeError):
        l2_loss(torch.zeros(2, 3), torch.zeros(1, 3))


def test_generator_loss_equals_the_release():
    logits = seeded_input("losses.logits", (5, 1))
    assert generator_loss(logits).item() == pytest.approx(golden("losses")["adv/encoder"], rel=1e-6)


def test_discriminator_loss_and_its_gradients_equal_the_release():
    """In float64: the logits nearly cancel, and float32 moves by 2e-3 with the number of threads.

    The golden float32 gradient itself lies 3.2e-4 of its std from the float64 one.
    """
    discriminator = ada_discriminator(64).double()
    real, fake = (
        discriminator(seeded_image(f"losses.{name}", 64, 4).double()) for name in ("real", "fake")
    )
    loss = discriminator_loss(real, fake)
    assert loss.item() == pytest.approx(golden("losses")["adv/discriminator"], rel=1e-6)
    assert_gradients(loss, discriminator, "adv", tolerance=5e-4)


def test_lazy_r1_and_its_gradients_equal_the_release():
    """In float64: float32 moves by 2e-5 with the processor's kernels.

    The golden float32 loss lies 3.5e-6 from the float64 one, its gradient 1.6e-4 of its std.
    """
    discriminator = ada_discriminator(64).double()
    photos = seeded_image("losses.real", 64, 4).double()
    loss = lazy_r1(discriminator, photos, 32, R1Config())
    assert loss.item() == pytest.approx(golden("losses")["r1/step32"].item(), rel=1e-5)
    assert_gradients(loss, discriminator, "r1", tolerance=2e-4)
    assert lazy_r1(discriminator, photos, 33, R1Config()).item() == golden("losses")["r1/step33"]


def test_the_adversarial_losses_pull_apart():
    high, low = torch.full((2, 1), 3.0), torch.full((2, 1), -3.0)
    assert generator_loss(high) < generator_loss(low)
    assert discriminator_loss(high, low) < discriminator_loss(low, high)
    zero = torch.zeros(2, 1)
    assert discriminator_loss(zero, zero).item() == pytest.approx(np.log(2))


def test_r1_of_a_linear_critic_is_its_squared_weight():
    weight = torch.randn(3, 4, 4)
    photos = torch.randn(5, 3, 4, 4, requires_grad=True)
    logits = (photos * weight).sum(dim=(1, 2, 3))[:, None]
    assert r1_penalty(logits, photos).item() == pytest.approx(
        weight.square().sum().item(), rel=1e-5
    )


def test_lazy_r1_counts_every_step_it_stands_for():
    network = Discriminator(DiscriminatorConfig(size=8, channel_base=32, channel_max=4))
    photos = torch.randn(2, 3, 8, 8)
    each = lazy_r1(network, photos, 0, R1Config(weight=10, every=1))
    lazy = lazy_r1(network, photos, 48, R1Config(weight=10, every=16))
    torch.testing.assert_close(lazy, 16 * each)
    assert not photos.requires_grad


def test_regularisers_of_features_by_hand():
    features = torch.zeros(2, 1, 2, 2)
    features[0] = 3  # norm 6
    features[1] = 1  # norm 2
    assert feature_norm(features).item() == pytest.approx(4)
    assert feature_distance(features, torch.zeros_like(features)).item() == pytest.approx(5)
    assert feature_l1(features, torch.zeros_like(features)).item() == pytest.approx(2)


def test_path_length_of_a_linear_generator_is_its_scale(monkeypatch):
    # image = w_0 * scale on every pixel: y^T J is scale times the sum of y, for one style of two
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    side, scale = 8, torch.tensor(3.0, requires_grad=True)
    codes = torch.ones(4, 2, 1, requires_grad=True)
    images = scale * codes[:, :1, :, None].expand(4, 1, side, side)
    length = 3 * side**2 / side / 2**0.5
    lengths = path_lengths(images, codes)
    penalty, mean = path_length_penalty(lengths, torch.tensor(1.0), decay=0.25)
    assert mean.item() == pytest.approx(0.75 + 0.25 * length)
    assert penalty.item() == pytest.approx((length - mean.item()) ** 2, rel=1e-5)
    assert not mean.requires_grad
    penalty.backward()
    assert scale.grad > 0  # longer than the mean: the generator is asked to shrink


def test_path_length_penalty_vanishes_when_all_lengths_are_the_mean():
    torch.manual_seed(1)
    codes = torch.ones(1, 2, 3, requires_grad=True)
    images = codes.sum() * torch.ones(1, 3, 8, 8)
    lengths = path_lengths(images, codes)
    penalty, mean = path_length_penalty(lengths, torch.tensor(0.0), decay=1.0)
    assert penalty.item() == pytest.approx(0, abs=1e-9)  # one image: its length is the mean
    assert mean.item() > 0


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError):
        R1Config(every=0)


def test_softplus_form_is_the_logistic_loss():
    logits = torch.tensor([[0.3]])
    assert generator_loss(logits).item() == pytest.approx(
        -np.log(torch.sigmoid(logits).item()), rel=1e-5
    )
    assert softplus(-logits).item() == pytest.approx(generator_loss(logits).item())
