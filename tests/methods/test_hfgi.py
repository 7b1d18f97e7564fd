"""HFGI against the numbers of its release."""

from __future__ import annotations

import pytest
import torch

from released import assert_close, assert_features, golden
from released_comparisons import STRENGTH, assert_picture, direction, load_from
from seeded import seeded_image
from seeded_comparisons import comparison_state, repeated_latent_avg
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.methods.hfgi import HfgiConfig
from stylefeatureeditor.methods.load import load_hfgi

NUMBERS = golden("cmp_hfgi")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def method():
    state = comparison_state("hfgi")
    return load_from(load_hfgi, {"state_dict": state, "latent_avg": repeated_latent_avg("hfgi")})


@pytest.fixture(scope="module")
def conditions(method):
    """What the aligner and the residue network made, pass after pass: (aligned, (scale, shift))."""
    made = {method.aligner: [], method.residue: []}
    hooks = [
        network.register_forward_hook(lambda own, _, out: made[own].append(out)) for network in made
    ]
    yield lambda: list(zip(*made.values(), strict=True))
    for hook in hooks:
        hook.remove()


@pytest.fixture(scope="module")
def inversion(method, conditions):
    assert not conditions()
    found = method.invert(seeded_image("cmp.x", 256))
    method.reconstruct(found)
    return found


def assert_conditions(found, case):
    aligned, (scale, shift) = found
    for name, value in (("aligned", aligned), ("scale", scale), ("shift", shift)):
        assert_features(value, NUMBERS, f"{case}/{name}")


def test_inverts_as_released(inversion, conditions):
    """Its script and its `forward` without distortion gave the same numbers to the bit."""
    assert_close(inversion.codes.wplus, NUMBERS["w"])
    assert_features(inversion.kept, NUMBERS, "residual")
    assert_conditions(conditions()[0], "inversion")
    assert_picture(inversion.pixels, "hfgi", "inversion")


def test_edits_as_released(method, inversion, conditions):
    pixels = method.edit(inversion, {direction(): STRENGTH})
    assert_conditions(conditions()[-1], "edit")
    assert_picture(pixels, "hfgi", "edit")


def test_the_picture_that_codes_alone_give_is_the_released_one(method, inversion):
    assert_picture(method.generator.synthesize(inversion.codes), "hfgi", "initial")


def test_a_residue_network_that_ends_at_another_side_than_the_features_is_refused():
    with pytest.raises(ConfigError, match="must end at the 64 cells of layer 8"):
        HfgiConfig(residue_channels=(32, 48))
