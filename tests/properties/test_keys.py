"""Maps of published keys onto ours: one to one, onto, and blind to the order of keys."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fuzz.seeds import nvidia_name, rosinality_state
from released import layouts
from stylefeatureeditor.backbones.ir_se50 import IRConfig, IRTrunk
from stylefeatureeditor.backbones.iresnet import IResNetConfig, IResNetTrunk
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.model import Model, ModelConfig
from stylefeatureeditor.weights.key_maps import without_prefix
from stylefeatureeditor.weights.released import (
    e4e_state,
    feature_editor_state,
    generator_state,
    inverter_state,
    ir_trunk_state,
    iresnet_trunk_state,
    nvidia_generator_state,
)

pytestmark = pytest.mark.usefixtures("one_thread")
MAPS = {  # layout: its file, prefix, map, what is dropped, our network
    "inverter": ("sfe", "inverter.", inverter_state, "$", lambda: _model().inverter),
    "editor": ("sfe", "encoder.", feature_editor_state, "$", lambda: _model().feature_editor),
    "e4e": ("sfe", "e4e_encoder.", e4e_state, "$", lambda: _model().e4e),
    "ir_se50": ("ir_se50", "", ir_trunk_state, "output_layer.", lambda: _ir_se50()),
    "iresnet50": (
        "arcface_iresnet50",
        "",
        iresnet_trunk_state,
        ("bn2.", "fc.", "features."),
        lambda: _iresnet50(),
    ),
}


@cache
def _model():
    with torch.device("meta"):
        return Model(ModelConfig())


@cache
def _ir_se50():
    with torch.device("meta"):
        return IRTrunk(IRConfig())


@cache
def _iresnet50():
    with torch.device("meta"):
        return IResNetTrunk(IResNetConfig())


@cache
def numbered(name):
    """The layout with a number for each tensor, which says where it came from."""
    file, prefix, _, dropped, _ = MAPS[name]
    keys = without_prefix(dict(layouts()[file]), prefix)
    counted = ((key, torch.tensor(number)) for number, key in enumerate(keys))
    return {key: number for key, number in counted if not key.startswith(dropped)}


@pytest.mark.parametrize("name", MAPS)
def test_every_published_tensor_goes_to_one_place_and_every_place_gets_one(name):
    _, _, rename, _, network = MAPS[name]
    theirs = numbered(name)
    ours = rename(theirs)
    assert sorted(map(int, ours.values())) == sorted(map(int, theirs.values()))
    assert ours.keys() == network().state_dict().keys()


@pytest.mark.parametrize("name", MAPS)
@given(random=st.randoms(use_true_random=False))
def test_where_a_tensor_goes_depends_on_its_own_key_alone(name, random):
    rename, theirs = MAPS[name][2], numbered(name)
    some = random.sample(sorted(theirs), random.randint(1, min(60, len(theirs))))
    whole = rename(theirs)
    for key, number in rename({key: theirs[key] for key in some}).items():
        assert whole[key] == number


@pytest.mark.parametrize("name", MAPS)
@given(random=st.randoms(use_true_random=False), change=st.text(min_size=1, max_size=3))
def test_a_key_that_the_layout_lacks_is_refused(name, random, change):
    rename, theirs = MAPS[name][2], numbered(name)
    key = random.choice(sorted(theirs))
    at = random.randrange(len(key) + 1)
    strange = key[:at] + "?" + change + key[at:]
    try:
        ours = rename({strange: torch.tensor(1)})
    except WeightsError:
        return
    # layers are numbered and leaves named freely: then it is a place that no network has
    assert not ours.keys() & MAPS[name][4]().state_dict().keys()


generators = st.builds(
    lambda size, width, mapping, base, most: GeneratorConfig(
        size=size, style_dim=width, mapping_layers=mapping, channel_base=base * size,
        channel_max=most,
    ),
    st.sampled_from([8, 16, 32, 64]), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4),
    st.integers(1, 12),
)  # fmt: skip


@given(config=generators, random=st.randoms(use_true_random=False))
def test_a_generator_goes_to_rosinalitys_layout_and_back(config, random):
    state = Generator(config).state_dict()
    content = rosinality_state(state)
    theirs = dict(random.sample(sorted(content["g_ema"].items()), len(content["g_ema"])))
    assert len(theirs) == len(state) - 1  # the mean lies beside it
    found, ours = generator_state(theirs, content["latent_avg"])
    assert ours.keys() == state.keys()
    assert all(torch.equal(ours[key], state[key]) for key in state)
    assert _same_shapes(found, config)


@given(config=generators, random=st.randoms(use_true_random=False))
def test_a_generator_goes_to_nvidias_layout_and_back(config, random):
    state = Generator(config).state_dict()
    theirs = {}
    for key, value in state.items():
        name = nvidia_name(key)
        small = value[0, 0] if name.endswith("noise_const") else value
        theirs[name] = value[0] if name.endswith("b4.const") else small
    assert len(theirs) == len(state)
    shuffled = dict(random.sample(sorted(theirs.items()), len(theirs)))
    found, ours = nvidia_generator_state(shuffled, clamp=config.clamp)
    assert ours.keys() == state.keys()
    assert all(torch.equal(ours[key], state[key]) for key in state)
    assert _same_shapes(found, config)


def _same_shapes(found, config):
    """Configs may name the widths in several ways; what counts is the layers."""
    pairs = [(found.layer_shape(i), config.layer_shape(i)) for i in range(config.num_layers + 1)]
    return found.num_layers == config.num_layers and all(one == other for one, other in pairs)
