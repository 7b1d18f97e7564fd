"""From a trained G and D to ones of their size, and to ones of twice the size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from phase_training import prepared
from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
from stylefeatureeditor.generator.layers import upsample_rgb
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.training.generator import (
    GeneratorPhase,
    GeneratorTrainingConfig,
    begin_from,
    read_networks,
)
from stylefeatureeditor.weights.storage import save_tensors

pytest.importorskip("accelerate")


def config(size: int, base: int = 64) -> GeneratorTrainingConfig:
    return GeneratorTrainingConfig(
        network=GeneratorConfig(
            size=size, style_dim=8, mapping_layers=2, channel_base=base, channel_max=8
        ),
        discriminator=DiscriminatorConfig(size=size, channel_base=base, channel_max=8),
        path_weight=0.0,
    )


@pytest.fixture
def small() -> GeneratorPhase:
    phase = GeneratorPhase(config(8))
    prepared(phase)
    for step in range(2):
        phase.train_step(torch.rand(4, 3, 8, 8) * 2 - 1, step)
    return phase


def test_the_first_images_are_the_small_ones_upsampled(small):
    grown = begin_from(small.state_dict(), config(16))
    z = torch.randn(3, 8)
    for name in ("generator", "average"):
        before, after = getattr(small, name), getattr(grown, name)
        expected = upsample_rgb(before.synthesize(before.map(z)), before.to_rgb[0].conv.blur_kernel)
        torch.testing.assert_close(after.synthesize(after.map(z)), expected)


def test_the_layers_of_d_keep_their_side(small):
    grown = begin_from(small.state_dict(), config(16))
    old, new = small.discriminator, grown.discriminator
    features = torch.randn(4, 8, 8, 8)
    torch.testing.assert_close(new.blocks[1](features), old.blocks[0](features))
    torch.testing.assert_close(new.conv.weight, old.conv.weight)
    torch.testing.assert_close(new.logit.weight, old.logit.weight)


def test_the_grown_phase_trains_all_its_layers(small):
    grown = begin_from(small.state_dict(), config(16))
    prepared(grown)
    for step in range(2):  # the new layer learns once its RGB has left zero
        before = {name: p.clone() for name, p in grown.generator.named_parameters()}
        grown.train_step(torch.rand(4, 3, 16, 16) * 2 - 1, step)
    for name, parameter in grown.generator.named_parameters():
        if name.startswith(("to_rgb.2.", "layers.4.conv.weight")):
            assert not torch.equal(before[name], parameter), name


def test_networks_that_differ_in_more_than_size_are_refused(small):
    with pytest.raises(ConfigError, match="only the size may differ"):
        begin_from(small.state_dict(), config(16, base=16))
    deeper = config(16)
    shallow = replace(deeper, network=replace(deeper.network, mapping_layers=1))
    with pytest.raises(ConfigError, match="missing in the larger"):
        begin_from(small.state_dict(), shallow)


def test_networks_of_its_size_are_taken_as_they_are(small):
    state = small.state_dict()
    kept = {name: state[name] for name in ("average", "discriminator")}
    same = begin_from(kept, config(8))
    for name, source in (("generator", "average"), ("average", "average")):
        for key, tensor in getattr(same, name).state_dict().items():
            assert torch.equal(tensor, state[source][key]), key
    for key, tensor in same.discriminator.state_dict().items():
        assert torch.equal(tensor, state["discriminator"][key]), key


def test_networks_double_once_at_a_time(small):
    with pytest.raises(ConfigError, match="twice its size at a time, not to 32 px"):
        begin_from(small.state_dict(), config(32))


def test_a_compact_file_holds_both_networks(small, tmp_path):
    state = small.state_dict()
    tensors = {
        f"{name}.{key}": tensor
        for name in ("average", "discriminator")
        for key, tensor in state[name].items()
    }
    save_tensors(tmp_path / "g.safetensors", tensors, {}, torch.float16)
    read = read_networks(tmp_path / "g.safetensors")
    grown = begin_from(read, config(16))
    assert torch.equal(grown.average.constant, state["average"]["constant"].half().float())
    save_tensors(tmp_path / "h.safetensors", {"average.x": torch.ones(1)}, {})
    with pytest.raises(WeightsError, match="both average"):
        read_networks(tmp_path / "h.safetensors")
    save_tensors(tmp_path / "i.safetensors", {"x": torch.ones(1)}, {})
    with pytest.raises(WeightsError, match=r"should hold average\.\* .*, got x"):
        read_networks(tmp_path / "i.safetensors")
