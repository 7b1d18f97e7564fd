"""What is saved comes back as it was: tensors, states, configs, settings, inversions."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seeded import draw
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training import presets
from stylefeatureeditor.training.checkpoints import load_checkpoint, save_checkpoint
from stylefeatureeditor.weights.checkpoint import load_config as load_model_config
from stylefeatureeditor.weights.configs import (
    changed,
    from_plain,
    read_mapping,
    to_plain,
    write_config,
)
from stylefeatureeditor.weights.inversion_file import load_inversion, save_inversion
from stylefeatureeditor.weights.storage import load_tensors, save_tensors
from tiny import tiny_config, tiny_editor, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8,
         torch.bool)  # fmt: skip

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
keys = st.text(min_size=1, max_size=12).filter(
    lambda key: key != "__metadata__" and key.isprintable()
)


@st.composite
def tensors(draws):
    kind, shape = draws(st.sampled_from(KINDS)), draws(shapes)
    values = (draw(f"{draws(st.integers(0, 99))}", shape) * 3).to(kind)
    return values.transpose(0, -1) if draws(st.booleans()) and len(shape) > 1 else values


plain_values = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats()
states = st.dictionaries(
    keys | st.integers(0, 9),
    st.recursive(
        plain_values | tensors(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(keys | st.integers(0, 9), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def same(one, other):
    """Equal to the bit and to the type; NaN is NaN."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


@given(content=st.dictionaries(keys, tensors(), min_size=1, max_size=4),
       header=st.dictionaries(keys, st.text(max_size=8), max_size=2))  # fmt: skip
def test_tensors_and_header_come_back(content, header):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        save_tensors(path, content, header)
        found, said = load_tensors(path)
        assert said == header
        assert found.keys() == content.keys()
        assert all(same(found[name], content[name]) for name in content)


@given(state=states, step=st.integers(0, 10**9))
def test_the_state_of_a_run_comes_back(state, step):
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), step, state, lambda _: None, keep=1)
        found = load_checkpoint(Path(folder))
        assert found is not None
        assert found[0] == step
        assert same(found[1], state)


sizes = st.sampled_from([8, 16, 32, 64])


@given(
    cars=st.booleans(),
    name=st.text(max_size=9),
    clamp=st.none() | st.floats(0.5, 1000),
    scale=st.floats(0.01, 100),
    shift=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
    blend=st.sampled_from(["feather", "residual", "poisson", "none"]),
)
def test_the_config_of_a_model_comes_back(cars, name, clamp, scale, shift, blend):
    import json

    from stylefeatureeditor.model import Framing

    config = tiny_config(cars=cars)
    config = replace(
        config,
        name=name,
        blend=blend,
        framing=Framing(scale=scale, shift=shift),
        generator=replace(config.generator, clamp=clamp),
    )
    content = json.loads(json.dumps({"format": 1, "model": to_plain(config)}))
    assert from_plain(type(config), content["model"]) == config
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(content))
        assert load_model_config(Path(folder)) == config


words = st.text(max_size=8).filter(lambda text: text.lower() != "none")


@given(
    suffix=st.sampled_from([".toml", ".json"]),
    source=st.lists(words, max_size=3).map(tuple),
    where=st.dictionaries(st.text(min_size=1, max_size=6), words, max_size=2),
    memory=st.floats(0, 1e300),
    seed=st.integers(-(2**40), 2**40),
    mirror=st.booleans(),
)
@settings(max_examples=15)
def test_the_settings_of_a_run_come_back(suffix, source, where, memory, seed, mirror):
    run = presets.inverter_run("paper")
    data = replace(run.data, source=source, where=where, memory_gib=memory, mirror=mirror)
    run = replace(run, data=data, loop=replace(run.loop, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"config{suffix}"
        write_config(run, path)
        assert changed(presets.inverter_run("paper"), read_mapping(path)) == run


@pytest.fixture(scope="module")
def inversion():
    return tiny_editor().invert(tiny_photos(2))


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 2), name=st.text(max_size=9))
def test_an_inversion_comes_back(seed, rows, name, inversion):
    kept = replace(
        inversion,
        codes=Codes(draw(f"{seed}", inversion.codes.wplus[:rows].shape)),
        features=inversion.features[:rows],
        rgb=inversion.rgb[:rows],
        encoder_pixels=inversion.encoder_pixels[:rows],
        pixels=inversion.pixels[:rows],
        model=name,
    )
    with tempfile.TemporaryDirectory() as folder:
        found = load_inversion(save_inversion(kept, Path(folder) / "a"))
    assert found.model == name
    for part in ("features", "rgb", "encoder_pixels", "pixels"):
        assert torch.equal(getattr(found, part), getattr(kept, part))
    assert torch.equal(found.codes.wplus, kept.codes.wplus)
