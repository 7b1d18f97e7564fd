"""Key maps of the published discriminators."""

import pytest
import torch
from torch import nn

import nvidia_pickle
from seeded_critics import seeded_critic
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.generator.discriminator import Discriminator, DiscriminatorConfig
from stylefeatureeditor.weights.convert import read_discriminator
from stylefeatureeditor.weights.released import (
    ada_discriminator_state,
    rosinality_discriminator_state,
)


def tiny_ada(channels=(4, 8, 8)) -> dict[str, torch.Tensor]:
    """A stylegan2-ada discriminator of 16 px whose channels at 16, 8 and 4 px are given."""
    top, middle, last = channels
    state = {"b16.fromrgb.weight": torch.zeros(top, 3, 1, 1), "b16.fromrgb.bias": torch.zeros(top)}
    for side, width, narrow in ((16, top, middle), (8, middle, last)):
        state |= {
            f"b{side}.conv0.weight": torch.zeros(width, width, 3, 3),
            f"b{side}.conv0.bias": torch.zeros(width),
            f"b{side}.conv1.weight": torch.zeros(narrow, width, 3, 3),
            f"b{side}.conv1.bias": torch.zeros(narrow),
            f"b{side}.skip.weight": torch.zeros(narrow, width, 1, 1),
        }
    return state | {
        "b4.conv.weight": torch.zeros(last, last + 1, 3, 3),
        "b4.conv.bias": torch.zeros(last),
        "b4.fc.weight": torch.zeros(last, last * 16),
        "b4.fc.bias": torch.zeros(last),
        "b4.out.weight": torch.zeros(1, last),
        "b4.out.bias": torch.zeros(1),
    }


def test_sizes_are_read_off_the_tensors():
    config, state = ada_discriminator_state(tiny_ada(), clamp=256.0)
    assert config == DiscriminatorConfig(size=16, channel_base=64, channel_max=8, clamp=256.0)
    Discriminator(config).load_state_dict(state)


def test_equal_channels_everywhere_are_read_too():
    config, state = ada_discriminator_state(tiny_ada((8, 8, 8)))
    Discriminator(config).load_state_dict(state)


def test_channels_that_follow_no_rule_are_refused():
    with pytest.raises(WeightsError, match="do not follow"):
        ada_discriminator_state(tiny_ada((4, 5, 8)))


def test_both_layouts_fill_every_tensor_of_the_network():
    for name, read in (
        ("ada_64", ada_discriminator_state),
        ("rosinality_256", rosinality_discriminator_state),
    ):
        config, state = read(seeded_critic(name))
        with torch.device("meta"):
            shapes = {k: v.shape for k, v in Discriminator(config).state_dict().items()}
        assert shapes == {key: value.shape for key, value in state.items()}


def test_another_filter_is_refused():
    state = tiny_ada() | {"b16.resample_filter": torch.ones(4, 4) / 16}
    with pytest.raises(WeightsError, match=r"b16\.resample_filter"):
        ada_discriminator_state(state)


def test_a_conditional_discriminator_is_refused():
    state = tiny_ada() | {"mapping.fc0.weight": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"mapping\.fc0\.weight"):
        ada_discriminator_state(state)


@pytest.mark.parametrize("missing", ["b4.out.weight", "b8.conv1.weight", "b16.fromrgb.weight"])
def test_an_incomplete_file_is_refused(missing):
    state = tiny_ada()
    del state[missing]
    with pytest.raises(WeightsError):
        ada_discriminator_state(state)


def test_the_other_layout_is_refused():
    with pytest.raises(WeightsError):
        rosinality_discriminator_state(tiny_ada())


class TestFiles:
    def test_nvidias_pickle_brings_its_discriminator_and_its_clamp(self, tmp_path):
        pickled = nvidia_pickle.Persistent(conv_clamp=256)
        for key, value in tiny_ada().items():
            block, _, rest = key.partition(".")
            layer, _, leaf = rest.partition(".")
            inner = pickled._modules.setdefault(block, nn.Module())
            inner = inner._modules.setdefault(layer, nn.Module())
            inner.register_parameter(leaf, nn.Parameter(value))
        (tmp_path / "d.pkl").write_bytes(nvidia_pickle.dump({"D": pickled}))
        config, state = read_discriminator(tmp_path / "d.pkl")
        assert config == DiscriminatorConfig(size=16, channel_base=64, channel_max=8, clamp=256.0)
        Discriminator(config).load_state_dict(state)

    def test_stylegan2_pytorchs_checkpoint_brings_its_discriminator(self, tmp_path):
        published = seeded_critic("rosinality_256")
        torch.save({"d": published}, tmp_path / "d.pt")
        config, state = read_discriminator(tmp_path / "d.pt")
        assert config.size == 256
        assert torch.equal(state["logit.bias"], published["final_linear.1.bias"])

    @pytest.mark.parametrize("name", ["d.pt", "d.pkl"])
    def test_a_file_without_one_is_refused(self, name, tmp_path):
        if name == "d.pkl":
            generator = nvidia_pickle.Persistent()
            (tmp_path / name).write_bytes(nvidia_pickle.dump({"G_ema": generator}))
        else:
            torch.save({"g_ema": {}}, tmp_path / name)
        with pytest.raises(WeightsError, match="holds no discriminator"):
            read_discriminator(tmp_path / name)
