"""IR-SE: the trunk of e4e and of the identity networks."""

import pytest
import torch
from torch import nn

from seeded import draw
from stylefeatureeditor.backbones.ir_se50 import IRBlock, IRConfig, IRTrunk, SqueezeExcitation
from stylefeatureeditor.errors import ConfigError
from tiny import randomize

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = IRConfig(channels=(4, 6, 8, 10), depths=(1, 2, 1, 2), squeeze=2)


def test_squeeze_and_excitation_scales_each_channel_by_one_number():
    layer = randomize(SqueezeExcitation(6, 2), "se")
    x = draw("se.x", (3, 6, 4, 5))
    mean = x.mean(dim=(2, 3))
    hidden = (mean @ layer.fc1.weight[..., 0, 0].t()).clamp(min=0)
    scale = torch.sigmoid(hidden @ layer.fc2.weight[..., 0, 0].t())
    torch.testing.assert_close(layer(x), x * scale[:, :, None, None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [4, 6])
@pytest.mark.parametrize("squeeze", [2, None])
def test_a_block_is_its_branch_on_a_shortcut(channels, stride, squeeze):
    block = randomize(IRBlock(4, channels, stride, squeeze), "block")
    x = draw("block.x", (2, 4, 8, 8))
    hidden = block.activation(block.conv1(block.norm1(x)))
    branch = block.norm2(nn.functional.conv2d(hidden, block.conv2.weight, stride=stride, padding=1))
    if squeeze is not None:
        branch = block.excite(branch)
    if channels == 4:
        shortcut = x[..., ::stride, ::stride]
    else:
        conv, norm = block.shortcut
        shortcut = norm(nn.functional.conv2d(x, conv.weight, stride=stride))
    torch.testing.assert_close(block(x), shortcut + branch, rtol=1e-5, atol=1e-5)


def test_each_stage_halves_the_side_and_its_last_block_is_put_out():
    trunk = randomize(IRTrunk(TINY), "ir")
    seen = []
    for block in trunk.blocks:
        block.register_forward_hook(lambda _block, _inputs, out: seen.append(out))
    outputs = trunk(draw("ir.x", (2, 3, 32, 32)))
    assert [tuple(out.shape) for out in outputs] == [
        (2, 4, 16, 16),
        (2, 6, 8, 8),
        (2, 8, 4, 4),
        (2, 10, 2, 2),
    ]
    for out, end in zip(outputs, (0, 2, 3, 5), strict=True):
        assert out is seen[end]


def test_without_squeeze_there_is_no_excitation():
    trunk = IRTrunk(IRConfig(channels=(4, 6, 8, 10), depths=(1, 1, 1, 1), squeeze=None))
    assert not [key for key in trunk.state_dict() if "excite" in key]


def test_every_weight_gets_a_gradient():
    trunk = randomize(IRTrunk(TINY), "ir")
    sum(out.square().mean() for out in trunk(draw("ir.x", (2, 3, 32, 32)))).backward()
    assert all(weight.grad.abs().sum() > 0 for weight in trunk.parameters())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"channels": (4, 6, 8)}, "four entries"),
        ({"depths": (3, 4, 14)}, "four entries"),
        ({"channels": (8, 8, 8, 8)}, "squeeze 16 leaves no channel of 8"),
        ({"squeeze": 0}, "at least 1"),
        ({"depths": (3, 4, 0, 3)}, "at least 1"),
        ({"channels": (64, 64, -1, 64), "squeeze": None}, "at least 1"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        IRConfig(**change)
