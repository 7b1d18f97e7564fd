"""HyperInverter, the "light" one, against the numbers of its release."""

from __future__ import annotations

import pytest
import torch

from released import assert_close, golden
from released_comparisons import STRENGTH, assert_picture, direction, load_from
from seeded import seeded_image
from seeded_comparisons import comparison_state, part
from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.generator.stylegan2 import Generator
from stylefeatureeditor.methods import load
from stylefeatureeditor.methods.hyperinverter import HyperInverterConfig
from stylefeatureeditor.methods.load import load_hyperinverter
from stylefeatureeditor.methods.pixels import sample
from stylefeatureeditor.weights.released import nvidia_generator_state

NUMBERS = golden("cmp_hyperinverter")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def method():
    state = comparison_state("hyperinverter")
    generator = nvidia_generator_state(part(state, "decoder."))
    checkpoint = {key: value for key, value in state.items() if not key.startswith("decoder.")}
    checkpoint["discriminator.b4.fc.weight"] = torch.zeros(1)  # of its training
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "read_generator", lambda path: {"ffhq.pkl": generator}[path])
        return load_from(
            lambda path: load_hyperinverter(path, "ffhq.pkl"), {"state_dict": checkpoint}
        )


@pytest.fixture(scope="module")
def drawn():
    """Every picture that a generator drew for `inversion`: of the codes alone, then the result."""
    return []


@pytest.fixture(scope="module")
def inversion(method, drawn):
    draw = Generator.synthesize
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Generator, "synthesize", lambda own, codes: drawn.append(draw(own, codes)) or drawn[-1]
        )
        found = method.invert(seeded_image("cmp.x1024", 1024))
        method.reconstruct(found)
        return found


def test_encodes_as_released(method, inversion):
    photos = sample(seeded_image("cmp.x1024", 1024), 256)
    assert_close(method.encoder(photos), NUMBERS["w_encoder/w"])
    assert_close(inversion.codes.wplus[:, :1], NUMBERS["w"])
    maps = torch.stack(method.layer_codes(photos), dim=1)[:, :, ::16]
    assert_close(maps, NUMBERS["w_bar_encoder/codes_strided"])


def test_the_picture_that_codes_alone_give_is_the_released_one(inversion, drawn):
    assert len(drawn) == 2
    assert torch.equal(drawn[1], inversion.pixels)
    assert_picture(drawn[0], "hyperinverter", "w_image")


def test_changes_of_every_weight_are_the_released_ones(inversion):
    assert len(inversion.kept) == 26
    for name, delta in inversion.kept.items():
        kind, index = name.split(".")[:2]
        block = int(index) if kind == "to_rgb" else (int(index) + 1) // 2
        part_of = "torgb" if kind == "to_rgb" else f"conv{(int(index) + 1) % 2}"
        case = f"predicted/b{4 << block}.{part_of}.weight"
        mean, std, largest = NUMBERS[f"{case}/stats"]
        assert abs(float(delta.mean(dtype=torch.float64)) - mean) < 1e-4 * std
        assert abs(float(delta.std()) / std - 1) < 1e-4
        assert abs(float(delta.abs().max()) - largest) < 1e-4 * std
        sample_of = delta[:, :: max(delta.shape[1] // 8, 1), :: delta.shape[2] // 8]
        assert_close(sample_of, NUMBERS[f"{case}/first"], std)


def test_inverts_as_released(inversion):
    assert_picture(inversion.pixels, "hyperinverter", "inversion")


def test_edits_as_released(method, inversion):
    pixels = method.edit(inversion, {direction(): STRENGTH})
    assert_picture(pixels, "hyperinverter", "edit")


def test_the_encoders_own_file_wins_and_one_of_the_two_is_needed():
    one = {"hypernet.weight_regressors.b4_conv1_weight.b1": torch.ones(1)}
    one["w_bar_encoder.latlayer1.bias"] = torch.ones(1)
    with pytest.raises(WeightsError, match="no encoder to W"):
        load.hyperinverter_state(one, None)
    inside = {**one, "w_encoder.linear.bias": torch.ones(1)}
    assert load.hyperinverter_state(inside, None)["encoder.linear.bias"] == 1
    own = {"linear.bias": torch.zeros(1)}
    assert load.hyperinverter_state(inside, own)["encoder.linear.bias"] == 0


def test_an_unknown_tensor_of_a_regressor_is_an_error():
    state = {"hypernet.weight_regressors.b4_conv1_weight.w3": torch.ones(1)}
    state["w_bar_encoder.latlayer1.bias"] = torch.ones(1)
    with pytest.raises(WeightsError, match="w3"):
        load.hyperinverter_state(state, {"linear.bias": torch.ones(1)})


def test_sizes_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="at least 64"):
        HyperInverterConfig(pyramid=E4eConfig(size=32))
    with pytest.raises(ConfigError, match="at least 1"):
        HyperInverterConfig(latent=0)
