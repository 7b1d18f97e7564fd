"""What holds for every method, on networks of a few channels."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from stylefeatureeditor.backbones.ir_se50 import IRConfig
from stylefeatureeditor.backbones.iresnet import IResNetConfig
from stylefeatureeditor.comparisons.feature_style import FeatureStyle, FeatureStyleConfig
from stylefeatureeditor.comparisons.hfgi import Hfgi, HfgiConfig
from stylefeatureeditor.comparisons.padinv import PadInv, PadInvConfig
from stylefeatureeditor.comparisons.psp import Psp, PspConfig
from stylefeatureeditor.comparisons.restyle import ReStyle, ReStyleConfig
from stylefeatureeditor.comparisons.style_transformer import (
    StyleTransformer,
    StyleTransformerConfig,
)
from stylefeatureeditor.comparisons.styleres import StyleRes, StyleResConfig
from stylefeatureeditor.editing.direction import EditDirection, StyleSpaceDirection
from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.inversion.feature_style_encoder import FeatureStyleEncoderConfig

GENERATOR = GeneratorConfig(size=64, style_dim=8, mapping_layers=1, channel_max=8)
TRUNK = IRConfig(channels=(4, 4, 8, 8), depths=(1, 1, 1, 1), squeeze=2)
ENCODER = E4eConfig(size=64, num_styles=10, style_dim=8, trunk=TRUNK)
TINY = {
    "psp": lambda: Psp(PspConfig(generator=GENERATOR, encoder=ENCODER)),
    "restyle": lambda: ReStyle(
        ReStyleConfig(generator=GENERATOR, trunk=TRUNK, size=64, iterations=2)
    ),
    "feature_style": lambda: FeatureStyle(
        FeatureStyleConfig(
            generator=GENERATOR,
            size=64,
            layer=1,
            encoder=FeatureStyleEncoderConfig(
                num_styles=10,
                style_dim=8,
                feature_channels=8,
                trunk=IResNetConfig(
                    stem_channels=4, channels=(4, 4, 4, 4), depths=(1, 1, 1, 1), strides=(2,) * 4
                ),
            ),
        )
    ),
    "style_transformer": lambda: StyleTransformer(
        StyleTransformerConfig(generator=GENERATOR, pyramid=ENCODER, heads=2, hidden=8)
    ),
    "hfgi": lambda: Hfgi(
        HfgiConfig(
            generator=GENERATOR,
            encoder=ENCODER,
            layer=4,
            aligner_channels=(4, 4, 4, 4),
            residue_channels=(4, 4, 4),
        )
    ),
    "styleres": lambda: StyleRes(StyleResConfig(generator=GENERATOR, encoder=ENCODER, layer=4)),
    "padinv": lambda: PadInv(PadInvConfig(generator=GENERATOR, encoder=ENCODER)),
}


@pytest.fixture(params=TINY)
def method(request):
    return TINY[request.param]().eval()


@pytest.fixture
def photos():
    return torch.rand(2, 3, 64, 64) * 2 - 1


def test_a_batch_is_its_photos_one_by_one(method, photos):
    together = method.invert(photos)
    direction = EditDirection.linear(torch.randn(8))
    edited = method.edit(together, {direction: 0.7})
    for row in range(2):
        alone = method.invert(photos[row : row + 1])
        torch.testing.assert_close(
            together.reconstruction[row : row + 1], alone.reconstruction, atol=1e-3, rtol=1e-3
        )
        torch.testing.assert_close(
            edited[row : row + 1], method.edit(alone, {direction: 0.7}), atol=1e-3, rtol=1e-3
        )


def test_no_edit_redraws_the_reconstruction(method, photos):
    inversion = method.invert(photos)
    unmoved = method.edit(inversion, {EditDirection.linear(torch.randn(8)): 0.0})
    torch.testing.assert_close(unmoved, inversion.reconstruction, atol=1e-4, rtol=1e-4)


def test_stylespace_directions_are_taken_and_edits_add_up(method, photos):
    channel = StyleSpaceDirection.of_channels("one channel", ((3, 2),), GENERATOR.style_layout())
    shift = EditDirection.linear(torch.randn(10, 8))
    inversion = method.invert(photos)
    both = method.edit(inversion, {channel: 5.0, shift: 0.5})
    assert torch.equal(both, method.edit(inversion, {shift: 0.5, channel: 5.0}))
    for one in ({channel: 5.0}, {shift: 0.5}):
        assert not torch.allclose(both, method.edit(inversion, one))


def test_a_larger_photo_is_brought_to_the_encoders_side(method):
    large = torch.rand(1, 3, 128, 128)
    inversion = method.invert(large)
    assert inversion.reconstruction.shape == (1, 3, 64, 64)
    assert all(
        value is not None for value in (getattr(inversion, f.name) for f in fields(inversion))
    )


def test_inversion_leaves_no_graph(method, photos):
    assert not method.invert(photos).reconstruction.requires_grad
