"""Key maps: from the two published discriminator layouts to ours.

layout         written by                     top keys
stylegan2-ada  NVIDIA's training code         b64.fromrgb, b64.conv0, b4.fc, b4.out
rosinality     stylegan2-pytorch, key 'd'     convs.0, convs.1.conv1, final_conv, final_linear
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
from stylefeatureeditor.generator.layers import blur_kernel
from stylefeatureeditor.weights.released import renamed

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from torch import Tensor

    from stylefeatureeditor.weights.released import Rules, State

ADA_CONV = {"conv0": "conv1", "conv1": "conv2", "skip": "skip"}


def ada_discriminator_state(
    state: Mapping[str, Tensor], *, clamp: float | None = None
) -> tuple[DiscriminatorConfig, State]:
    """Return config and state of a stylegan2-ada discriminator.

    Args:
        state: its parameters and buffers.
        clamp: conv_clamp of its blocks; None if it has none.

    Raises:
        WeightsError: it is conditional or of another architecture, or filters differently.
    """
    sides = [int(key.split(".")[0][1:]) for key in state if key.endswith(".fromrgb.weight")]
    if len(sides) != 1:
        raise WeightsError(
            f"expected one fromrgb layer (the residual architecture), found {len(sides)}; "
            "discriminators with skips to every resolution are not supported"
        )
    size = sides[0]

    def block(match: re.Match[str]) -> str:
        return f"blocks.{_block(size, int(match[1]))}.{ADA_CONV[match[2]]}.{match[3]}"

    rules: Rules = [
        (r".+\.resample_filter", None),
        (rf"b{size}\.fromrgb\.(.+)", r"from_rgb.\1"),
        (r"b(\d+)\.(conv[01]|skip)\.(.+)", block),
        (r"b4\.conv\.(.+)", r"conv.\1"),
        (r"b4\.fc\.(.+)", r"hidden.\1"),
        (r"b4\.out\.(.+)", r"logit.\1"),
    ]
    _check_filters(state, "resample_filter")
    ours = renamed(state, rules, "stylegan2-ada discriminator")
    return _config(ours, size, clamp), ours


def rosinality_discriminator_state(
    state: Mapping[str, Tensor],
) -> tuple[DiscriminatorConfig, State]:
    """Return config and state of a rosinality discriminator.

    Raises:
        WeightsError: the state has another layout, or filters differently.
    """
    rules: Rules = [
        (r".+\.kernel", None),
        (r"convs\.0\.0\.weight", "from_rgb.weight"),
        (r"convs\.0\.1\.bias", "from_rgb.bias"),
        (
            r"convs\.([1-9]\d*)\.(conv1|conv2|skip)\.\d\.(weight|bias)",
            lambda match: f"blocks.{int(match[1]) - 1}.{match[2]}.{match[3]}",
        ),
        (r"final_conv\.[01]\.(weight|bias)", r"conv.\1"),
        (r"final_linear\.0\.(.+)", r"hidden.\1"),
        (r"final_linear\.1\.(.+)", r"logit.\1"),
    ]
    _check_filters(state, "kernel")
    ours = renamed(state, rules, "rosinality discriminator")
    blocks = sum(key.endswith(".skip.weight") for key in ours)
    return _config(ours, 4 << blocks, None), ours


def _block(size: int, side: int) -> int:
    """Number of the residual block that starts at `side`."""
    return size.bit_length() - side.bit_length()


def _check_filters(state: Mapping[str, Tensor], leaf: str) -> None:
    for key, tensor in state.items():
        if key.endswith(f".{leaf}") and not torch.allclose(tensor.float(), blur_kernel()):
            raise WeightsError(f"{key}: another filter than [1, 3, 3, 1] is not supported")


def _config(ours: Mapping[str, Tensor], size: int, clamp: float | None) -> DiscriminatorConfig:
    """Read the channels off the tensors: at full size for the base, at 4 px for the maximum."""
    for key in ("from_rgb.weight", "conv.weight", "logit.weight"):
        if key not in ours:
            raise WeightsError(f"the discriminator has no {key}: the file is incomplete")
    channel_max = ours["conv.weight"].shape[0]
    counts = {size: ours["from_rgb.weight"].shape[0]}
    for index in range(size.bit_length() - 3):
        key = f"blocks.{index}.conv2.weight"
        if key not in ours:
            raise WeightsError(f"the discriminator has no {key}: the file is incomplete")
        counts[size >> (index + 1)] = ours[key].shape[0]
    # Below the maximum, channels * side is the base; at it, any base large enough does.
    below = [side * count for side, count in counts.items() if count < channel_max]
    base = below[0] if below else size * channel_max
    config = DiscriminatorConfig(size=size, channel_base=base, channel_max=channel_max, clamp=clamp)
    if any(config.channels(side) != count for side, count in counts.items()):
        raise WeightsError(f"channels {counts} do not follow min(max, base / side)")
    return config
