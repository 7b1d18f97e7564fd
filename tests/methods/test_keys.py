"""Key maps refuse what their layout lacks."""

from __future__ import annotations

import pytest
import torch

from released_comparisons import load_from
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.generator.layers import blur_kernel
from stylefeatureeditor.methods.load import load_hfgi, load_styleres, single_style_state
from stylefeatureeditor.weights.released import hammer_generator_state, mean_latent

ONE = torch.zeros(1)


@pytest.mark.parametrize("shape", [(8,), (1, 8), (18, 8)])
def test_a_mean_latent_of_any_stored_shape_becomes_one_row(shape):
    mean = torch.arange(8.0).expand(shape)
    assert torch.equal(mean_latent(mean), torch.arange(8.0))


def test_an_unknown_tensor_of_a_w_encoder_is_an_error():
    with pytest.raises(WeightsError, match=r"'linear\.extra'"):
        single_style_state({"linear.weight": ONE, "linear.extra": ONE})


def test_a_part_that_is_not_there_is_an_error():
    state = {f"{part}.x": ONE for part in ("encoder", "decoder", "residue")}
    with pytest.raises(WeightsError, match=r"nothing under 'grid_align\.'"):
        load_from(load_hfgi, {"state_dict": state, "latent_avg": ONE})


def test_a_hammer_generator_with_another_filter_or_an_unknown_tensor_is_an_error():
    with pytest.raises(WeightsError, match="resampling filter"):
        hammer_generator_state({"synthesis.layer1.filter": torch.ones(4, 4)})
    state = {"synthesis.filter": blur_kernel(), "synthesis.layer0.extra": ONE}
    with pytest.raises(WeightsError, match=r"'synthesis\.layer0\.extra'"):
        hammer_generator_state(state)


def test_an_unknown_network_inside_the_generator_of_styleres_is_an_error():
    inside = {"synthesis.b4.const": ONE, "mapping.w_avg": ONE}
    tables = {"e4e": {}, "generator_smooth": {**inside, "synthesis.b64.modify_other.x": ONE}}
    with pytest.raises(WeightsError):
        load_from(load_styleres, {**tables, "latent_avg": ONE})
