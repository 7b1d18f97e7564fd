"""Feature-Style against the numbers of its release."""

from __future__ import annotations

import pytest
import torch

from released import assert_close, assert_features, golden
from released_comparisons import STRENGTH, assert_picture, direction, load_from
from seeded import seeded_image
from seeded_comparisons import comparison_state, part, repeated_latent_avg
from stylefeatureeditor.errors import ShapeError
from stylefeatureeditor.methods.load import load_feature_style

NUMBERS = golden("cmp_fse")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def method():
    state = comparison_state("fse")
    encoder = part(state, "enc.")
    psp = {key: value for key, value in state.items() if key.startswith("decoder.")}
    checkpoint = {"state_dict": psp, "latent_avg": repeated_latent_avg("fse")}
    return load_from(load_feature_style, encoder, checkpoint)


@pytest.fixture(scope="module")
def inversion(method):
    found = method.invert(seeded_image("cmp.x1024", 1024))
    method.reconstruct(found)
    return found


def test_encodes_as_released(method):
    offsets, features = method.encoder(seeded_image("cmp.x", 256))
    assert_close(offsets, NUMBERS["encoder256/w"])
    assert_features(features, NUMBERS, "encoder256/content")


def test_inverts_as_released(inversion):
    assert_close(inversion.codes.wplus, NUMBERS["encode/w"])
    assert_features(inversion.kept[0], NUMBERS, "encode/content")
    assert_features(inversion.kept[1], NUMBERS, "edit/fea0_5")
    assert_picture(inversion.pixels, "fse", "inversion")


def test_edits_as_released(method, inversion):
    moved = direction().apply(inversion.codes, STRENGTH)
    assert_features(method.generator.features(moved, 5), NUMBERS, "edit/fea1_5")
    assert_picture(method.edit(inversion, {direction(): STRENGTH}), "fse", "edit")


def test_a_photo_that_halving_cannot_bring_to_the_encoder_is_refused(method):
    with pytest.raises(ShapeError, match="power of two, got 768 x 768"):
        method.invert(torch.zeros(1, 3, 768, 768))
