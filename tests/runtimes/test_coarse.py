"""A small picture of the whole generator."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from seeded import draw
from stylefeatureeditor.generator.layers import ModulatedConv
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.records import Codes, StyleSpace
from stylefeatureeditor.runtimes.coarse import coarse_kernel, draw_coarsely
from stylefeatureeditor.runtimes.quick import quicken
from tiny import randomize

CONFIG = GeneratorConfig(size=32, style_dim=12, mapping_layers=1, channel_base=128, channel_max=16)
LAYER = 3


@pytest.fixture(scope="module")
def generator():
    network = quicken(randomize(Generator(CONFIG), "coarse"))
    return network.requires_grad_(requires_grad=False)


def codes(batch: int = 2) -> Codes:
    return Codes(draw("coarse.codes", (batch, CONFIG.num_styles, 12)))


def small_picture(generator, codes):
    halfway = generator.run_to(codes, LAYER)
    return generator.synthesize_from(halfway.features, codes, LAYER, halfway.rgb, size=16)


def ramp(side: int, reach: int) -> torch.Tensor:
    """A plane, which every interpolation keeps, (1, 1, side, side): x + 2 y in units of reach."""
    cells = (torch.arange(side) + 0.5) / side * reach
    return (cells[None] + 2 * cells[:, None])[None, None]


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("factor", [2, 4])
def test_a_coarse_kernel_does_to_a_plane_what_the_fine_one_does(upsample, factor):
    conv = ModulatedConv(1, 1, 3, 4, upsample=upsample)
    conv.weight.data = draw("coarse.kernel", (1, 1, 3, 3))
    fine_side = 16 * factor
    source = ramp(fine_side // 2 if upsample else fine_side, 1)
    fine = conv.convolve(source)
    coarse = functional.conv2d(ramp(16, 1), coarse_kernel(conv, factor).detach(), padding=1)
    expected = functional.avg_pool2d(fine.detach(), factor)
    inside = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(coarse[inside], expected[inside], rtol=1e-4, atol=1e-4)


def test_without_its_upper_layers_a_generator_draws_its_own_small_image(generator):
    last = 2 * 4 - 3
    halfway = generator.run_to(codes(), last)
    same = draw_coarsely(generator, halfway, codes(), CONFIG.num_layers)
    assert torch.equal(same, halfway.rgb)
    assert not torch.allclose(small_picture(generator, codes()), halfway.rgb, atol=0.05)


def test_it_is_nearer_to_the_picture_than_the_small_image_is():
    """Smooth noise-free features: what is left out matters little."""
    generator = quicken(randomize(Generator(CONFIG), "coarse"))
    for layer in generator.layers:
        layer.noise_strength.data.zero_()
    whole = functional.avg_pool2d(generator.synthesize(codes()).detach(), 2)
    own = generator.run_to(codes(), 5).rgb.detach()
    coarse = small_picture(generator, codes()).detach()
    assert (coarse - whole).std() < 0.6 * (own - whole).std()


def test_stylespace_offsets_and_clamps_reach_the_upper_layers(generator):
    layout = CONFIG.style_layout()
    offsets = StyleSpace(
        tuple(torch.zeros(2, width) for width in layout.conv),
        (*(torch.zeros(2, width) for width in layout.rgb[:-1]), torch.ones(2, layout.rgb[-1])),
    )
    moved = small_picture(generator, Codes(codes().wplus, offsets))
    plain = small_picture(generator, codes())
    assert not torch.allclose(moved, plain, atol=0.05)


def test_a_side_that_no_layer_has_is_refused(generator):
    from stylefeatureeditor.errors import ConfigError

    halfway = generator.run_to(codes(), LAYER)
    for size in (8, 20, 64):
        with pytest.raises(ConfigError, match=rf"sides \[16, 32\], got {size}"):
            generator.synthesize_from(halfway.features, codes(), LAYER, halfway.rgb, size=size)
    whole = generator.synthesize_from(halfway.features, codes(), LAYER, halfway.rgb, size=32)
    assert torch.allclose(whole, generator.synthesize(codes()), atol=1e-5)
