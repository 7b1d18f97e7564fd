"""Seeded weights of the methods that the paper compares with: the rule of `seeded`, extended.

A tensor is drawn from "<method>." + its key, and scaled by its key alone. The kinds that `seeded`
does not know, because their networks name or use their weights otherwise, are told here.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING

import torch

from released import GOLDEN, layouts
from seeded import draw, tensor_for
from stylefeatureeditor.generator.layers import blur_kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

# Owners of weights that their layer scales at run time; # stands for any number.
_EQUALIZED = {
    "psp": {"encoder.styles.#.linear", "encoder_w.linear"},
    "restyle_psp": {"encoder.styles.#.linear"},
    "restyle_e4e": {"encoder.styles.#.linear"},
    "styleres": {"e4e.styles.#.linear"},
    "hyperstyle": {"w_encoder.linear", "hypernet.refinement_blocks.#.linear"},
    "hyperinverter": {"w_encoder.linear"},
    "padinv": {"encoder.latent_heads.#.linear"},
    "hfgi": {
        "encoder.styles.#.linear",
        *(f"residue.condition_{what}3.{conv}" for what in ("scale", "shift") for conv in (0, 2)),
    },
}
# Where a method keeps a generator that does not have the usual names.
_GENERATORS = {
    "styleres": "generator_smooth.",
    "hyperinverter": "decoder.",
    "pti": "decoder.",
    "padinv": "generator.",
}
_UNSEEDED = ("kernel", "resample_filter", "filter", "num_batches_tracked")
_SHARED_HYPER_LAYER = r"hypernet\.(?:shared_weight_hypernet|refinement_blocks\.\d+\.hypernet)\."


def comparison_value(
    method: str, key: str, shape: Sequence[int], *, batch_norm: bool = False
) -> Tensor:
    """Value of the tensor `key` of a method's checkpoint."""
    shared = re.fullmatch(_SHARED_HYPER_LAYER + "([wb][12])", key)
    if shared:
        # in place: one of these is half a gigabyte
        return draw(f"{method}.hypernet.shared_weight_hypernet.{shared[1]}", shape).div_(40)
    name = f"{method}.{key}"
    if key.startswith(_GENERATORS.get(method, "\0")):
        return _in_generator(key, draw(name, shape))
    owner, _, leaf = key.rpartition(".")
    special = _special(method, owner, leaf)
    if special is not None:
        gain, offset = special
        return draw(name, shape) * gain + offset
    if method == "hyperinverter" and leaf in ("w1", "w2"):
        return draw(name, shape).div_(shape[0] ** 0.5)
    short = key.replace(".module.", ".") if method == "style_transformer" else key
    value = tensor_for(short, shape, batch_norm=batch_norm, drawn_as=name)
    ends_branch = leaf in ("weight", "bias") and re.fullmatch(r"hypernet\.body\.\d+\.bn2", owner)
    return value * 0.3 if ends_branch and batch_norm else value


def _special(method: str, owner: str, leaf: str) -> tuple[float, float] | None:
    """(gain, offset) of a draw, for the kinds that `seeded` does not know."""
    if leaf == "weight" and re.sub(r"\d+", "#", owner) in {
        re.sub(r"\d+", "#", known) for known in _EQUALIZED.get(method, ())
    }:
        return 1, 0
    if method == "style_transformer":
        if leaf == "z":
            return 1, 0
        if leaf == "in_proj_bias":
            return 0.1, 0
        if leaf == "weight" and re.search(r"norm\d$", owner):
            return 0.1, 1
    if method == "hyperinverter" and leaf in ("b1", "b2"):
        return 0.1, 0
    return None


def _in_generator(key: str, normal: Tensor) -> Tensor:
    """Value in a generator of NVIDIA's or Hammer's names."""
    parts = key.split(".")
    leaf = parts[-1]
    if any(part.startswith("modify_feature_") for part in parts):
        fan_in = normal[0].numel()
        value = normal * 0.1 if leaf == "bias" else normal / fan_in**0.5
        return value * 0.3 if parts[-3:-1] == ["res_layer", "2"] else value
    if leaf == "w_avg":
        return normal * 0.5
    if "mapping" in parts:
        return normal * (100 if leaf == "weight" else 10)
    if leaf == "bias":
        return normal * 0.1 + (1 if parts[-2] in ("affine", "style") else 0)
    if leaf == "noise_strength":
        return normal * 0.1
    if leaf == "weight" and re.fullmatch(r"torgb|output\d+", parts[-2]):
        return normal * 0.2
    return normal


def comparison_latent_avg(method: str) -> Tensor:
    """Mean latent of a method, (512,)."""
    return draw(f"{method}.latent_avg", (512,)) * 0.5


@cache
def comparison_layout(method: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the (key, shape) pairs of a method's checkpoint.

    The file lists what is the method's own; a network that it shares with another published file
    is [its prefix here, that file, its prefix there].
    """
    stored = json.loads((GOLDEN / "cmp_layouts.json").read_text())[method]
    entries = [(key, tuple(shape)) for key, shape in stored["own"]]
    for prefix, layout, other in stored["shared"]:
        entries += [
            (prefix + key[len(other) :], tuple(shape))
            for key, shape in layouts()[layout]
            if key.startswith(other)
        ]
    return tuple(entries)


def comparison_state(method: str, keep: str = "") -> dict[str, Tensor]:
    """Return the tensors of a method's checkpoint whose key starts with `keep`."""
    entries = comparison_layout(method)
    keys = {key for key, _ in entries}
    state = {}
    for key, shape in entries:
        owner, _, leaf = key.rpartition(".")
        if not key.startswith(keep) or key == "latent_avg":
            continue
        if leaf not in _UNSEEDED:
            norm = f"{owner}.running_var" in keys
            state[key] = comparison_value(method, key, shape, batch_norm=norm)
        elif leaf == "num_batches_tracked":
            state[key] = torch.zeros(shape, dtype=torch.int64)
        else:
            state[key] = blur_kernel(gain=4.0 if leaf == "kernel" else 1.0)
    return state


def part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries under `prefix`, the prefix removed."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def repeated_latent_avg(method: str) -> Tensor:
    """Mean latent as most of these checkpoints store it, (18, 512)."""
    return comparison_latent_avg(method).repeat(18, 1)


def with_aliases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return HyperStyle's state as its file has it: each head names the shared tensors too."""
    shared = part(state, "hypernet.shared_weight_hypernet.")
    heads = {key.split(".")[2] for key in state if ".linear." in key and "_blocks." in key}
    return state | {
        f"hypernet.refinement_blocks.{head}.hypernet.{leaf}": tensor
        for head in heads
        for leaf, tensor in shared.items()
    }
