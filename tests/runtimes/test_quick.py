"""Every quick module is held to the plain one it stands for."""

from __future__ import annotations

import copy
from itertools import product

import pytest
import torch
from torch import nn

from seeded import draw
from stylefeatureeditor.backbones.ir_se50 import IRBlock, IRConfig, IRTrunk
from stylefeatureeditor.backbones.iresnet import (
    FeatureMerger,
    IResNetBranch,
    IResNetConfig,
    IResNetTrunk,
    MergerConfig,
)
from stylefeatureeditor.editing.e4e import E4e, E4eConfig, PyramidEncoder
from stylefeatureeditor.generator.layers import ModulatedConv
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.inversion.feature_style_encoder import (
    FeatureStyleEncoder,
    FeatureStyleEncoderConfig,
)
from stylefeatureeditor.records import Codes, StyleSpace
from stylefeatureeditor.runtimes import quick
from stylefeatureeditor.runtimes.convolution import Conv3x3
from stylefeatureeditor.runtimes.quick import QUICK, QuickContent, quicken
from tiny import randomize, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")
WIDE = 128  # channels from which on tiles are used
D = 6
ENCODER = E4eConfig(
    size=64,
    num_styles=4,
    style_dim=WIDE,
    middle_from=1,
    fine_from=2,
    trunk=IRConfig(channels=(8, WIDE, WIDE, WIDE), depths=(1, 1, 1, 1), squeeze=None),
)
IRESNET = IResNetConfig(stem_channels=8, channels=(8, 16, WIDE, 16), depths=(1, 1, 2, 1))
FEATURE_STYLE = FeatureStyleEncoderConfig(
    num_styles=2, style_dim=D, feature_channels=WIDE, trunk=IRESNET
)
MERGER = MergerConfig(channels=WIDE, num_residual_layers=2)
NETWORKS = {
    "FeatureMerger": (lambda: FeatureMerger(MERGER), (2, 2 * WIDE, 32, 32)),
    "IResNetBranch": (lambda: IResNetBranch(WIDE, 136, 2), (2, WIDE, 32, 32)),
    "IResNetTrunk": (lambda: IResNetTrunk(IRESNET), (1, 3, 128, 128)),
    "FeatureStyleEncoder": (lambda: FeatureStyleEncoder(FEATURE_STYLE), (1, 3, 128, 128)),
    "IRBlock": (lambda: IRBlock(WIDE, WIDE, 1, 16), (2, WIDE, 32, 32)),
    "IRBlock without SE": (lambda: IRBlock(WIDE, 132, 1, None), (2, WIDE, 32, 32)),
    "IRTrunk": (lambda: IRTrunk(ENCODER.trunk), (1, 3, 128, 128)),
    "PyramidEncoder": (lambda: PyramidEncoder(ENCODER), (1, 3, 64, 64)),
    "E4e": (lambda: E4e(ENCODER), (2, 3, 64, 64)),
}
GENERATOR = GeneratorConfig(
    size=32, style_dim=12, mapping_layers=2, channel_base=128, channel_max=16
)


def pair(network: nn.Module, name: str) -> tuple[nn.Module, nn.Module]:
    """Return a network and its quick twin, both with the weights that `name` gives."""
    plain = randomize(network, name).requires_grad_(requires_grad=False)
    return plain, quicken(copy.deepcopy(plain))


def assert_near(found: object, expected: object) -> None:
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, torch.Tensor)
        spread = float(expected.std())
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=3e-5 * spread)
    else:
        assert isinstance(expected, (list, tuple))
        for one, other in zip(found, expected, strict=True):  # type: ignore[call-overload]
            assert_near(one, other)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_quick_network_is_the_plain_one(name, grad):
    make, shape = NETWORKS[name]
    plain, twin = pair(make(), f"quick.{name}")
    x = draw("quick.x", shape)
    with torch.set_grad_enabled(grad):
        assert_near(twin(x), plain(x))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert not torch.isnan(torch.as_tensor(_first(twin(x)))).any()


def _first(value):
    return value if isinstance(value, torch.Tensor) else value[0]


@pytest.mark.parametrize(("kernel", "upsample"), [(3, False), (3, True), (1, False)])
@pytest.mark.parametrize(("batch", "side", "channels"), [*product((1, 2), (4, 32), (5, WIDE))])
def test_a_quick_modulated_convolution_is_the_plain_one(batch, side, channels, kernel, upsample):
    conv = ModulatedConv(
        channels, channels + 3, kernel, D, upsample=upsample, demodulate=kernel == 3
    )
    plain, twin = pair(conv, "quick.modulated")
    code, offset = draw("quick.code", (batch, D)), draw("quick.offset", (batch, channels))
    inputs = (draw("quick.x", (batch, channels, side, side)), code, offset)
    bias = draw("quick.bias", (channels + 3,))
    with torch.no_grad():
        assert_near(twin(*inputs, bias, 1.5), plain(*inputs, bias, 1.5))
        if not upsample and kernel == 3:
            border = draw("quick.border", (1, channels, side + 2, side + 2))
            assert_near(twin(*inputs, bias, 1.5, border), plain(*inputs, bias, 1.5, border))


def codes(batch: int, *, is_styled: bool) -> Codes:
    layout = GENERATOR.style_layout()
    offsets = StyleSpace(
        tuple(draw(f"quick.conv{i}", (batch, width)) for i, width in enumerate(layout.conv)),
        tuple(draw(f"quick.rgb{i}", (batch, width)) for i, width in enumerate(layout.rgb)),
    )
    wplus = draw("quick.w", (batch, GENERATOR.num_styles, GENERATOR.style_dim))
    return Codes(wplus, offsets if is_styled else None)


@pytest.mark.parametrize("clamp", [None, 2.0])
@pytest.mark.parametrize("is_styled", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("band", [4, 12, 16, 32])
def test_a_quick_generator_draws_the_plain_picture_in_bands(
    batch, band, is_styled, clamp, monkeypatch
):
    config = GeneratorConfig(**{**vars(GENERATOR), "clamp": clamp})
    plain, twin = pair(Generator(config), "quick.generator")
    w = codes(batch, is_styled=is_styled)
    sides: list[int] = []
    twin.layers[-1].conv.register_forward_hook(lambda *call: sides.append(call[-1].shape[2]))
    monkeypatch.setattr(quick, "BAND", band)
    with torch.no_grad():
        expected = plain.synthesize(w)
        assert_near(twin.synthesize(w), expected)
        half = twin.run_to(w, 3)
        assert_near(twin.synthesize_from(half.features, w, 3, half.rgb), expected)
    bands = -(-32 // band)
    assert len(sides) == 2 * bands
    assert max(sides) <= band + (0 if bands == 1 else 2)


def test_with_gradients_or_random_noise_a_quick_generator_draws_no_bands(monkeypatch):
    plain, twin = pair(Generator(GENERATOR), "quick.generator")
    monkeypatch.setattr(quick, "BAND", 4)
    monkeypatch.setattr(quick.QuickGenerator, "_draw_in_bands", None)
    w = codes(1, is_styled=True)
    assert_near(twin.synthesize(w), plain.synthesize(w))
    with torch.no_grad():
        torch.manual_seed(0)
        expected = plain.synthesize(w, random_noise=True)
        torch.manual_seed(0)
        assert_near(twin.synthesize(w, random_noise=True), expected)


def test_every_network_of_a_model_is_exchanged_and_nothing_else_of_it_changes():
    plain, twin = tiny_model(), quicken(tiny_model())
    kinds = {type(module) for module in twin.modules()}
    assert not kinds & set(QUICK)
    assert {*QUICK.values(), QuickContent, Conv3x3} - kinds == {QUICK[PyramidEncoder]}
    state = twin.state_dict()
    assert list(state) == list(plain.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())
    assert quicken(twin) is twin
    assert {type(module) for module in copy.deepcopy(twin).modules()} == kinds
