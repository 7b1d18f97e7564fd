"""pSp and the encoder to W against the numbers of their release."""

from __future__ import annotations

import pytest
import torch

from released import assert_close, golden
from released_comparisons import STRENGTH, assert_picture, direction, load_from
from seeded import seeded_image, seeded_input
from seeded_comparisons import (
    comparison_latent_avg,
    comparison_layout,
    comparison_state,
    comparison_value,
    repeated_latent_avg,
)
from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.methods.load import load_psp, single_style_state
from stylefeatureeditor.methods.pixels import pool
from stylefeatureeditor.methods.psp import mix_styles
from stylefeatureeditor.methods.single_style import SingleStyleConfig, SingleStyleEncoder
from stylefeatureeditor.records import Codes
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
    return psp.invert(seeded_image("cmp.x", 256))


def test_inverts_as_released(psp, inversion):
    assert_close(inversion.codes.wplus - psp.generator.latent_avg, NUMBERS["encoder/codes"])
    assert_close(inversion.codes.wplus, NUMBERS["w"])
    assert_picture(inversion.reconstruction, "psp", "inversion")
    assert_picture(pool(inversion.reconstruction, 256), "psp", "inversion_face_pool256")


def test_edits_as_released(psp, inversion):
    assert_picture(psp.edit(inversion, {direction(): STRENGTH}), "psp", "edit_w")


def test_mixes_styles_as_released(psp, inversion):
    other = comparison_latent_avg("psp") + 0.7 * seeded_input("cmp.inject", (1, 18, 512))
    mixed = mix_styles(inversion.codes, Codes(other), tuple(range(8, 18)), 0.5)
    assert_picture(psp.generator.synthesize(mixed), "psp", "style_mix_8_17_alpha0.5")


def test_mixing_leaves_the_other_styles_alone_and_refuses_rows_that_are_not_there():
    own, other = Codes(torch.zeros(2, 4, 3)), Codes(torch.ones(1, 4, 3))
    mixed = mix_styles(own, other, (1, 3), 0.25).wplus
    assert torch.equal(mixed[:, :, 0], torch.tensor([[0, 0.25, 0, 0.25]] * 2))
    with pytest.raises(ConfigError, match="between 0 and 3"):
        mix_styles(own, other, (4,), 0.5)


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
