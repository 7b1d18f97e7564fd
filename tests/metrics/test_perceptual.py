"""Perceptual networks, against the released numbers with seeded weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from released import TOLERANCE, golden
from seeded import draw, seeded_image
from seeded_critics import arcface, ir_layout, lpips, moco
from stylefeatureeditor.backbones.ir_se50 import IRConfig
from stylefeatureeditor.errors import ConfigError, ShapeError
from stylefeatureeditor.metrics.perceptual import (
    ArcFaceConfig,
    ArcFaceFeatures,
    Lpips,
    MocoFeatures,
    ResNetConfig,
    curricularface,
)
from stylefeatureeditor.weights.released import arcface_state

TINY_ARCFACE = ArcFaceConfig(
    trunk=IRConfig(channels=(4, 4, 8, 8), depths=(1, 1, 1, 1), squeeze=2), side=32, width=6
)
TINY_RESNET = ResNetConfig(depths=(1, 1, 1, 1), width=2)


@pytest.fixture(scope="module")
def pair():
    return tuple(seeded_image(f"losses.{name}", 256, 2) for name in "ab")


@torch.no_grad()
def test_lpips_alex_equals_the_release(pair):
    distance = lpips("alex")(*pair)
    assert distance.mean().item() == pytest.approx(golden("losses")["lpips_alex/batch2"], rel=1e-5)
    assert distance[0].item() == pytest.approx(golden("losses")["lpips_alex/single"], rel=1e-5)


@torch.no_grad()
def test_lpips_vgg_equals_the_release(pair):
    distance = lpips("vgg")(pair[0][:1], pair[1][:1])
    assert distance.item() == pytest.approx(golden("losses")["lpips_vgg/single"], rel=1e-5)


@torch.no_grad()
def test_identity_features_and_loss_equal_the_release(pair):
    network = arcface()
    expected = golden("losses")["id/features"]
    features = network.features(pair[0]).numpy()
    np.testing.assert_allclose(features, expected, rtol=0, atol=TOLERANCE * expected.std())
    assert network.loss(*pair).item() == pytest.approx(golden("losses")["id/loss"], rel=1e-5)


def test_curricularface_has_the_published_layout():
    with torch.device("meta"):
        network = ArcFaceFeatures(curricularface())
        published = {key: torch.empty(shape) for key, shape in ir_layout((3, 13, 30, 3)).items()}
    state = arcface_state(published)
    ours = {key: value.shape for key, value in network.state_dict().items()}
    assert {key: value.shape for key, value in state.items()} == ours
    assert sum(p.numel() for p in network.parameters()) == 65_128_768  # as published


@torch.no_grad()
def test_curricularface_is_what_its_published_tensors_mean(pair):
    """A small IR network, computed from the published names by plain functions."""
    layout = ir_layout((1, 2, 1, 1), channels=(4, 4, 6, 8, 8), side=2)
    state = {key: draw(f"ir.{key}", shape) * 0.3 for key, shape in layout.items()}
    for key in state:
        if key.endswith("running_var"):
            state[key] = state[key].abs() + 0.5

    def norm(x, key):
        of = [state.get(f"{key}.{n}") for n in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *of)

    x = functional.adaptive_avg_pool2d(pair[0][:, :, 35:223, 32:220], 32)
    x = norm(functional.conv2d(x, state["input_layer.0.weight"], padding=1), "input_layer.1")
    x = functional.prelu(x, state["input_layer.2.weight"])
    for place, stride in enumerate((2, 2, 1, 2, 2)):
        at = f"body.{place}"
        y = functional.conv2d(
            norm(x, f"{at}.res_layer.0"), state[f"{at}.res_layer.1.weight"], padding=1
        )
        y = functional.prelu(y, state[f"{at}.res_layer.2.weight"])
        y = functional.conv2d(y, state[f"{at}.res_layer.3.weight"], stride=stride, padding=1)
        y = norm(y, f"{at}.res_layer.4")
        weight = state.get(f"{at}.shortcut_layer.0.weight")
        skip = x[:, :, ::stride, ::stride]
        if weight is not None:
            skip = norm(functional.conv2d(skip, weight), f"{at}.shortcut_layer.1")
        x = y + skip
    x = norm(x, "output_layer.0").flatten(1)
    x = x @ state["output_layer.3.weight"].T + state["output_layer.3.bias"]
    expected = functional.normalize(norm(x, "output_layer.4"))

    trunk = IRConfig(channels=(4, 6, 8, 8), depths=(1, 2, 1, 1), squeeze=None)
    network = ArcFaceFeatures(ArcFaceConfig(trunk=trunk, side=32, feature_affine=False))
    network.load_state_dict(arcface_state(state))
    torch.testing.assert_close(network.features(pair[0]), expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_moco_features_and_loss_equal_the_release(pair):
    network = moco()
    expected = golden("losses")["moco/features"]  # every fourth channel
    features = network.features(pair[0])[:, ::4].numpy()
    np.testing.assert_allclose(features, expected, rtol=0, atol=TOLERANCE * expected.std())
    # a difference of two numbers near 1, so absolute
    assert network.loss(*pair).item() == pytest.approx(golden("losses")["moco/loss"], abs=1e-6)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_is_zero_for_equal_images_symmetric_and_per_image(net):
    network = Lpips(net)
    a, b = torch.rand(2, 3, 3, 32, 32) * 2 - 1
    assert torch.equal(network(a, a), torch.zeros(3))
    torch.testing.assert_close(network(a, b), network(b, a))
    torch.testing.assert_close(network(a, b)[1:2], network(a[1:2], b[1:2]))


def test_lpips_gradient_is_finite_where_all_activations_are_zero():
    network = Lpips("alex")
    for parameter in network.trunk.parameters():
        parameter.zero_()
    pixels = torch.zeros(1, 3, 32, 32, requires_grad=True)
    network(pixels, torch.ones(1, 3, 32, 32)).sum().backward()
    assert pixels.grad.isfinite().all()


def test_lpips_refuses_small_images_and_unknown_trunks():
    with pytest.raises(ShapeError, match="at least 32 pixels a side, got 40x31"):
        Lpips("alex")(torch.zeros(1, 3, 31, 40), torch.zeros(1, 3, 31, 40))
    with pytest.raises(ConfigError, match="squeeze"):
        Lpips("squeeze")


@pytest.mark.parametrize(
    "network", [ArcFaceFeatures(TINY_ARCFACE), MocoFeatures(TINY_RESNET)], ids=["arcface", "moco"]
)
class TestFeatureNetworks:
    def test_features_are_unit_vectors_at_any_size(self, network):
        for side in (64, 300):
            features = network.features(torch.rand(2, 3, side, side) * 2 - 1)
            torch.testing.assert_close(features.norm(dim=1), torch.ones(2))

    def test_an_image_is_itself(self, network):
        pixels = torch.rand(2, 3, 64, 64)
        torch.testing.assert_close(network.similarity(pixels, pixels), torch.ones(2))
        assert network.loss(pixels, pixels).item() == pytest.approx(0, abs=1e-6)

    def test_the_gradient_reaches_the_drawn_image_only(self, network):
        drawn, photo = torch.rand(2, 1, 3, 64, 64).requires_grad_().unbind()
        drawn.retain_grad()
        photo.retain_grad()
        network.loss(drawn, photo).backward()
        assert drawn.grad.abs().max() > 0
        assert photo.grad is None

    def test_training_mode_does_not_reach_it(self, network):
        before = {key: value.clone() for key, value in network.state_dict().items()}
        torch.nn.Sequential(network).train()
        network.features(torch.rand(2, 3, 64, 64))
        assert not network.training
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[key]), key
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_arcface_looks_at_the_middle_of_the_crop():
    network = ArcFaceFeatures(TINY_ARCFACE)
    pixels = torch.rand(1, 3, 256, 256)
    seen = pixels.clone()
    seen[:, :, :35], seen[:, :, 223:], seen[..., :32], seen[..., 220:] = 0, 0, 0, 0
    assert torch.equal(network.features(pixels), network.features(seen))
    seen[:, :, 35:40, 32:40] = -1
    assert not torch.equal(network.features(pixels), network.features(seen))


@pytest.mark.parametrize(
    "make", [lambda: ArcFaceConfig(side=100), lambda: ResNetConfig(depths=(1, 1))]
)
def test_impossible_sizes_are_refused(make):
    with pytest.raises(ConfigError):
        make()
