"""iresnet: the layer of Fig. 7, the trunk of Fig. 8 and the body of the Fuser and H."""

import pytest
import torch
from torch import nn

from seeded import draw
from stylefeatureeditor.backbones.iresnet import (
    FeatureMerger,
    IResNetBranch,
    IResNetConfig,
    IResNetLayer,
    IResNetTrunk,
    MergerConfig,
)
from stylefeatureeditor.errors import ConfigError
from tiny import randomize

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = IResNetConfig(stem_channels=3, channels=(4, 5, 6, 7), depths=(1, 2, 3, 1))


def norm(x, layer):
    """BatchNorm in eval mode: (x - mean) / sqrt(var + eps) * weight + bias."""
    mean, var, weight, bias = (
        tensor[:, None, None]
        for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / (var + layer.eps).sqrt() * weight + bias


def prelu(x, layer):
    return torch.where(x > 0, x, x * layer.weight[:, None, None])


@pytest.mark.parametrize("stride", [1, 2])
def test_the_branch_is_figure_7(stride):
    branch = randomize(IResNetBranch(3, 5, stride), "branch")
    x = draw("branch.x", (2, 3, 6, 6))
    hidden = nn.functional.conv2d(norm(x, branch.norm1), branch.conv1.weight, padding=1)
    hidden = prelu(norm(hidden, branch.norm2), branch.activation)
    expected = nn.functional.conv2d(hidden, branch.conv2.weight, stride=stride, padding=1)
    with torch.no_grad():
        torch.testing.assert_close(branch(x), norm(expected, branch.norm3), rtol=1e-5, atol=1e-5)


def test_a_layer_whose_sizes_stay_adds_its_branch_to_its_input():
    layer = randomize(IResNetLayer(4, 4), "layer")
    x = draw("layer.x", (2, 4, 5, 5))
    torch.testing.assert_close(layer(x), x + layer.branch(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("channels", "stride", "project"), [(4, 2, False), (5, 1, False), (4, 1, True)]
)
def test_a_layer_whose_sizes_change_projects_its_input(channels, stride, project):
    layer = randomize(IResNetLayer(4, channels, stride, project=project), "layer")
    x = draw("layer.x", (2, 4, 6, 6))
    conv, batch_norm = layer.skip
    projected = nn.functional.conv2d(x, conv.weight, stride=stride)
    assert conv.kernel_size == (1, 1)
    torch.testing.assert_close(
        layer(x), norm(projected, batch_norm) + layer.branch(x), rtol=1e-5, atol=1e-5
    )


def test_stage_three_of_the_trunk_keeps_its_side():
    """F_k is a quarter of the photo: 64 of 256."""
    outputs = randomize(IResNetTrunk(TINY), "trunk")(draw("trunk.x", (2, 3, 32, 32)))
    assert [tuple(out.shape) for out in outputs] == [
        (2, 4, 16, 16),
        (2, 5, 8, 8),
        (2, 6, 8, 8),
        (2, 7, 4, 4),
    ]


def test_the_first_layer_of_a_stage_carries_its_stride_and_projects():
    trunk = IResNetTrunk(TINY)
    assert [len(stage) for stage in trunk.stages] == [1, 2, 3, 1]
    for stage, stride in zip(trunk.stages, TINY.strides, strict=True):
        assert stage[0].branch.conv2.stride == (stride, stride)
        assert isinstance(stage[0].skip, nn.Sequential)
        assert all(isinstance(layer.skip, nn.Identity) for layer in stage[1:])
    plain = IResNetConfig(
        stem_channels=4, channels=(4, 4, 4, 4), depths=(2, 1, 1, 1), strides=(1, 1, 1, 1)
    )
    assert all(isinstance(stage[0].skip, nn.Sequential) for stage in IResNetTrunk(plain).stages)


def test_the_merger_adds_each_branch_to_the_merged_pair():
    merger = randomize(FeatureMerger(MergerConfig(channels=4, num_residual_layers=2)), "merger")
    pair = draw("merger.x", (2, 8, 3, 3))
    x = torch.einsum("oi,bihw->bohw", merger.merge.weight[..., 0, 0], pair)
    x = x + merger.merge.bias[:, None, None]
    for branch in merger.branches:
        x = x + branch(x)
    torch.testing.assert_close(merger(pair), x, rtol=1e-5, atol=1e-5)


def test_every_weight_gets_a_gradient():
    trunk = randomize(IResNetTrunk(TINY), "trunk")
    sum(out.square().mean() for out in trunk(draw("trunk.x", (2, 3, 16, 16)))).backward()
    assert all(weight.grad.abs().sum() > 0 for weight in trunk.parameters())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"channels": (4, 5, 6)}, "four entries"),
        ({"depths": (1, 1, 1, 1, 1)}, "four entries"),
        ({"strides": (2, 2, 0, 2)}, "at least 1"),
        ({"depths": (0, 1, 1, 1)}, "at least 1"),
        ({"stem_channels": 0}, "at least 1"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        IResNetConfig(**change)
