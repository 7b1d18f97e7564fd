"""Layouts of published networks: their names as tables, and the sizes read off their tensors.

    layout                    written by                     read by
    rosinality generator      stylegan2-pytorch, 'g_ema'     generator_state
    NVIDIA generator          stylegan2-ada, 'G_ema'         nvidia_generator_state
    Hammer, GenForce          their training code            hammer_generator_state
    ada discriminator         stylegan2-ada, 'D'             ada_discriminator_state
    rosinality discriminator  stylegan2-pytorch, 'd'         rosinality_discriminator_state
    SFE's checkpoint          this paper's release           inverter_state, feature_editor_state
    e4e                       encoder4editing, 'state_dict'  e4e_state
    iresnet50, IR-SE50        ArcFace files                  iresnet_trunk_state, ir_trunk_state
    LPIPS                     torchvision and lpips          lpips_state
    IR-SE50, IR-101 whole     ArcFace, CurricularFace        arcface_state
    MoCo v2                   its checkpoint, or a sequence  moco_state
    DeltaEdit                 its mapper alone               delta_mapper_state

`key_maps.py` says how a table is read. A missing tensor shows when a network takes the state.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.key_maps import KeyMap, under, without_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from stylefeatureeditor.weights.key_maps import State

logger = logging.getLogger(__name__)

MEAN_BATCHES, MEAN_BATCH = 10, 1000  # z whose mean w stands for a missing latent_avg
ESTIMATE = f"estimated from {MEAN_BATCHES * MEAN_BATCH:,} seeded z"
MAX_STAGES = 11  # resolutions of a generator, from 4 px
MOCO_PREFIX = "module.encoder_q."

IRESNET = """
#.#.{bn1|conv1|bn2|prelu|conv2|bn3}.*  stages.{1-1}.{2}.branch.{3:iresnet}.{4}
#.#.downsample.*                       stages.{1-1}.{2}.skip.{3}
"""
MERGER = """
conv.{weight|bias}  merge.{1}
body.#.body.#.*     branches.{1}.{2:content}.{3}
"""
IR = """
input_layer.*            stem.{1}
body.#.res_layer.#.*     blocks.{1}.{2:ir}.{3}
body.#.shortcut_layer.*  blocks.{1}.shortcut.{2}
"""
E4E_TRUNK = f"""
{under("", "trunk.", IR)}
latlayer1.*  lateral_middle.{{1}}
latlayer2.*  lateral_fine.{{1}}
"""

e4e_state = KeyMap(
    "e4e encoder",
    E4E_TRUNK
    + """
    styles.#.convs.#.*  heads.{1}.convs.{2/2}.{3}
    styles.#.linear.*   heads.{1}.linear.{2}
    """,
)
inverter_state = KeyMap(  # 'inverter.' of a phase-2 file, 'encoder.' of a phase-1 file
    "released Inverter",
    f"""
    fs_backbone.conv.*           encoder.trunk.stem.{{1}}
    fs_backbone.content_layer.*  encoder.content.{{1}}
    fs_backbone.styles.*         encoder.styles.{{1}}
    {under("fs_backbone.block_", "encoder.trunk.", IRESNET)}
    {under("fuser.", "fuser.body.", MERGER)}
    """,
)
feature_editor_state = KeyMap("released Feature Editor", under("", "body.", MERGER))
ir_trunk_state = KeyMap("IR-SE50", f"{IR}\noutput_layer.* -")
iresnet_trunk_state = KeyMap(
    "iresnet50",
    f"""
    conv1.*              stem.0.{{1}}
    bn1.*                stem.1.{{1}}
    prelu.*              stem.2.{{1}}
    {under("layer", "", IRESNET)}
    {{bn2|fc|features}}.*  -
    """,
)
arcface_state = KeyMap(
    "ArcFace",
    f"""
    {under("", "trunk.", IR)}
    output_layer.0.*  norm.{{1}}
    output_layer.3.*  linear.{{1}}
    output_layer.4.*  feature_norm.{{1}}
    """,
)
delta_mapper_state = KeyMap(
    "DeltaEdit mapper", "{sm|cm|fm}_{coarse|medium|fine}.mapping.#.* {2}.{1:deltaedit}.{3}.{4}"
)
_MOCO = KeyMap(
    "MoCo ResNet50",
    """
    {conv1|0}.*             conv.{2}
    {bn1|1}.*               norm.{2}
    layer#.#.{conv|bn}#.*   stages.{1-1}.{2}.{3:resnet}{4}.{5}
    layer#.#.downsample.*   stages.{1-1}.{2}.skip.{3}
    #.#.{conv|bn}#.*        stages.{1-4}.{2}.{3:resnet}{4}.{5}
    #.#.downsample.*        stages.{1-4}.{2}.skip.{3}
    fc.*                    -
    """,
)
_LPIPS_TRUNK = KeyMap("torchvision trunk", "features.#.* trunk.{1}.{2}\nclassifier.* -")
_LPIPS_WEIGHTS = KeyMap("LPIPS weights", "lin#.model.1.weight weights.{1}")
_ROSINALITY = KeyMap(
    "rosinality generator",
    """
    *.kernel                !4
    style.#.{weight|bias}   mapping.{1}.{2}
    input.input             constant
    conv1.*                 layers.0.{1:rosinality}
    convs.#.*               layers.{1+1}.{2:rosinality}
    to_rgb1.*               to_rgb.0.{1:rosinality}
    to_rgbs.#.*             to_rgb.{1+1}.{2:rosinality}
    noises.noise_#          layers.{1}.noise
    """,
)
_NVIDIA = KeyMap(
    "NVIDIA StyleGAN2 generator",
    """
    *.resample_filter          !
    mapping.fc#.{weight|bias}  mapping.{1+1}.{2}
    mapping.w_avg              latent_avg
    synthesis.b4.const         constant
    """
    + "".join(
        f"synthesis.b{4 << stage}.conv0.* layers.{2 * stage - 1}.{{1:nvidia}}\n"
        f"synthesis.b{4 << stage}.conv1.* layers.{2 * stage}.{{1:nvidia}}\n"
        f"synthesis.b{4 << stage}.torgb.* to_rgb.{stage}.{{1:nvidia}}\n"
        for stage in range(MAX_STAGES)
    ),
)
_HAMMER = KeyMap(
    "Hammer's StyleGAN2 generator",
    """
    *.filter                     !
    w_avg                        latent_avg
    mapping.dense#.*             mapping.{1+1}.{2}
    synthesis.early_layer.const  constant
    synthesis.layer#.*           layers.{1}.{2:hammer}
    synthesis.output#.*          to_rgb.{1}.{2:hammer}
    """,
)
_ROSINALITY_CRITIC = KeyMap(
    "rosinality discriminator",
    """
    *.kernel                                    !
    convs.0.0.weight                            from_rgb.weight
    convs.0.1.bias                              from_rgb.bias
    convs.#.{conv1|conv2|skip}.#.{weight|bias}  blocks.{1-1}.{2}.{4}
    final_conv.#.{weight|bias}                  conv.{2}
    final_linear.0.*                            hidden.{1}
    final_linear.1.*                            logit.{1}
    """,
)


def mean_latent(latent_avg: Tensor) -> Tensor:
    """Return (D,) from what checkpoints call latent_avg: (D,), (1, D), or (N, D) of equal rows.

    WeightsError if it has another shape, or its rows differ.
    """
    if latent_avg.ndim not in (1, 2) or not latent_avg.numel():
        raise WeightsError(
            f"latent_avg should be (D,) or (N, D), the mean of the codes, "
            f"got {tuple(latent_avg.shape)}"
        )
    rows = latent_avg.reshape(-1, latent_avg.shape[-1])
    if not (rows == rows[0]).all():
        raise WeightsError(
            "latent_avg differs between styles: expected one mean of w, or the same for all"
        )
    return rows[0]


@torch.no_grad()
def estimated_mean(config: GeneratorConfig, state: State) -> Tensor:
    """Return the mean w of 10,000 seeded z, (D,), and say so in the log.

    `state` holds the mapping network in our layout; WeightsError if it is incomplete.
    """
    with torch.device("meta"):
        mapping = Generator(config).mapping
    assign_state(mapping, without_prefix(state, "mapping."), "the generator's mapping network")
    chance = torch.Generator().manual_seed(0)
    means = [
        mapping(torch.randn(MEAN_BATCH, config.latent_dim, generator=chance)).mean(0)
        for _ in range(MEAN_BATCHES)
    ]
    logger.warning(
        "the generator's file holds no 'latent_avg': the mean of its codes is %s", ESTIMATE
    )
    return torch.stack(means).mean(0)


def generator_state(
    state: Mapping[str, Tensor], latent_avg: Tensor | None, *, draw_noise: bool = False
) -> tuple[GeneratorConfig, State]:
    """Return config and state of a rosinality generator ('g_ema' of stylegan2-pytorch).

    `latent_avg` is the mean of w, (D,), or (N, D) with N equal rows; None is `estimated_mean`.
    WeightsError if a key is unknown, or a noise buffer is missing and `draw_noise` is not set.
    """
    mean = None if latent_avg is None else mean_latent(latent_avg)
    ours = _ROSINALITY(state)
    for key, tensor in ours.items():
        if key.endswith("conv.weight") and tensor.ndim == 5:
            ours[key] = tensor[0]
        elif key.endswith("noise_strength"):
            if tensor.numel() != 1:
                raise WeightsError(
                    f"rosinality generator: {key} has the shape {tuple(tensor.shape)}"
                )
            ours[key] = tensor.reshape(())
        elif re.fullmatch(r"to_rgb\.\d+\.bias", key):
            ours[key] = tensor.flatten()
    if mean is not None:
        ours["latent_avg"] = mean
    config = _checked(ours, "noises.noise_{}", draw_noise=draw_noise)
    if mean is None:
        ours["latent_avg"] = estimated_mean(config, ours)
    return config, ours


def nvidia_generator_state(
    state: Mapping[str, Tensor],
    *,
    clamp: float | None = None,
    draw_noise: bool = False,
    label: int | None = None,
) -> tuple[GeneratorConfig, State]:
    """Return config and state of an NVIDIA generator.

    Both layouts hold the same numbers; theirs scales RGB styles where ours scales RGB weights, and
    their clamp (conv_clamp) is part of our config. `label` is the class of a conditional one.
    WeightsError if it is StyleGAN3, StyleGAN-XL or of the architecture 'resnet', conditional
    without a class, or lacks a noise buffer that must not be drawn.
    """
    if "synthesis.b4.const" not in state:
        kind = "this generator is not a StyleGAN2 (it has no synthesis.b4.const)"
        if any(key.startswith("synthesis.input.") for key in state):
            is_xl = "mapping.embed_proj.weight" in state
            kind = f"this generator is a StyleGAN{'-XL' if is_xl else '3'}"
        raise WeightsError(f"{kind}; only StyleGAN2 has features at fixed positions to edit")
    if any(key.startswith("synthesis.") and ".skip." in key for key in state):
        raise WeightsError(
            "this generator has the architecture 'resnet'; only 'skip', the default of "
            "stylegan2-ada-pytorch, and 'orig' can be used: take or train one of those"
        )
    if "mapping.w_avg" not in state:
        raise WeightsError("this generator has no mapping.w_avg, the mean of its codes")
    ours = _NVIDIA(_of_one_class(state, label))
    ours["constant"] = ours["constant"][None]
    for key in [key for key in ours if key.endswith(".noise")]:
        ours[key] = ours[key][None, None]
    return _checked(ours, "of layer {}", clamp, draw_noise=draw_noise), ours


def _of_one_class(state: Mapping[str, Tensor], label: int | None) -> Mapping[str, Tensor]:
    """Return the state without its class embedding, whose share of the first layer is its bias.

    The first layer sees [z, e], e = the class's embedding scaled to unit mean square.
    """
    embedding = state.get("mapping.embed.weight")
    if embedding is None:
        if label is not None:
            raise WeightsError("this generator draws one class only: leave --class out")
        return state
    first, classes = state["mapping.fc0.weight"], embedding.shape[1]
    if label is None or not 0 <= label < classes:
        raise WeightsError(
            f"this generator is conditional: say which of its classes to draw, --class 0 to "
            f"--class {classes - 1}"
        )
    vector = embedding[:, label] / classes**0.5 + state["mapping.embed.bias"]
    vector = vector * torch.rsqrt(vector.square().mean() + 1e-8)
    width, inputs = first.shape[1] - len(vector), first.shape[1]
    share = first[:, width:] @ vector / inputs**0.5
    kept = {key: value for key, value in state.items() if not key.startswith("mapping.embed.")}
    return {
        **kept,
        "mapping.fc0.weight": first[:, :width] * (width / inputs) ** 0.5,
        "mapping.fc0.bias": state["mapping.fc0.bias"] + share,
    }


def hammer_generator_state(state: Mapping[str, Tensor]) -> tuple[GeneratorConfig, State]:
    """Return config and state of a StyleGAN2 of Hammer or GenForce; else WeightsError."""
    ours = _HAMMER(state)
    return _checked(ours, "of layer {}"), ours


def _as_rgb(state: State, layers: int) -> None:
    """Make a generator in our layout draw RGB at every resolution.

    Grey becomes three equal channels, alpha is left out, and a missing layer is zero.
    """
    for stage in range((layers + 1) // 2):
        at, last = f"to_rgb.{stage}", state.get(f"layers.{2 * stage}.bias")
        weight, bias = state.get(f"{at}.conv.weight"), state.get(f"{at}.bias")
        if weight is None and bias is None and last is not None and stage < layers // 2:
            codes, width = state["layers.0.conv.affine.weight"].shape[1], last.shape[0]
            state[f"{at}.conv.weight"] = last.new_zeros(3, width, 1, 1)
            state[f"{at}.bias"] = last.new_zeros(3)
            state[f"{at}.conv.affine.weight"] = last.new_zeros(width, codes)
            state[f"{at}.conv.affine.bias"] = last.new_zeros(width)
        elif weight is not None and bias is not None and weight.shape[0] != 3:
            channels = {1: [0, 0, 0], 4: [0, 1, 2]}.get(weight.shape[0])
            if channels is None:
                raise WeightsError(
                    f"this generator draws {weight.shape[0]} channels; 1 (grey), 3 (RGB) and 4 "
                    "(RGBA, whose alpha is left out) can be used"
                )
            state[f"{at}.conv.weight"], state[f"{at}.bias"] = weight[channels], bias[channels]


def _checked(
    state: State, noise: str, clamp: float | None = None, *, draw_noise: bool = False
) -> GeneratorConfig:
    """Read the sizes off a generator in our layout; it has all its noise, or gets it drawn."""
    layers = (int(key.split(".")[1]) for key in state if key.startswith("layers."))
    count = max(layers, default=-1) + 1
    if not 0 < count < 2 * MAX_STAGES:
        raise WeightsError(f"these tensors are not a StyleGAN2 generator: it has {count} layers")
    missing = [index for index in range(count) if f"layers.{index}.noise" not in state]
    if missing and not draw_noise:
        raise WeightsError(
            f"noise buffer {noise.format(missing[0])} is missing (use_noise was off, or the export "
            "dropped it); new noise changes the fine grain of every image: `sfe models convert "
            "--draw-noise` draws it"
        )
    chance = torch.Generator().manual_seed(0)
    for index in missing:
        side = 4 << ((index + 1) // 2)
        state[f"layers.{index}.noise"] = torch.randn(1, 1, side, side, generator=chance)
    try:
        _as_rgb(state, count)
        width = state["layers.0.conv.affine.weight"].shape[1]
        z_dim = state["mapping.1.weight"].shape[1]
        size = 4 << (count // 2)
        config = GeneratorConfig(
            size=size,
            style_dim=width,
            z_dim=None if z_dim == width else z_dim,
            mapping_layers=len([key for key in state if re.fullmatch(r"mapping\.\d+\.bias", key)]),
            channel_base=state[f"layers.{count - 1}.bias"].shape[0] * size,
            channel_max=state["constant"].shape[1],
            clamp=clamp,
        )
        for index in range(config.num_layers):
            if state[f"layers.{index}.bias"].shape[0] != config.layer_shape(index + 1)[0]:
                raise WeightsError(f"layer {index} has an unexpected number of channels")
    except (KeyError, IndexError, ValueError) as problem:
        raise WeightsError(f"these tensors are not a StyleGAN2 generator: {problem}") from None
    return config


def ada_discriminator_state(
    state: Mapping[str, Tensor], *, clamp: float | None = None
) -> tuple[DiscriminatorConfig, State]:
    """Return config and state of a stylegan2-ada discriminator; `clamp` is its conv_clamp.

    WeightsError if it is conditional or of another architecture, or filters differently.
    """
    found = (re.fullmatch(r"b(\d{1,6})\.fromrgb\.weight", key) for key in state)
    sides = [int(match[1]) for match in found if match]
    if len(sides) != 1:
        raise WeightsError(
            f"expected one fromrgb layer (the residual architecture), found {len(sides)}; "
            "discriminators with skips to every resolution are not supported"
        )
    size = sides[0]
    table = f"*.resample_filter !\nb{size}.fromrgb.* from_rgb.{{1}}\n"
    for index in range(size.bit_length() - 3):
        side = size >> index
        table += f"b{side}.conv0.* blocks.{index}.conv1.{{1}}\n"
        table += f"b{side}.conv1.* blocks.{index}.conv2.{{1}}\n"
        table += f"b{side}.skip.* blocks.{index}.skip.{{1}}\n"
    table += "b4.conv.* conv.{1}\nb4.fc.* hidden.{1}\nb4.out.* logit.{1}"
    ours = KeyMap("stylegan2-ada discriminator", table)(state)
    _see_rgb(ours)
    return _critic_config(ours, size, clamp), ours


def rosinality_discriminator_state(
    state: Mapping[str, Tensor],
) -> tuple[DiscriminatorConfig, State]:
    """Return config and state of a rosinality discriminator; WeightsError if it is none."""
    ours = _ROSINALITY_CRITIC(state)
    _see_rgb(ours)
    blocks = sum(key.endswith(".skip.weight") for key in ours)
    return _critic_config(ours, 4 << blocks, None), ours


def _see_rgb(ours: State) -> None:
    """Make a discriminator of grey or RGBA pictures take RGB: by its mean, or as opaque."""
    weight, bias = ours.get("from_rgb.weight"), ours.get("from_rgb.bias")
    if weight is None or bias is None or weight.shape[1] == 3:
        return
    channels = weight.shape[1]  # weights count as divided by sqrt(channels)
    if channels == 1:
        ours["from_rgb.weight"] = weight.expand(-1, 3, -1, -1) / 3**0.5
    elif channels == 4:
        ours["from_rgb.weight"] = weight[:, :3] * (3 / 4) ** 0.5
        ours["from_rgb.bias"] = bias + weight[:, 3].flatten() / 2
    else:
        raise WeightsError(f"this discriminator sees {channels} channels; 1, 3 and 4 can be used")


def _critic_config(ours: State, size: int, clamp: float | None) -> DiscriminatorConfig:
    """Read the channels off the tensors: at full size for the base, at 4 px for the maximum."""
    inner = [f"blocks.{index}.conv2.weight" for index in range(size.bit_length() - 3)]
    for key in ("from_rgb.weight", "conv.weight", "logit.weight", *inner):
        if key not in ours:
            raise WeightsError(f"the discriminator has no {key}: the file is incomplete")
    channel_max = ours["conv.weight"].shape[0]
    counts = {size: ours["from_rgb.weight"].shape[0]}
    counts |= {size >> (index + 1): ours[key].shape[0] for index, key in enumerate(inner)}
    # Below the maximum, channels * side is the base; at it, any base large enough does.
    below = [side * count for side, count in counts.items() if count < channel_max]
    base = below[0] if below else size * channel_max
    config = DiscriminatorConfig(size=size, channel_base=base, channel_max=channel_max, clamp=clamp)
    if any(config.channels(side) != count for side, count in counts.items()):
        raise WeightsError(f"channels {counts} do not follow min(max, base / side)")
    return config


def lpips_state(trunk: Mapping[str, Tensor], lin: Mapping[str, Tensor]) -> State:
    """Return an Lpips state of the files of torchvision and of lpips; else WeightsError."""
    weights = {key: value.flatten() for key, value in _LPIPS_WEIGHTS(lin).items()}
    return {**_LPIPS_TRUNK(trunk), **weights}


def moco_state(state: Mapping[str, Tensor]) -> State:
    """Return a MocoFeatures state from a MoCo checkpoint's state or the release's sequence.

    The projection head and the momentum encoder are left out; WeightsError if of another layout.
    """
    return _MOCO(without_prefix(state, MOCO_PREFIX) or state)
