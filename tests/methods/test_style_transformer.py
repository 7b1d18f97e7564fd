"""Style Transformer against the numbers of its release."""

from __future__ import annotations

import pytest
import torch

from released import assert_close, golden
from released_comparisons import STRENGTH, assert_picture, direction
from seeded import seeded_image
from seeded_comparisons import comparison_latent_avg, comparison_state
from stylefeatureeditor.methods.load import load_style_transformer

NUMBERS = golden("cmp_style_transformer")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def method(tmp_path_factory):
    """Through a file, as a user has it."""
    path = tmp_path_factory.mktemp("published") / "style_transformer.pt"
    mean = comparison_latent_avg("style_transformer")[None]
    torch.save({"state_dict": comparison_state("style_transformer"), "latent_avg": mean}, path)
    yield load_style_transformer(path)
    path.unlink()


@pytest.fixture(scope="module")
def inversion(method):
    found = method.invert(seeded_image("cmp.x", 256))
    method.reconstruct(found)
    return found


def test_queries_are_the_released_ones(method):
    assert_close(method.queries(), NUMBERS["query"])


def test_inverts_as_released(method, inversion):
    offsets = inversion.codes.wplus - method.generator.latent_avg
    assert_close(offsets, NUMBERS["encoder/codes"])
    assert_close(inversion.codes.wplus, NUMBERS["w"])
    assert_picture(inversion.pixels, "style_transformer", "inversion")


def test_edits_as_released(method, inversion):
    pixels = method.edit(inversion, {direction(): STRENGTH})
    assert_picture(pixels, "style_transformer", "edit_w")
