"""Directions from foreign files."""

import math

import numpy as np
import pytest
import torch

from seeded import seeded_input
from stylefeatureeditor.editing.direction import LinearDirection, PcaDirection, StyleSpaceDirection
from stylefeatureeditor.editing.import_file import direction_from_tensor, entry_for
from stylefeatureeditor.errors import DirectionError
from stylefeatureeditor.records import StyleLayout

N, D = 6, 8
VECTOR = seeded_input("import.vector", (N, D))
GANSPACE = {
    "comp": seeded_input("import.comp", (5, 1, D)),
    "mean": seeded_input("import.mean", (1, D)),
    "std": torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0]),
}


def imported(content, **options):
    return direction_from_tensor(content, "own", num_styles=N, style_dim=D, **options)


@pytest.mark.parametrize(
    ("content", "vector"),
    [
        (VECTOR[0], VECTOR[0]),
        (VECTOR[:1], VECTOR[0]),
        (VECTOR, VECTOR),
        (VECTOR[None], VECTOR),
        (VECTOR.reshape(1, -1), VECTOR),
        (VECTOR.flatten(), VECTOR),
        (VECTOR.numpy(), VECTOR),
        (VECTOR.double().numpy(), VECTOR),
        ({"any name": VECTOR[0]}, VECTOR[0]),
    ],
)
def test_every_common_shape_becomes_a_linear_direction(content, vector):
    direction = imported(content, scale=0.5, layers=(1, 4))
    assert isinstance(direction, LinearDirection)
    assert torch.equal(direction.vector, vector)
    assert direction.scale == 0.5
    assert direction.layers == (1, 4)


def test_a_ganspace_table_gives_the_component_asked_for():
    direction = imported(GANSPACE, component=3, layers=(0, 2))
    assert isinstance(direction, PcaDirection)
    assert torch.equal(direction.component, GANSPACE["comp"][3, 0])
    assert torch.equal(direction.mean, GANSPACE["mean"][0])
    assert direction.std == 2.0
    assert direction.layers == (0, 2)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (torch.zeros(5), {}, r"expected shape \(8,\), \(1, 8\), \(6, 8\) or \(1, 48\).*got \(5,\)"),
        (torch.zeros(2, D), {}, r"got \(2, 8\)"),
        (torch.zeros(D, N), {}, r"got \(8, 6\)"),
        (torch.zeros(D), {}, "zero everywhere"),
        (torch.full((D,), math.inf), {}, "not finite"),
        (np.array([object()] * D), {}, "expected a tensor or array of numbers, got ndarray"),
        (7, {}, "numbers, got int"),
        ({"a": VECTOR, "b": VECTOR}, {}, "a table with 2 entries"),
        ({}, {}, "a table with 0 entries"),
        (GANSPACE, {}, "holds 5 components: say which one, 0 to 4"),
        (GANSPACE, {"component": 5}, "0 to 4, not 5"),
        (GANSPACE, {"component": -1}, "0 to 4, not -1"),
        (GANSPACE | {"mean": torch.zeros(3)}, {"component": 0}, "mean of width 8"),
    ],
)
def test_content_that_is_no_direction_is_refused_in_one_sentence(content, options, message):
    with pytest.raises(DirectionError, match=message):
        imported(content, **options)


def test_an_entry_carries_what_the_direction_needs():
    entry = entry_for(imported(VECTOR[0], scale=0.5, layers=(1, 4)), (-3, 3), help_text="Own.")
    assert entry.to_row() == {
        "name": "own",
        "kind": "linear",
        "useful_range": [-3, 3],
        "label": "Own",
        "help": "Own.",
        "scale": 0.5,
        "layers": [1, 4],
    }
    assert torch.equal(entry.tensors["vector"], VECTOR[0])


def test_only_directions_that_a_table_can_hold_become_entries():
    layout = StyleLayout(conv=(4, 4, 4), rgb=(4, 4))
    channel = StyleSpaceDirection.of_channels("channel", ((0, 1),), layout)
    with pytest.raises(DirectionError, match="only linear and PCA directions can be stored"):
        entry_for(channel, (-1, 1))
