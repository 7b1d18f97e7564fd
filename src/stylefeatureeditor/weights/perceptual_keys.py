"""Key maps: from the published layouts of perceptual networks to ours.

layout                   keys                                        read by
torchvision + lpips      features.N.weight; lin0.model.1.weight      lpips_state
SFE's release            net.layers.N.weight; lin.0.1.weight         released_lpips_state
ArcFace IR-SE50 file     input_layer, body.N, output_layer           arcface_state
CurricularFace IR-101    the same, output_layer.4 without scale      arcface_state
MoCo v2 checkpoint       module.encoder_q.layer1.0.conv1.weight      moco_state
ResNet50 as a sequence   0.weight, 4.0.conv1.weight                  moco_state
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylefeatureeditor.weights.released import ir_trunk_state, renamed, without_prefix

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from torch import Tensor

    from stylefeatureeditor.weights.released import Rules, State

MOCO_PREFIX = "module.encoder_q."


def lpips_state(trunk: Mapping[str, Tensor], lin: Mapping[str, Tensor]) -> State:
    """Return an Lpips state from two files.

    Args:
        trunk: torchvision's AlexNet or VGG16; its classifier is left out.
        lin: the file of the lpips package for that trunk.

    Raises:
        WeightsError: a file has another layout.
    """
    trunk_rules: Rules = [(r"features\.(\d+\..+)", r"trunk.\1"), (r"classifier\..+", None)]
    lin_rules: Rules = [(r"lin(\d)\.model\.1\.weight", r"weights.\1")]
    return {
        **renamed(trunk, trunk_rules, "torchvision trunk"),
        **_flat(renamed(lin, lin_rules, "LPIPS weights")),
    }


def released_lpips_state(state: Mapping[str, Tensor]) -> State:
    """Return an Lpips state from the release's module.

    Raises:
        WeightsError: the state has another layout.
    """
    rules: Rules = [
        (r"net\.(mean|std)", None),
        (r"net\.layers\.(\d+\..+)", r"trunk.\1"),
        (r"lin\.(\d)\.1\.weight", r"weights.\1"),
    ]
    return _flat(renamed(state, rules, "LPIPS of the release"))


def arcface_state(state: Mapping[str, Tensor]) -> State:
    """Return an ArcFaceFeatures state from the file of an IR-SE50 or of CurricularFace.

    Raises:
        WeightsError: the state has another layout.
    """
    head: Rules = [
        (r"output_layer\.0\.(.+)", r"norm.\1"),
        (r"output_layer\.3\.(.+)", r"linear.\1"),
        (r"output_layer\.4\.(.+)", r"feature_norm.\1"),
    ]
    of_head = {key: value for key, value in state.items() if key.startswith("output_layer.")}
    trunk = {f"trunk.{key}": value for key, value in ir_trunk_state(state).items()}
    return {**trunk, **renamed(of_head, head, "ArcFace head")}


def moco_state(state: Mapping[str, Tensor]) -> State:
    """Return a MocoFeatures state from a MoCo checkpoint's state or the release's sequence.

    The projection head and the momentum encoder are left out.

    Raises:
        WeightsError: the state has another layout.
    """
    if any(key.startswith(MOCO_PREFIX) for key in state):
        state = without_prefix(state, MOCO_PREFIX)

    def block(match: re.Match[str]) -> str:
        # layer1..layer4 by name, 4..7 as children of a sequence
        stage = int(match[2]) - (1 if match[1] else 4)
        name = match[4].replace("bn", "norm").replace("downsample", "skip")
        return f"stages.{stage}.{match[3]}.{name}.{match[5]}"

    rules: Rules = [
        (r"(?:conv1|0)\.(.+)", r"conv.\1"),
        (r"(?:bn1|1)\.(.+)", r"norm.\1"),
        (r"(layer)?(\d)\.(\d+)\.((?:conv|bn)\d|downsample\.\d)\.(.+)", block),
        (r"fc\..+", None),
    ]
    return renamed(state, rules, "MoCo ResNet50")


def _flat(state: State) -> State:
    """Turn the 1x1 kernels of the channel weights, (1, C, 1, 1), into vectors, (C,)."""
    return {
        key: value.flatten() if key.startswith("weights.") else value
        for key, value in state.items()
    }
