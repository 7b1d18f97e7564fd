"""pSp and the encoder to W against the numbers of their release."""

from __future__ import annotations

import pytest
import torch

from released import assert_close, golden
from released_comparisons import STRENGTH, assert_picture, direction, load_from
from seeded import seeded_image
from seeded_comparisons import (
    comparison_layout,
    comparison_state,
    comparison_value,
    repeated_latent_avg,
)
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.methods.load import load_psp, single_style_state
from stylefeatureeditor.methods.pixels import pool
from stylefeatureeditor.methods.single_style import SingleStyleConfig, SingleStyleEncoder
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.key_maps import without_prefix

NUMBERS = golden("cmp_psp")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def psp():
    state = comparison_state("psp")
    return load_from(load_psp, {"state_dict": state, "latent_avg": repeated_latent_avg("psp")})


@pytest.fixture(scope="module")
def inversion(psp):
    found = psp.invert(seeded_image("cmp.x", 256))
    psp.reconstruct(found)
    return found


def test_inverts_as_released(psp, inversion):
    assert_close(inversion.codes.wplus - psp.generator.latent_avg, NUMBERS["encoder/codes"])
    assert_close(inversion.codes.wplus, NUMBERS["w"])
    assert_picture(inversion.pixels, "psp", "inversion")
    assert_picture(pool(inversion.pixels, 256), "psp", "inversion_face_pool256")


def test_edits_as_released(psp, inversion):
    assert_picture(psp.edit(inversion, {direction(): STRENGTH}), "psp", "edit_w")


def test_the_encoder_to_w_gives_the_released_style():
    layout = {
        key: shape
        for key, shape in comparison_layout("psp")
        if key.startswith(("encoder.input_layer.", "encoder.body."))
    }
    state = {}
    for key, shape in layout.items():
        owner, _, leaf = key.rpartition(".")
        seeded = key.replace("encoder.", "encoder_w.", 1)
        norm = f"{owner}.running_var" in layout
        state[key] = (
            torch.zeros(shape, dtype=torch.int64)
            if leaf == "num_batches_tracked"
            else comparison_value("psp", seeded, shape, batch_norm=norm)
        )
    for leaf, shape in (("weight", (512, 512)), ("bias", (512,))):
        state[f"encoder.linear.{leaf}"] = comparison_value("psp", f"encoder_w.linear.{leaf}", shape)
    with torch.device("meta"):
        encoder = SingleStyleEncoder(SingleStyleConfig()).eval()
    assign_state(encoder, single_style_state(without_prefix(state, "encoder.")), "file")
    assert_close(encoder(seeded_image("cmp.x", 256)), NUMBERS["encoder_w/w"])


def test_a_file_of_another_method_is_refused():
    with pytest.raises(WeightsError, match="another method"):
        load_from(load_psp, {"g_ema": {}})
    state = {"encoder.x": torch.zeros(1), "decoder.y": torch.zeros(1), "hypernet.z": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"hypernet\.z"):
        load_from(load_psp, {"state_dict": state, "latent_avg": torch.zeros(18, 512)})
    means = torch.arange(18.0)[:, None].expand(18, 512)
    with pytest.raises(WeightsError, match="differs between styles"):
        load_from(load_psp, {"state_dict": dict(list(state.items())[:2]), "latent_avg": means})
