"""FaRL: the published layout of its weights, and the arithmetic behind each name."""

import pytest
import torch
from torch import nn
from torch.nn import functional as f

from stylefeatureeditor.errors import ShapeError, WeightsError
from stylefeatureeditor.masks.farl import FarlConfig, FarlNetwork, farl_state
from stylefeatureeditor.weights.checkpoint import assign_state

TINY = FarlConfig(
    num_classes=5,
    input_size=24,
    patch=4,
    width=8,
    layers=4,
    heads=2,
    taps=(0, 1, 2, 3),
    head_channels=6,
    output_size=20,
)
VISUAL = "backbone.visual"


def published_layout(config: FarlConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published TorchScript archive, scaled to `config`."""
    d, c, side = config.width, config.head_channels, config.patch
    layout: dict[str, tuple[int, ...]] = {
        "backbone.image_mean": (1, 3, 1, 1),
        "backbone.image_std": (1, 3, 1, 1),
        f"{VISUAL}.class_embedding": (d,),
        f"{VISUAL}.positional_embedding": ((config.input_size // side) ** 2 + 1, d),
        f"{VISUAL}.proj": (d, 512),
        f"{VISUAL}.conv1.weight": (d, 3, side, side),
    }
    layers = {f"{VISUAL}.ln_pre": (d,), f"{VISUAL}.ln_post": (d,)}
    for i in range(config.layers):
        key = f"{VISUAL}.transformer.resblocks.{i}"
        layout |= {f"{key}.attn.in_proj_weight": (3 * d, d), f"{key}.attn.in_proj_bias": (3 * d,)}
        layers |= {f"{key}.attn.out_proj": (d, d), f"{key}.ln_1": (d,), f"{key}.ln_2": (d,)}
        layers |= {f"{key}.mlp.c_fc": (4 * d, d), f"{key}.mlp.c_proj": (d, 4 * d)}
    layers |= {f"backbone.fpns.{key}": (d, d, 2, 2) for key in ("0.0", "0.3", "1")}
    layers["head.head.conv_seg"] = (config.num_classes, c, 1, 1)
    for key, weight in layers.items():
        layout[f"{key}.weight"] = weight
        layout[f"{key}.bias"] = (weight[0],)
    norms = {"backbone.fpns.0.1": d}
    convs = {f"psp_modules.{i}.1": (c, d, 1, 1) for i in range(4)}
    convs |= {"bottleneck": (c, d + 4 * c, 3, 3), "fpn_bottleneck": (c, 4 * c, 3, 3)}
    convs |= {f"lateral_convs.{i}": (c, d, 1, 1) for i in range(3)}
    convs |= {f"fpn_convs.{i}": (c, c, 3, 3) for i in range(3)}
    for key, weight in convs.items():
        layout[f"head.head.{key}.conv.weight"] = weight
        norms[f"head.head.{key}.bn"] = c
    for key, channels in norms.items():
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            layout[f"{key}.{leaf}"] = (channels,)
        layout[f"{key}.num_batches_tracked"] = ()
    return layout


def random_state(config, seed=0):
    random = torch.Generator().manual_seed(seed)
    state = {
        key: torch.rand(shape, generator=random) + 0.5
        if key.endswith(("running_var", "bn.weight"))
        else torch.randn(shape, generator=random) * 0.3
        for key, shape in published_layout(config).items()
    }
    state |= {key: torch.tensor(7) for key in state if key.endswith("num_batches_tracked")}
    state["backbone.image_mean"] = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(
        1, 3, 1, 1
    )
    state["backbone.image_std"] = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(
        1, 3, 1, 1
    )
    return state


def published_block(state, key, x, heads):
    """CLIP's residual attention block on (B, L, D), by torch's own attention."""
    width = x.shape[-1]
    attention = nn.MultiheadAttention(width, heads, batch_first=True)
    attention.load_state_dict(
        {
            name: state[f"{key}.attn.{name}"]
            for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        }
    )

    def norm(name, y):
        return f.layer_norm(y, (width,), state[f"{key}.{name}.weight"], state[f"{key}.{name}.bias"])

    def linear(name, y):
        return f.linear(y, state[f"{key}.mlp.{name}.weight"], state[f"{key}.mlp.{name}.bias"])

    y = norm("ln_1", x)
    x = x + attention(y, y, y, need_weights=False)[0]
    y = linear("c_fc", norm("ln_2", x))
    return x + linear("c_proj", y * torch.sigmoid(1.702 * y))


def published_logits(state, pixels, config):
    """The published graph, written over the published names."""

    def bn(key, x):
        mean, var = state[f"{key}.running_mean"], state[f"{key}.running_var"]
        return f.batch_norm(x, mean, var, state[f"{key}.weight"], state[f"{key}.bias"])

    def up(key, x):
        weight, bias = state[f"backbone.fpns.{key}.weight"], state[f"backbone.fpns.{key}.bias"]
        return f.conv_transpose2d(x, weight, bias, stride=2)

    def conv(key, x):
        weight = state[f"head.head.{key}.conv.weight"]
        return f.relu(bn(f"head.head.{key}.bn", f.conv2d(x, weight, padding=weight.shape[-1] // 2)))

    def resize(x, size):
        return f.interpolate(x, size, mode="bilinear", align_corners=False)

    x = (pixels * 0.5 + 0.5 - state["backbone.image_mean"]) / state["backbone.image_std"]
    x = f.conv2d(x, state[f"{VISUAL}.conv1.weight"], stride=config.patch)
    grid = x.shape[-1]
    x = x.flatten(2).transpose(1, 2)
    token = state[f"{VISUAL}.class_embedding"].expand(len(x), 1, -1)
    x = torch.cat([token, x], dim=1) + state[f"{VISUAL}.positional_embedding"]
    pre = (state[f"{VISUAL}.ln_pre.weight"], state[f"{VISUAL}.ln_pre.bias"])
    x = f.layer_norm(x, (config.width,), *pre)
    maps = []
    for i in range(config.layers):
        x = published_block(state, f"{VISUAL}.transformer.resblocks.{i}", x, config.heads)
        maps.append(x[:, 1:].transpose(1, 2).reshape(len(x), -1, grid, grid))
    maps = [maps[tap] for tap in config.taps]
    first = up("0.3", f.gelu(bn("backbone.fpns.0.1", up("0.0", maps[0]))))
    levels = [first, up("1", maps[1]), maps[2], f.max_pool2d(maps[3], 2, 2)]

    size = levels[3].shape[2:]
    pooled = [levels[3]] + [
        resize(conv(f"psp_modules.{i}.1", f.adaptive_avg_pool2d(levels[3], side)), size)
        for i, side in enumerate((1, 2, 3, 6))
    ]
    laterals = [conv(f"lateral_convs.{i}", levels[i]) for i in range(3)]
    laterals.append(conv("bottleneck", torch.cat(pooled, dim=1)))
    for i in (3, 2, 1):
        laterals[i - 1] = laterals[i - 1] + resize(laterals[i], laterals[i - 1].shape[2:])
    outs = [conv(f"fpn_convs.{i}", laterals[i]) for i in range(3)] + [laterals[3]]
    outs = [resize(out, outs[0].shape[2:]) for out in outs]
    joined = conv("fpn_bottleneck", torch.cat(outs, dim=1))
    seg = (state["head.head.conv_seg.weight"], state["head.head.conv_seg.bias"])
    return resize(f.conv2d(joined, *seg), (config.output_size, config.output_size))


@pytest.fixture(scope="module")
def loaded():
    state = random_state(TINY)
    network = FarlNetwork(TINY)
    assign_state(network, farl_state(state), "test")
    return network.eval(), state


def test_the_full_network_has_the_published_names_and_shapes():
    with torch.device("meta"):
        network = FarlNetwork(FarlConfig())
        layout = {k: torch.empty(shape) for k, shape in published_layout(FarlConfig()).items()}
    layout = {k: v for k, v in layout.items() if "image_" not in k}
    needed = {key: tuple(value.shape) for key, value in farl_state(layout).items()}
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == needed
    assert set(layout) - {f"{p}{k}" for k in needed for p in ("backbone.", "head.")} == {
        f"{VISUAL}.{name}" for name in ("ln_post.weight", "ln_post.bias", "proj")
    }
    assert needed["visual.positional_embedding"] == (785, 768)


@torch.no_grad()
def test_published_weights_give_the_published_logits(loaded):
    network, state = loaded
    pixels = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
    logits = network(pixels)
    assert logits.shape == (2, 5, 20, 20)
    assert logits.std() > 1e-2
    torch.testing.assert_close(logits, published_logits(state, pixels, TINY), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mean", [torch.zeros(1, 3, 1, 1), torch.zeros(4)])
def test_an_archive_with_another_standardisation_is_refused(mean):
    state = random_state(TINY) | {"backbone.image_mean": mean}
    with pytest.raises(WeightsError, match=r"backbone\.image_mean"):
        farl_state(state)


def test_wrong_input_is_refused():
    with pytest.raises(ShapeError, match=r"pixels: expected shape \(any, 3, 24, 24\)"):
        FarlNetwork(TINY)(torch.zeros(1, 3, 32, 32))
