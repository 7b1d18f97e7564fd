"""From a trained G and D to ones of their size, and to ones of twice the size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import nvidia_pickle
from phase_training import prepared
from stylefeatureeditor.errors import ConfigError, SfeError
from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
from stylefeatureeditor.generator.layers import upsample_rgb
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.training.generator import (
    GeneratorPhase,
    GeneratorTrainingConfig,
    begin_from,
    read_networks,
)
from stylefeatureeditor.training.run_folder import save_discriminator
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
    with pytest.raises(ConfigError, match="missing in this one"):
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
    read, sizes = read_networks(tmp_path / "g.safetensors")
    assert sizes == {}
    grown = begin_from(read, config(16))
    assert torch.equal(grown.average.constant, state["average"]["constant"].half().float())
    save_tensors(tmp_path / "i.safetensors", {"x": torch.ones(1)}, {})
    with pytest.raises(SfeError, match=r"config.json|generator"):
        read_networks(tmp_path / "i.safetensors")


def test_a_model_folder_brings_the_discriminator_beside_its_generator(small, tmp_path):
    small.save_model(tmp_path)
    state, sizes = read_networks(tmp_path)
    assert (sizes, state.keys()) == ({"network": small.config.network}, {"average"})
    alone = begin_from(state, config(8))
    assert torch.equal(alone.generator.constant, small.average.constant)
    save_discriminator(small.discriminator, tmp_path)
    state, sizes = read_networks(tmp_path / "generator.safetensors")
    assert sizes["discriminator"] == small.config.discriminator
    torch.testing.assert_close(dict(state["discriminator"]), small.discriminator.state_dict())


def test_published_networks_start_a_run_with_their_sizes(small, tmp_path, caplog):
    """Of stylegan2-pytorch, whose names the layouts of the release give; without D, a new one."""
    network = nvidia_pickle_of(small)
    (tmp_path / "n.pkl").write_bytes(nvidia_pickle.dump(network))
    state, sizes = read_networks(tmp_path / "n.pkl")
    assert sizes["network"] == replace(small.config.network, channel_base=64)
    assert "a new discriminator is trained" in caplog.text
    started = begin_from(state, replace(small.config, **sizes))
    z = torch.randn(2, 8)
    torch.testing.assert_close(
        started.average.synthesize(started.average.map(z)),
        small.average.synthesize(small.average.map(z)),
    )


def nvidia_pickle_of(phase):
    """The averaged G under NVIDIA's names."""
    state = phase.average.state_dict()
    names = {"layers.0": "b4.conv1", "layers.1": "b8.conv0", "layers.2": "b8.conv1"}
    names |= {"to_rgb.0": "b4.torgb", "to_rgb.1": "b8.torgb"}
    theirs = {"mapping.w_avg": state["latent_avg"], "synthesis.b4.const": state["constant"][0]}
    for key, tensor in state.items():
        at, _, leaf = key.rpartition(".")
        if at.startswith("mapping."):
            theirs[f"mapping.fc{int(at[8:]) - 1}.{leaf}"] = tensor
        for ours, name in names.items():
            if key.startswith(f"{ours}."):
                leaf = key[len(ours) + 1 :].removeprefix("conv.")
                leaf = "noise_const" if leaf == "noise" else leaf
                theirs[f"synthesis.{name}.{leaf}"] = tensor[0, 0] if "const" in leaf else tensor
    return {"G_ema": module_of(theirs)}


def module_of(tensors):
    whole = Whole()
    for key, tensor in tensors.items():
        *modules, leaf = key.split(".")
        inner = whole
        for name in modules:
            if name not in dict(inner.named_children()):
                inner.add_module(name, Whole())
            inner = getattr(inner, name)
        inner.register_buffer(leaf, tensor)
    return whole


class Whole(nvidia_pickle.Persistent):
    pass


def test_frozen_blocks_of_d_stay_and_the_others_learn():
    phase = GeneratorPhase(replace(config(16), freeze_d=1))
    prepared(phase)
    before = {name: p.clone() for name, p in phase.discriminator.named_parameters()}
    for step in range(2):
        phase.train_step(torch.rand(4, 3, 16, 16) * 2 - 1, step)
    for name, parameter in phase.discriminator.named_parameters():
        stays = name.startswith(("from_rgb.", "blocks.0."))
        assert torch.equal(before[name], parameter) == stays, name
    with pytest.raises(ConfigError, match="D has 1 blocks that could stay"):
        replace(config(8), freeze_d=2)
