"""What files of the published kinds may look like beyond their tensors."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from released_comparisons import load_from
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.generator.layers import blur_kernel
from stylefeatureeditor.methods import load
from stylefeatureeditor.methods.load import load_hyperstyle, load_padinv, load_restyle
from stylefeatureeditor.weights.convert import Checkpoint
from stylefeatureeditor.weights.released import hammer_generator_state

ONE = torch.ones(1)


def test_data_parallels_part_of_a_key_is_taken_out_and_nothing_like_it():
    keys = ("encoder.module.z", "module.encoder.x", "encoder.modulation.y", "submodule.a")
    cleaned = Checkpoint(Path("file"), dict.fromkeys(keys, ONE)).tensors(None)
    assert list(cleaned) == ["encoder.z", "encoder.x", "encoder.modulation.y", "submodule.a"]


@pytest.mark.parametrize("kind", [dict, Namespace])
def test_options_may_be_a_table_or_a_namespace(kind):
    content = {"state_dict": {"encoder.x": ONE}, "opts": kind(encoder_type="BackboneEncoder")}
    with pytest.raises(WeightsError, match="no 'latent_avg'"):  # so the flavour was understood
        load_from(load_restyle, content)


@pytest.mark.parametrize("beside", [{}, {"latent_avg": torch.full((18, 4), 2.0)}])
def test_padinv_takes_the_generators_mean_unless_the_file_has_one_of_the_encoder(
    beside, monkeypatch
):
    taken = []

    def stop(generator):
        taken.append(generator["w_avg"])
        raise WeightsError("far enough")

    monkeypatch.setattr(load, "hammer_generator_state", stop)
    generator = {"w_avg": torch.ones(4)}
    models = {"encoder": {"x": ONE}, "generator_smooth": generator}
    with pytest.raises(WeightsError, match="far enough"):
        load_from(load_padinv, {"models": models, **beside})
    assert taken[0].tolist() == [2.0 if beside else 1.0] * 4


def test_filters_of_half_precision_are_compared_too():
    state = {"synthesis.filter": blur_kernel().half(), "synthesis.layer0.extra": ONE}
    with pytest.raises(WeightsError, match=r"'synthesis\.layer0\.extra'"):
        hammer_generator_state(state)


def test_a_copy_of_the_encoder_in_hyperstyles_file_is_left_out():
    state = {"w_encoder.x": ONE, "hypernet.y": ONE}
    with pytest.raises(WeightsError, match=r"nothing under 'decoder\.'"):
        load_from(load_hyperstyle, {"state_dict": state, "latent_avg": ONE}, {})
