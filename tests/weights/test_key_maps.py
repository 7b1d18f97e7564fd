"""The engine of key maps: what its signs stand for, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.generator.layers import blur_kernel
from stylefeatureeditor.weights.key_maps import KeyMap, joined, split, under, without_prefix

ONE = torch.ones(1)
TABLE = KeyMap(
    "test",
    """
    *.kernel                  !4
    *.filter                  !
    gone.*                    -
    a.#.res_layer.#.{w|b.c}   ours.{1+1}.{2:ir}.{3}
    b.#.*                     half.{1/2+1}.{1-1}.{2}
    """,
)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("a.9.res_layer.5.w", "ours.10.excite.w"),
        ("a.0.res_layer.0.b.c", "ours.1.norm1.b.c"),
        ("b.5.x.y", "half.3.4.x.y"),
        ("gone.for.good", None),
    ],
)
def test_signs_stand_for_what_the_engine_says(theirs, ours):
    assert TABLE({theirs: ONE}) == ({} if ours is None else {ours: ONE})


@pytest.mark.parametrize(
    "key",
    ["a.1.res_layer.6.w", "a.x.res_layer.1.w", "a.1.res_layer.1.bxc", "b.1.", "c", "a.1234567.b.w"],
)
def test_a_name_that_no_line_has_is_refused(key):
    with pytest.raises(WeightsError, match="which that layout lacks"):
        TABLE({key: ONE})


def test_filters_are_looked_at_before_they_are_left_out():
    assert TABLE({"x.kernel": blur_kernel(gain=4.0), "x.filter": blur_kernel().half()}) == {}
    for name in ("x.kernel", "x.filter"):
        with pytest.raises(WeightsError, match="another resampling filter"):
            TABLE({name: blur_kernel(gain=2.0)})


def test_two_tensors_for_one_place_are_refused():
    twice = KeyMap("test", "{a|b}.w w")
    assert twice({"a.w": ONE}) == {"w": ONE}
    with pytest.raises(WeightsError, match="under another name too"):
        twice({"a.w": ONE, "b.w": ONE})


@pytest.mark.parametrize("state", [{1: ONE}, {("a",): ONE}, {"gone.x": 3}, {None: None}, [ONE], 5])
def test_what_is_no_table_of_tensors_is_refused(state):
    with pytest.raises(WeightsError, match="test: "):
        TABLE(state)


def test_tables_and_states_are_put_together_and_taken_apart():
    table = KeyMap("test", under("in.", "out.", "a.* {1}\nb.* -"))
    assert table({"in.a.x": ONE, "in.b.y": ONE}) == {"out.x": ONE}
    state = joined(one={"a": ONE}, two={"b": ONE})
    assert split(state, ("one", "two"), "test") == {"one": {"a": ONE}, "two": {"b": ONE}}
    assert without_prefix({**state, 3: ONE}, "one.") == {"a": ONE}
