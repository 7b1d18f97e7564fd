"""Key maps of the published perceptual networks."""

import pytest
import torch

from seeded_critics import seeded_critic
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.metrics.perceptual import Lpips, MocoFeatures, ResNetConfig
from stylefeatureeditor.weights.released import (
    arcface_state,
    lpips_state,
    moco_state,
)

CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_the_published_pair_of_files_fills_the_network(net):
    released = seeded_critic(f"lpips_{net}")
    trunk = {k.replace("net.layers", "features"): v for k, v in released.items() if "layers" in k}
    lin = {f"lin{i}.model.1.weight": released[f"lin.{i}.1.weight"] for i in range(5)}
    ours = lpips_state({**trunk, "classifier.1.weight": torch.zeros(1)}, lin)
    assert ours.keys() == Lpips(net).state_dict().keys()
    for key, value in ours.items():
        if key.startswith("trunk."):
            assert value is released[key.replace("trunk", "net.layers")]
        else:
            assert torch.equal(value, released[f"lin.{key[-1]}.1.weight"][0, :, 0, 0])


def test_a_moco_checkpoint_gives_the_same_state_as_the_sequence():
    sequence = seeded_critic("moco")
    checkpoint = {
        "module.encoder_q.fc.0.weight": torch.zeros(1),
        "module.encoder_k.conv1.weight": torch.zeros(1),
        "module.queue": torch.zeros(1),
    }
    for key, value in sequence.items():
        child, rest = key.split(".", 1)
        checkpoint[f"module.encoder_q.{CHILDREN[child]}.{rest}"] = value
    ours, expected = moco_state(checkpoint), moco_state(sequence)
    with torch.device("meta"):
        assert ours.keys() == expected.keys() == MocoFeatures(ResNetConfig()).state_dict().keys()
    assert all(torch.equal(ours[key], expected[key]) for key in ours)


@pytest.mark.parametrize("read", [arcface_state, moco_state])
def test_another_layout_is_refused(read):
    with pytest.raises(WeightsError, match=r"'backbone\.0\.weight'"):
        read({"backbone.0.weight": torch.zeros(1)})


def test_swapped_files_are_refused():
    with pytest.raises(WeightsError):
        lpips_state({"lin0.model.1.weight": torch.zeros(1)}, {})
