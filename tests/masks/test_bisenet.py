"""BiSeNet: the published layout of its weights, and the arithmetic behind each name."""

from math import prod

import pytest
import torch
from torch.nn import functional as f

from stylefeatureeditor.errors import ShapeError
from stylefeatureeditor.masks.bisenet import BiSeNet, BiSeNetConfig, bisenet_state
from stylefeatureeditor.weights.checkpoint import assign_state

TINY = BiSeNetConfig(num_classes=5, width=4, context_channels=6, fused_channels=8)
AUXILIARY = 64  # channels of the two heads that only training looks at


def published_layout(config: BiSeNetConfig) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of `79999_iter.pth`, scaled to `config`."""
    layout: dict[str, tuple[int, ...]] = {}

    def conv(key, out, into, side):
        layout[f"{key}.weight"] = (out, into, side, side)

    def norm(key, channels):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            layout[f"{key}.{leaf}"] = (channels,)
        layout[f"{key}.num_batches_tracked"] = ()

    def conv_bn(key, out, into, side):
        conv(f"{key}.conv", out, into, side)
        norm(f"{key}.bn", out)

    w, c, fused = config.width, config.context_channels, config.fused_channels
    conv("cp.resnet.conv1", w, 3, 7)
    norm("cp.resnet.bn1", w)
    for stage, (into, out) in enumerate([(w, w), (w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w)], 1):
        for block in (0, 1):
            key = f"cp.resnet.layer{stage}.{block}"
            conv(f"{key}.conv1", out, into if block == 0 else out, 3)
            norm(f"{key}.bn1", out)
            conv(f"{key}.conv2", out, out, 3)
            norm(f"{key}.bn2", out)
        if stage > 1:
            conv(f"cp.resnet.layer{stage}.0.downsample.0", out, into, 1)
            norm(f"cp.resnet.layer{stage}.0.downsample.1", out)
    for key, into in (("cp.arm16", 4 * w), ("cp.arm32", 8 * w)):
        conv_bn(f"{key}.conv", c, into, 3)
        conv(f"{key}.conv_atten", c, c, 1)
        norm(f"{key}.bn_atten", c)
    conv_bn("cp.conv_head32", c, c, 3)
    conv_bn("cp.conv_head16", c, c, 3)
    conv_bn("cp.conv_avg", c, 8 * w, 1)
    conv_bn("ffm.convblk", fused, 2 * w + c, 1)
    conv("ffm.conv1", fused // 4, fused, 1)
    conv("ffm.conv2", fused, fused // 4, 1)
    for key, into, mid in (
        ("conv_out", fused, fused),
        ("conv_out16", c, AUXILIARY),
        ("conv_out32", c, AUXILIARY),
    ):
        conv_bn(f"{key}.conv", mid, into, 3)
        conv(f"{key}.conv_out", config.num_classes, mid, 1)
    return layout


def random_state(layout, seed=0):
    random = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in layout.items():
        if not shape:
            state[key] = torch.tensor(7)
        elif key.endswith("running_var") or (key.endswith("weight") and len(shape) == 1):
            state[key] = torch.rand(shape, generator=random) + 0.5
        else:
            scale = 1.4 / max(1, prod(shape[1:])) ** 0.5
            state[key] = torch.randn(shape, generator=random) * scale
    return state


class Published:
    """The published graph, written over the published keys."""

    def __init__(self, state):
        self.state = state

    def conv(self, key, x, stride=1):
        weight = self.state[f"{key}.weight"]
        return f.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def bn(self, key, x):
        leaves = ("running_mean", "running_var", "weight", "bias")
        return f.batch_norm(x, *(self.state[f"{key}.{leaf}"] for leaf in leaves))

    def conv_bn(self, key, x):
        return f.relu(self.bn(f"{key}.bn", self.conv(f"{key}.conv", x)))

    def block(self, key, x, stride):
        y = f.relu(self.bn(f"{key}.bn1", self.conv(f"{key}.conv1", x, stride)))
        y = self.bn(f"{key}.bn2", self.conv(f"{key}.conv2", y))
        if f"{key}.downsample.0.weight" in self.state:
            x = self.bn(f"{key}.downsample.1", self.conv(f"{key}.downsample.0", x, stride))
        return f.relu(x + y)

    def arm(self, key, x):
        x = self.conv_bn(f"{key}.conv", x)
        gate = self.conv(f"{key}.conv_atten", f.adaptive_avg_pool2d(x, 1))
        return x * torch.sigmoid(self.bn(f"{key}.bn_atten", gate))

    def trunk(self, pixels):
        mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        x = self.conv("cp.resnet.conv1", (pixels * 0.5 + 0.5 - mean) / std, 2)
        x = f.max_pool2d(f.relu(self.bn("cp.resnet.bn1", x)), 3, 2, 1)
        features = []
        for stage in (1, 2, 3, 4):
            x = self.block(f"cp.resnet.layer{stage}.0", x, 1 if stage == 1 else 2)
            x = self.block(f"cp.resnet.layer{stage}.1", x, 1)
            features.append(x)
        return features[1:]

    def head(self, key, x, size):
        x = self.conv(f"{key}.conv_out", self.conv_bn(f"{key}.conv", x))
        return f.interpolate(x, size, mode="bilinear", align_corners=True)

    def logits(self, pixels):
        feat8, feat16, feat32 = self.trunk(pixels)
        average = self.conv_bn("cp.conv_avg", f.adaptive_avg_pool2d(feat32, 1))
        up32 = self.arm("cp.arm32", feat32) + average.expand(-1, -1, *feat32.shape[2:])
        up32 = self.conv_bn("cp.conv_head32", f.interpolate(up32, feat16.shape[2:]))
        up16 = f.interpolate(self.arm("cp.arm16", feat16) + up32, feat8.shape[2:])
        up16 = self.conv_bn("cp.conv_head16", up16)
        fused = self.conv_bn("ffm.convblk", torch.cat([feat8, up16], dim=1))
        gate = f.relu(self.conv("ffm.conv1", f.adaptive_avg_pool2d(fused, 1)))
        fused = fused * torch.sigmoid(self.conv("ffm.conv2", gate)) + fused
        size = pixels.shape[2:]
        return self.head("conv_out", fused, size)


@pytest.fixture(scope="module")
def loaded():
    state = random_state(published_layout(TINY))
    network = BiSeNet(TINY)
    assign_state(network, bisenet_state(state), "test")
    return network.eval(), state


def test_the_full_network_has_the_published_keys_and_shapes_without_the_heads_of_training():
    with torch.device("meta"):
        network = BiSeNet(BiSeNetConfig())
    layout = {
        key: shape
        for key, shape in published_layout(BiSeNetConfig()).items()
        if not key.startswith(("conv_out16", "conv_out32"))
    }
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == layout
    left_out = 2 * (128 * AUXILIARY * 9 + 2 * AUXILIARY + AUXILIARY * 19)
    assert sum(parameter.numel() for parameter in network.parameters()) == 13_300_416 - left_out


@pytest.mark.parametrize("size", [(64, 64), (50, 71)])
@torch.no_grad()
def test_published_weights_give_the_published_logits(loaded, size):
    network, state = loaded
    pixels = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = Published(state).logits(pixels)
    assert expected.std() > 1e-2
    torch.testing.assert_close(network(pixels), expected, rtol=1e-4, atol=1e-4)
    assert network(pixels).shape == (2, 5, *size)


def test_wrong_input_is_refused():
    with pytest.raises(ShapeError, match="pixels"):
        BiSeNet(TINY)(torch.zeros(1, 4, 64, 64))
