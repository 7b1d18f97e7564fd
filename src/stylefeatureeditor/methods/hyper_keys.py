"""Key maps of the methods that bend the generator's weights: HyperStyle and HyperInverter.

    HyperStyle     'state_dict' {hypernet.*, decoder.*}, 'latent_avg' (N, D); the encoder to W is
                   the 'encoder.*' of a second file
    HyperInverter  'state_dict' {hypernet.*, w_bar_encoder.*, w_encoder.*, discriminator.*}; G is
                   an NVIDIA file, its mapping.w_avg the mean; the encoder to W has its own file too

HyperStyle counts layers as conv1, to_rgb1, then (conv, conv, to_rgb) per resolution. Its shared
hyper-layer stands once under its own name, and once more in every head that uses it: the same
memory, of which one copy is kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.methods.keys import (
    joined,
    mean_latent,
    single_style_state,
    split,
)
from stylefeatureeditor.weights.released import (
    e4e_state,
    generator_state,
    renamed,
    without_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
    from stylefeatureeditor.weights.released import Rules, State

SHARED = "shared_weight_hypernet"


def hyperstyle_state(
    state: Mapping[str, Tensor], latent_avg: Tensor, encoder: Mapping[str, Tensor]
) -> tuple[GeneratorConfig, State]:
    """Return G's config and the state of `HyperStyle`.

    Args:
        state: 'state_dict' of hyperstyle_ffhq.pt; a copy of the encoder in it is left out.
        latent_avg: its 'latent_avg'.
        encoder: 'encoder.' of faces_w_encoder.pt.

    Raises:
        WeightsError: a key is unknown, the mean latent differs between styles, or a head's copy of
            the shared hyper-layer differs from it.
    """
    own = {key: value for key, value in state.items() if not key.startswith("w_encoder.")}
    parts = split(own, ("hypernet", "decoder"), "HyperStyle")
    config, generator = generator_state(parts["decoder"], mean_latent(latent_avg))
    hypernet = parts["hypernet"]
    _check_aliases(hypernet)
    norms = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
    rules: Rules = [
        (r"conv1\.weight", "stem.0.weight"),
        (rf"bn1\.{norms}", r"stem.1.\1"),
        (r"relu\.weight", "stem.2.weight"),
        (r"body\.(\d+)\.conv([12])\.weight", r"body.\1.conv\2.weight"),
        (rf"body\.(\d+)\.bn([12])\.{norms}", r"body.\1.norm\2.\3"),
        (r"body\.(\d+)\.downsample\.(.+)", r"body.\1.shortcut.\2"),
        (rf"{SHARED}\.([wb][12])", r"shared.\1"),
        (r"refinement_blocks\.\d+\.hypernet\.[wb][12]", None),
        (
            r"refinement_blocks\.(\d+)\.convs\.(\d+)\.(weight|bias)",
            lambda m: f"heads.{_layer(int(m[1]))}.convs.{int(m[2]) // 2}.{m[3]}",
        ),
        (
            r"refinement_blocks\.(\d+)\.(linear|output\.1)\.(weight|bias)",
            lambda m: f"heads.{_layer(int(m[1]))}.{m[2].partition('.')[0]}.{m[3]}",
        ),
    ]
    return config, joined(
        generator=generator,
        encoder=single_style_state(encoder),
        hypernetwork=renamed(hypernet, rules, "HyperStyle"),
    )


def hyperinverter_state(
    state: Mapping[str, Tensor], encoder: Mapping[str, Tensor] | None, generator: State
) -> State:
    """Return the state of `HyperInverter`.

    Args:
        state: 'state_dict' of its checkpoint; the discriminator of its training is left out.
        encoder: 'encoder.' of the W encoder's file; None takes the checkpoint's own copy.
        generator: G in our layout.

    Raises:
        WeightsError: a key is unknown, or there is no encoder to W.
    """
    parts = split(
        {key: value for key, value in state.items() if not key.startswith("discriminator.")},
        ("hypernet", "w_bar_encoder", *(["w_encoder"] if _has(state, "w_encoder.") else [])),
        "HyperInverter",
    )
    encoder = parts.get("w_encoder") if encoder is None else encoder
    if encoder is None:
        raise WeightsError(
            "HyperInverter: the checkpoint holds no encoder to W; pass the file of that encoder too"
        )
    inside = {"w1": "w1", "b1": "b1", "w2": "w2", "b2": "b2"}
    inside |= {f"fusion.0.{leaf}": f"fuse.{leaf}" for leaf in ("weight", "bias")}

    def name(match: re.Match[str]) -> str:
        block, kind, rest = int(match[1]).bit_length() - 3, match[2], match[3]
        conv = re.fullmatch(r"feature_extractor\.(\d+)\.(weight|bias)", rest)
        if conv is not None:
            rest = f"convs.{int(conv[1]) // 2}.{conv[2]}"
        elif rest in inside:
            rest = inside[rest]
        else:
            raise WeightsError(f"HyperInverter: the checkpoint holds {match[0]!r}, unknown there")
        layer = 2 * block - 1 + int(kind[-1]) if kind != "torgb" else block
        return f"{'to_rgb' if kind == 'torgb' else 'layers'}.{layer}.{rest}"

    rules: Rules = [(r"weight_regressors\.b(\d+)_(conv[01]|torgb)_weight\.(.+)", name)]
    return {
        **joined(
            generator=generator,
            encoder=single_style_state(encoder),
            layer_codes=_layer_codes(parts["w_bar_encoder"]),
        ),
        **renamed(parts["hypernet"], rules, "HyperInverter"),
    }


def _layer_codes(state: Mapping[str, Tensor]) -> State:
    """The trunk and pyramid are e4e's; a head is its convolutions alone."""
    heads = without_prefix(state, "styles.")
    rest = {key: value for key, value in state.items() if not key.startswith("styles.")}
    rules: Rules = [
        (
            r"(\d+)\.convs\.(\d+)\.(weight|bias)",
            lambda match: f"heads.{match[1]}.{int(match[2]) // 2}.{match[3]}",
        )
    ]
    return {**e4e_state(rest), **renamed(heads, rules, "HyperInverter")}


def _layer(count: int) -> int:
    """Number of a convolution, from HyperStyle's count of all layers."""
    if count % 3 == 1:
        raise WeightsError(f"HyperStyle: it changes layer {count}, which draws RGB; only others do")
    return count - (count + 1) // 3


def _check_aliases(hypernet: Mapping[str, Tensor]) -> None:
    """Heads must hold the shared hyper-layer itself; equal memory needs no look inside."""
    for key, tensor in hypernet.items():
        match = re.fullmatch(r"refinement_blocks\.\d+\.hypernet\.([wb][12])", key)
        if match is None:
            continue
        own = hypernet.get(f"{SHARED}.{match[1]}")
        if own is None or not _equal(tensor, own):
            raise WeightsError(f"HyperStyle: {key!r} differs from '{SHARED}.{match[1]}'")


def _equal(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors agree; the same memory does."""
    if tensor.shape == other.shape and tensor.data_ptr() == other.data_ptr():
        return True
    return torch.equal(tensor, other)


def _has(state: Mapping[str, Tensor], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in state)
