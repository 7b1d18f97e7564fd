"""Key maps: from the layouts of published checkpoints to ours.

A map is a list of (pattern, replacement). Every key must match one pattern in full, so a renamed or
additional tensor is an error and nothing is dropped by accident. What is dropped (FIR kernels that
our layers build themselves) is compared with ours first.

    layout                    written by                    read by
    rosinality generator      stylegan2-pytorch, 'g_ema'    generator_state
    released SFE checkpoint   this paper's release          inverter_state, feature_editor_state
    e4e                       encoder4editing, 'state_dict' e4e_state
    iresnet50, IR-SE50        ArcFace files                 iresnet_trunk_state, ...
"""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.generator.layers import blur_kernel
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

State = dict[str, "Tensor"]
Rules = list[tuple[str, "str | Callable[[re.Match[str]], str] | None"]]

IRESNET_BRANCH = {
    "bn1": "norm1",
    "conv1": "conv1",
    "bn2": "norm2",
    "prelu": "activation",
    "conv2": "conv2",
    "bn3": "norm3",
}
CONTENT_BRANCH = ("norm1", "conv1", "norm2", "activation", "conv2", "norm3")
IR_BRANCH = ("norm1", "conv1", "activation", "conv2", "norm2", "excite")


def renamed(state: Mapping[str, Tensor], rules: Rules, what: str) -> State:
    """Return the state with every key replaced by the first rule that matches it whole.

    Raises:
        WeightsError: a key matches no rule: the file has another layout than `what`.
    """
    result: State = {}
    for key, tensor in state.items():
        matches = ((re.fullmatch(pattern, key), new) for pattern, new in rules)
        match, new = next(((m, new) for m, new in matches if m), (None, None))
        if match is None:
            raise WeightsError(f"{what}: the checkpoint holds {key!r}, which that layout lacks")
        if new is not None:
            result[match.expand(new) if isinstance(new, str) else new(match)] = tensor
    return result


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> State:
    """Return the entries under `prefix`, the prefix removed."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def generator_state(
    state: Mapping[str, Tensor], latent_avg: Tensor
) -> tuple[GeneratorConfig, State]:
    """Return config and state of a rosinality generator ('g_ema' of stylegan2-pytorch).

    Args:
        state: its state dict; every noise buffer must be there.
        latent_avg: mean of w, (D,), or (N, D) with N equal rows.

    Raises:
        WeightsError: a key is unknown or a noise buffer is missing (drawing new noise would change
            every image).
    """
    _check_kernels(state)
    if latent_avg.ndim not in (1, 2) or not len(latent_avg):
        raise WeightsError(
            f"latent_avg should be (D,) or (N, D), the mean of the codes, "
            f"got {tuple(latent_avg.shape)}"
        )
    if latent_avg.ndim == 2 and not (latent_avg == latent_avg[0]).all():
        raise WeightsError(
            "the rows of latent_avg differ; expected one mean of w, or the same one for every style"
        )
    rules: Rules = [
        (r"style\.(\d+)\.(weight|bias)", r"mapping.\1.\2"),
        (r"input\.input", "constant"),
        (r"conv1\.(.+)", lambda match: f"layers.0.{_styled(match[1])}"),
        (
            r"convs\.(\d+)\.((?!conv\.blur).+)",
            lambda match: f"layers.{int(match[1]) + 1}.{_styled(match[2])}",
        ),
        (r"to_rgb1\.(.+)", lambda match: f"to_rgb.0.{_styled(match[1])}"),
        (
            r"to_rgbs\.(\d+)\.((?!upsample).+)",
            lambda match: f"to_rgb.{int(match[1]) + 1}.{_styled(match[2])}",
        ),
        (r"noises\.noise_(\d+)", r"layers.\1.noise"),
        (r".+\.kernel", None),
    ]
    ours = renamed(state, rules, "rosinality generator")
    layers = 1 + max(
        (int(key.split(".")[1]) for key in ours if key.startswith("layers.")), default=-1
    )
    for index in range(layers):
        if f"layers.{index}.noise" not in ours:
            raise WeightsError(
                f"rosinality generator: noise buffer noises.noise_{index} is missing; export the "
                "checkpoint with its noise buffers, since new noise would change every image"
            )
    for key, tensor in ours.items():
        if key.endswith("conv.weight") and tensor.ndim == 5:
            ours[key] = tensor[0]
        elif key.endswith("noise_strength"):
            ours[key] = _reshaped(tensor, (), key)
        elif re.fullmatch(r"to_rgb\.\d+\.bias", key):
            ours[key] = _reshaped(tensor, (3,), key)
    ours["latent_avg"] = latent_avg if latent_avg.ndim == 1 else latent_avg[0]
    return generator_config(ours), ours


def _reshaped(tensor: Tensor, shape: tuple[int, ...], key: str) -> Tensor:
    if tensor.numel() != prod(shape):
        raise WeightsError(f"rosinality generator: {key} has the shape {tuple(tensor.shape)}")
    return tensor.reshape(shape)


def generator_config(state: Mapping[str, Tensor], *, clamp: float | None = None) -> GeneratorConfig:
    """Read the sizes off a state in our layout.

    Raises:
        WeightsError: the tensors do not form a StyleGAN2 generator of a known width rule.
    """
    try:
        last = max(int(key.split(".")[1]) for key in state if key.startswith("layers."))
        size = 4 << ((last + 1) // 2)
        style_dim = state["latent_avg"].shape[0]
        config = GeneratorConfig(
            size=size,
            style_dim=style_dim,
            mapping_layers=len([key for key in state if re.fullmatch(r"mapping\.\d+\.bias", key)]),
            channel_base=state[f"layers.{last}.bias"].shape[0] * size,
            channel_max=state["constant"].shape[1],
            clamp=clamp,
        )
        for index in range(config.num_layers):
            if state[f"layers.{index}.bias"].shape[0] != config.layer_shape(index + 1)[0]:
                raise WeightsError(f"layer {index} has an unexpected number of channels")
    except (KeyError, IndexError, ValueError) as problem:
        raise WeightsError(f"these tensors are not a StyleGAN2 generator: {problem}") from None
    return config


def _styled(rest: str) -> str:
    """Rename the inside of a styled layer or RGB layer."""
    names = {
        "conv.weight": "conv.weight",
        "conv.modulation.weight": "conv.affine.weight",
        "conv.modulation.bias": "conv.affine.bias",
        "noise.weight": "noise_strength",
        "activate.bias": "bias",
        "bias": "bias",
    }
    if rest not in names:
        raise WeightsError(f"rosinality generator: unknown tensor {rest!r} in a layer")
    return names[rest]


def is_kernel(tensor: Tensor, gain: float = 1.0) -> bool:
    """Tell whether a tensor holds the filter that our layers build themselves."""
    kernel = blur_kernel(gain=gain)
    return tensor.shape == kernel.shape and torch.allclose(tensor.float(), kernel)


def _check_kernels(state: Mapping[str, Tensor]) -> None:
    for key, tensor in state.items():
        if key.endswith(".kernel") and not is_kernel(tensor, gain=4.0):
            raise WeightsError(
                f"{key}: another resampling filter than [1, 3, 3, 1] is not supported"
            )


def _iresnet_rules(prefix: str, stage: str) -> Rules:
    def layer(match: re.Match[str]) -> str:
        return (
            f"{prefix}stages.{int(match[1]) - 1}.{match[2]}.branch."
            f"{IRESNET_BRANCH[match[3]]}.{match[4]}"
        )

    def skip(match: re.Match[str]) -> str:
        return f"{prefix}stages.{int(match[1]) - 1}.{match[2]}.skip.{match[3]}"

    names = "|".join(IRESNET_BRANCH)
    return [
        (rf"{stage}([1-4])\.(\d+)\.({names})\.(\w+)", layer),
        (rf"{stage}([1-4])\.(\d+)\.downsample\.(.+)", skip),
    ]


def _merger_rules(source: str, target: str) -> Rules:
    return [
        (rf"{source}conv\.(weight|bias)", rf"{target}merge.\1"),
        (
            rf"{source}body\.(\d+)\.body\.([0-5])\.(\w+)",
            lambda match: f"{target}branches.{match[1]}.{CONTENT_BRANCH[int(match[2])]}.{match[3]}",
        ),
    ]


def inverter_state(state: Mapping[str, Tensor]) -> State:
    """Return the released Inverter's state.

    Its prefix is 'inverter.' in a phase-2 file and 'encoder.' in a phase-1 file.
    """
    rules: Rules = [
        (r"fs_backbone\.conv\.(.+)", r"encoder.trunk.stem.\1"),
        *_iresnet_rules("encoder.trunk.", r"fs_backbone\.block_"),
        (r"fs_backbone\.content_layer\.(.+)", r"encoder.content.\1"),
        (r"fs_backbone\.styles\.(.+)", r"encoder.styles.\1"),
        *_merger_rules(r"fuser\.", "fuser.body."),
    ]
    return renamed(state, rules, "released Inverter")


def feature_editor_state(state: Mapping[str, Tensor]) -> State:
    """Return the released Feature Editor's state ('encoder.' of a phase-2 file)."""
    return renamed(state, _merger_rules("", "body."), "released Feature Editor")


def _ir_rules(prefix: str) -> Rules:
    return [
        (r"input_layer\.(.+)", rf"{prefix}stem.\1"),
        (
            r"body\.(\d+)\.res_layer\.([0-5])\.(.+)",
            lambda match: f"{prefix}blocks.{match[1]}.{IR_BRANCH[int(match[2])]}.{match[3]}",
        ),
        (r"body\.(\d+)\.shortcut_layer\.(.+)", rf"{prefix}blocks.\1.shortcut.\2"),
    ]


def e4e_state(state: Mapping[str, Tensor]) -> State:
    """Return a published e4e encoder's state ('encoder.' of its 'state_dict')."""
    rules: Rules = [
        *_ir_rules("trunk."),
        (
            r"styles\.(\d+)\.convs\.(\d+)\.(.+)",
            lambda match: f"heads.{match[1]}.convs.{int(match[2]) // 2}.{match[3]}",
        ),
        (r"styles\.(\d+)\.linear\.(.+)", r"heads.\1.linear.\2"),
        (r"latlayer1\.(.+)", r"lateral_middle.\1"),
        (r"latlayer2\.(.+)", r"lateral_fine.\1"),
    ]
    return renamed(state, rules, "e4e encoder")


def ir_trunk_state(state: Mapping[str, Tensor]) -> State:
    """Return the trunk of an ArcFace IR-SE50 file (its head left out)."""
    return renamed(state, [*_ir_rules(""), (r"output_layer\..+", None)], "IR-SE50")


def iresnet_trunk_state(state: Mapping[str, Tensor]) -> State:
    """Return the trunk of an ArcFace iresnet50 file (its head left out)."""
    rules: Rules = [
        (r"conv1\.(.+)", r"stem.0.\1"),
        (r"bn1\.(.+)", r"stem.1.\1"),
        (r"prelu\.(.+)", r"stem.2.\1"),
        *_iresnet_rules("", "layer"),
        (r"(bn2|fc|features)\..+", None),
    ]
    return renamed(state, rules, "iresnet50")
