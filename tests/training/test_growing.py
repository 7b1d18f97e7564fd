"""From a small G and D to ones of twice the size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from phase_training import prepared
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
from stylefeatureeditor.generator.layers import upsample_rgb
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.training.generator import GeneratorPhase, GeneratorTrainingConfig
from stylefeatureeditor.training.growing import grow_from

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
    grown = grow_from(small.state_dict(), config(16))
    z = torch.randn(3, 8)
    for name in ("generator", "average"):
        before, after = getattr(small, name), getattr(grown, name)
        expected = upsample_rgb(before.synthesize(before.map(z)), before.to_rgb[0].conv.blur_kernel)
        torch.testing.assert_close(after.synthesize(after.map(z)), expected)


def test_the_layers_of_d_keep_their_side(small):
    grown = grow_from(small.state_dict(), config(16))
    old, new = small.discriminator, grown.discriminator
    features = torch.randn(4, 8, 8, 8)
    torch.testing.assert_close(new.blocks[1](features), old.blocks[0](features))
    torch.testing.assert_close(new.conv.weight, old.conv.weight)
    torch.testing.assert_close(new.logit.weight, old.logit.weight)


def test_the_grown_phase_trains_all_its_layers(small):
    grown = grow_from(small.state_dict(), config(16))
    prepared(grown)
    for step in range(2):  # the new layer learns once its RGB has left zero
        before = {name: p.clone() for name, p in grown.generator.named_parameters()}
        grown.train_step(torch.rand(4, 3, 16, 16) * 2 - 1, step)
    for name, parameter in grown.generator.named_parameters():
        if name.startswith(("to_rgb.2.", "layers.4.conv.weight")):
            assert not torch.equal(before[name], parameter), name


def test_networks_that_differ_in_more_than_size_are_refused(small):
    with pytest.raises(ConfigError, match="only the size may differ"):
        grow_from(small.state_dict(), config(16, base=16))
    deeper = config(16)
    shallow = replace(deeper, network=replace(deeper.network, mapping_layers=1))
    with pytest.raises(ConfigError, match="missing in the larger"):
        grow_from(small.state_dict(), shallow)
