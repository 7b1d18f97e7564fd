"""StyleRes against the numbers of its release."""

from __future__ import annotations

import pytest
import torch

from released import assert_close, assert_features, golden
from released_comparisons import STRENGTH, assert_picture, direction, load_from
from seeded import seeded_image, seeded_input
from seeded_comparisons import comparison_state, part, repeated_latent_avg
from stylefeatureeditor.methods.load import load_styleres

NUMBERS = golden("cmp_styleres")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def method():
    state = comparison_state("styleres")
    tables = {name: part(state, f"{name}.") for name in ("e4e", "generator_smooth")}
    return load_from(load_styleres, {**tables, "latent_avg": repeated_latent_avg("styleres")})


@pytest.fixture(scope="module")
def gated(method):
    """What H was given and what it gave, pass after pass: (own, delta, gate)."""
    passes = []
    hook = method.gate.register_forward_hook(
        lambda _, given, made: passes.append((given[0], *made))
    )
    yield passes
    hook.remove()


@pytest.fixture(scope="module")
def inversion(method, gated):
    assert not gated
    found = method.invert(seeded_image("cmp.x", 256))
    method.reconstruct(found)
    return found


def assert_gated(found, case):
    for name, value in zip(("own", "delta", "gate"), found, strict=True):
        assert_features(value, NUMBERS, f"{case}/{name}")


def test_inverts_as_released(inversion, gated):
    assert_close(inversion.codes.wplus, NUMBERS["w"])
    assert_features(inversion.kept, NUMBERS, "extracted")
    assert_gated(gated[0], "inversion")
    assert_picture(inversion.pixels, "styleres", "inversion")


def test_edits_as_released(method, inversion, gated):
    pixels = method.edit(inversion, {direction(): STRENGTH})
    assert_gated(gated[-1], "edit")
    assert_picture(pixels, "styleres", "edit")


def test_features_are_the_released_ones(method, inversion):
    skip = method.encoder.levels(seeded_image("cmp.x", 256)).shallow
    features = method.generator.features(inversion.codes, 8)
    assert_features(skip, NUMBERS, "skip")
    assert_features(features, NUMBERS, "F")
    aligned = method.transform.align(torch.cat([skip, features], dim=1))
    assert_features(aligned, NUMBERS, "aligned")


def test_the_generator_alone_draws_and_maps_as_released(method, inversion):
    pixels = method.generator.synthesize(inversion.codes)
    assert_picture(pixels, "styleres", "generator_only")
    mapped = method.generator.map(seeded_input("cmp.z", (1, 512))).wplus
    assert_close(mapped[:, 0], NUMBERS["mapping/w"])
