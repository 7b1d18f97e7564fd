"""PadInv against the numbers of its release."""

from __future__ import annotations

import pytest
import torch

from released import assert_close, assert_features, golden
from released_comparisons import STRENGTH, assert_picture, direction, load_from
from seeded import seeded_image
from seeded_comparisons import comparison_latent_avg, comparison_state, part
from stylefeatureeditor.errors import ConfigError, ShapeError
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig, Padding
from stylefeatureeditor.methods.load import load_padinv
from stylefeatureeditor.records import Codes

NUMBERS = golden("cmp_padinv")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


LAYERS = (0, 2, 4, 6)


@pytest.fixture(scope="module")
def method():
    state = comparison_state("padinv")
    models = {"encoder": part(state, "encoder."), "generator_smooth": part(state, "generator.")}
    # the release sets the encoder's mean from the generator's; the numbers have one of their own
    models["generator_smooth"]["w_avg"] = comparison_latent_avg("padinv")
    return load_from(load_padinv, {"models": models})


@pytest.fixture(scope="module")
def inversion(method):
    found = method.invert(seeded_image("cmp.x", 256))
    method.reconstruct(found)
    return found


def test_inverts_as_released(inversion):
    assert_close(inversion.codes.wplus, NUMBERS["w"])
    assert_picture(inversion.pixels, "padinv", "inversion")


def test_padding_maps_are_the_released_ones(method):
    middle = method.encoder.levels(seeded_image("cmp.x", 256)).middle
    for index, padding in zip((0, 1, 3, 5, 7), method.padding(middle), strict=True):
        assert_features(padding, NUMBERS, f"padding_map{index}")


def test_edits_as_released(method, inversion):
    assert_picture(method.edit(inversion, {direction(): STRENGTH}), "padinv", "edit")


def test_without_its_padding_it_draws_as_released(method, inversion):
    pixels = method.generator.synthesize(inversion.codes)
    assert_picture(pixels, "padinv", "without_padding")


@pytest.fixture(scope="module")
def small():
    return Generator(GeneratorConfig(size=32, style_dim=8, mapping_layers=1, channel_max=8)).eval()


def zeros(generator, layers):
    config = generator.config
    return {
        layer: torch.zeros(1, config.channels(config.side(layer)), *[config.side(layer) + 2] * 2)
        for layer in layers
    }


def test_padding_of_zeros_is_what_the_generator_does_anyway(small):
    codes = Codes(torch.randn(2, 8, 8))
    padding = Padding(small.constant, zeros(small, LAYERS))
    padded = small.run_to(codes, small.config.num_layers, padding).rgb
    torch.testing.assert_close(padded, small.synthesize(codes), atol=1e-4, rtol=1e-4)


def test_a_border_changes_the_rim_of_its_layer_and_its_inside_does_not_count(small):
    codes = Codes(torch.randn(1, 8, 8))
    border = torch.randn(1, 8, 6, 6)
    other = border.clone()
    other[:, :, 1:-1, 1:-1] = 7.0
    plain = small.run_to(codes, 1).features
    framed = small.run_to(codes, 1, Padding(small.constant, {0: border})).features
    again = small.run_to(codes, 1, Padding(small.constant, {0: other})).features
    assert torch.equal(framed, again)
    torch.testing.assert_close(framed[..., 1:-1, 1:-1], plain[..., 1:-1, 1:-1])
    assert not torch.allclose(framed[..., 0, :], plain[..., 0, :])


def test_a_border_of_a_layer_that_doubles_its_side_or_of_another_size_is_refused(small):
    codes = Codes(torch.randn(1, 8, 8))
    with pytest.raises(ConfigError, match="take a border, got 1"):
        small.run_to(codes, 2, Padding(small.constant, {1: torch.zeros(1, 8, 10, 10)}))
    with pytest.raises(ShapeError, match="border of layer 2"):
        small.run_to(codes, 3, Padding(small.constant, {2: torch.zeros(1, 8, 8, 8)}))
