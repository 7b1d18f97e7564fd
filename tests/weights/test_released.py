"""Key maps of published layouts."""

from __future__ import annotations

import pytest
import torch

from released import assert_image, golden, layouts, nvidia_value, seeded_layout
from seeded import fixed_w, latent_avg, seeded_input
from stylefeatureeditor.backbones.ir_se50 import IRConfig, IRTrunk
from stylefeatureeditor.backbones.iresnet import IResNetConfig, IResNetTrunk
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.generator.layers import blur_kernel
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.records import Codes
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.released import (
    generator_state,
    ir_trunk_state,
    iresnet_trunk_state,
    nvidia_generator_state,
)


def loaded(config, state):
    with torch.device("meta"):
        generator = Generator(config).eval()
    assign_state(generator, state, "test")
    return generator


@pytest.fixture(scope="module")
def state_256():
    return seeded_layout("generator_256", "decoder.")


def test_rosinality_256_draws_the_released_image(state_256):
    config, state = generator_state(state_256, latent_avg())
    assert config == GeneratorConfig(size=256)
    generator = loaded(config, state)
    codes = Codes(fixed_w("generator256.w", 2, config.num_styles))
    assert_image(generator.synthesize(codes), golden("generator"), "size256")
    truncated = generator.map(seeded_input("generator.z", (2, 512)), truncation=0.7)
    case = "size256_z_truncation0.7"
    assert_image(generator.synthesize(truncated), golden("generator"), case)


def test_rosinality_512_draws_the_released_image():
    config, state = generator_state(seeded_layout("generator_512", "decoder."), latent_avg())
    codes = Codes(fixed_w("generator512.w", 1, config.num_styles))
    assert_image(loaded(config, state).synthesize(codes), golden("generator"), "size512")


def test_nvidia_1024_draws_the_released_image():
    state = {
        key: blur_kernel()
        if key.endswith("resample_filter")
        else nvidia_value(key, shape, "hyperinverter.decoder.")
        for key, shape in layouts()["nvidia"]
    }
    config, ours = nvidia_generator_state(state)
    assert config == GeneratorConfig()
    codes = Codes(torch.from_numpy(golden("nvidia")["w"]).expand(1, config.num_styles, 512))
    assert_image(loaded(config, ours).synthesize(codes), golden("nvidia"), "w_image")


def test_a_missing_noise_buffer_is_an_error(state_256):
    short = {key: value for key, value in state_256.items() if key != "noises.noise_3"}
    with pytest.raises(WeightsError, match="noise_3 is missing"):
        generator_state(short, latent_avg())


def test_an_unknown_key_is_an_error(state_256):
    with pytest.raises(WeightsError, match=r"'convs\.2\.conv\.extra'|unknown tensor"):
        generator_state({**state_256, "convs.2.conv.extra": torch.zeros(1)}, latent_avg())


def test_another_resampling_filter_is_an_error(state_256):
    other = {**state_256, "convs.0.conv.blur.kernel": torch.ones(4, 4)}
    with pytest.raises(WeightsError, match="resampling filter"):
        generator_state(other, latent_avg())


def test_a_mean_latent_per_style_is_accepted(state_256):
    _, state = generator_state(state_256, latent_avg().repeat(14, 1))
    assert torch.equal(state["latent_avg"], latent_avg())


def test_arcface_files_fill_the_trunks():
    ours = iresnet_trunk_state(seeded_layout("arcface_iresnet50", "arcface_r50."))
    trunk = IResNetTrunk(IResNetConfig(strides=(2, 2, 2, 2)))
    assert ours.keys() == trunk.state_dict().keys()
    ours = ir_trunk_state(seeded_layout("ir_se50", "id_loss.facenet."))
    trunk = IRTrunk(IRConfig())
    assert ours.keys() == trunk.state_dict().keys()
