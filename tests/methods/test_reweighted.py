"""A generator with some weights of its own."""

from __future__ import annotations

import torch

from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.methods.reweighted import draw_each, reweighted
from stylefeatureeditor.records import Codes

SMALL = GeneratorConfig(size=16, style_dim=4, mapping_layers=1, channel_max=4)
NAME = "layers.2.conv.weight"


def small():
    return Generator(SMALL).eval().requires_grad_(requires_grad=False)


def test_it_has_the_named_weights_and_the_very_tensors_of_the_rest():
    generator = small()
    weight = torch.ones_like(generator.get_parameter(NAME))
    own = reweighted(generator, {NAME: weight})
    assert own.get_parameter(NAME).data_ptr() == weight.data_ptr()
    assert not torch.equal(generator.get_parameter(NAME), weight)
    for name, tensor in own.state_dict().items():
        if name != NAME:
            assert tensor.data_ptr() == generator.state_dict()[name].data_ptr()


def test_each_photo_is_drawn_with_its_own_weights():
    generator, codes = small(), Codes(torch.randn(2, SMALL.num_styles, 4))
    weights = [{NAME: torch.randn_like(generator.get_parameter(NAME))} for _ in range(2)]
    pixels = draw_each(generator, codes, weights.__getitem__)
    for photo, own in enumerate(weights):
        rows = slice(photo, photo + 1)
        expected = reweighted(generator, own).synthesize(codes.rows(rows))
        assert torch.equal(pixels[rows], expected)
    assert not torch.allclose(pixels, generator.synthesize(codes))
