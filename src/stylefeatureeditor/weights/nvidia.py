"""Key map of NVIDIA's PyTorch StyleGAN2 ('G_ema' of a stylegan2-ada-pytorch pickle) to ours.

    mapping.fcI             mapping.I+1
    mapping.w_avg           latent_avg
    synthesis.b4.const      constant
    synthesis.bS.conv0, 1   the two layers of side S (4 px has conv1 only)
    synthesis.bS.torgb      the RGB layer of side S

Both layouts hold the same numbers; theirs scales RGB styles where ours scales RGB weights, and
their clamp (conv_clamp) is part of our config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.weights.released import generator_config, is_kernel, renamed

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from torch import Tensor

    from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
    from stylefeatureeditor.weights.released import Rules, State


def nvidia_generator_state(
    state: Mapping[str, Tensor], *, clamp: float | None = None
) -> tuple[GeneratorConfig, State]:
    """Return config and state of an NVIDIA generator.

    Args:
        state: its parameters and buffers, "mapping." and "synthesis." names.
        clamp: conv_clamp of its blocks; None if it has none.

    Raises:
        WeightsError: it is conditional, of StyleGAN3 or another architecture, or lacks a noise
            buffer.
    """
    _check_architecture(state)

    def layer(match: re.Match[str]) -> str:
        return f"layers.{_layer(int(match[1]), int(match[2]))}.{_name(match[3])}"

    def rgb(match: re.Match[str]) -> str:
        return f"to_rgb.{int(match[1]).bit_length() - 3}.{_name(match[2])}"

    rules: Rules = [
        (r"mapping\.fc(\d+)\.(weight|bias)", lambda m: f"mapping.{int(m[1]) + 1}.{m[2]}"),
        (r"mapping\.w_avg", "latent_avg"),
        (r"synthesis\.b4\.const", "constant"),
        (r".+\.resample_filter", None),
        (r"synthesis\.b(\d+)\.conv([01])\.(.+)", layer),
        (r"synthesis\.b(\d+)\.torgb\.(.+)", rgb),
    ]
    ours = renamed(state, rules, "NVIDIA StyleGAN2 generator")
    ours["constant"] = ours["constant"][None]
    for key in list(ours):
        if key.endswith(".noise"):
            ours[key] = ours[key][None, None]
    config = generator_config(ours, clamp=clamp)
    for index in range(config.num_layers):
        if f"layers.{index}.noise" not in ours:
            raise WeightsError(
                f"noise buffer of layer {index} is missing (use_noise was off, or the export "
                "dropped it); new noise would change every image"
            )
    return config, ours


def _check_architecture(state: Mapping[str, Tensor]) -> None:
    if any(key.startswith("mapping.embed") for key in state):
        raise WeightsError(
            "this generator is conditional (it has mapping.embed); only unconditional ones can be "
            "used"
        )
    if "synthesis.b4.const" not in state:
        raise WeightsError(
            "this generator is not a StyleGAN2 (it has no synthesis.b4.const); StyleGAN3 has no "
            "features at fixed positions to edit"
        )
    for key, tensor in state.items():
        if key.endswith("resample_filter") and not is_kernel(tensor):
            raise WeightsError(f"{key}: another filter than [1, 3, 3, 1] is not supported")
    if "mapping.w_avg" not in state:
        raise WeightsError("this generator has no mapping.w_avg, the mean of its codes")


def _layer(side: int, conv: int) -> int:
    """Number of a convolution: 4 px has one (conv1), every other side two."""
    return 2 * (side.bit_length() - 3) - 1 + conv


def _name(rest: str) -> str:
    names = {
        "weight": "conv.weight",
        "affine.weight": "conv.affine.weight",
        "affine.bias": "conv.affine.bias",
        "noise_const": "noise",
        "noise_strength": "noise_strength",
        "bias": "bias",
    }
    if rest not in names:
        raise WeightsError(f"NVIDIA StyleGAN2 generator: unknown tensor {rest!r} in a layer")
    return names[rest]
