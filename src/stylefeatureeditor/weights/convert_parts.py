"""One published network alone, as a file in our layout: what training starts from.

    generator   stylegan2-pytorch .pt or NVIDIA .pkl     generator.safetensors
    e4e         {'state_dict': {'encoder.*'}}            e4e.safetensors
    ir_se50     ArcFace IR-SE50 .pth                     ir_se50.safetensors   (e4e's trunk)
    iresnet50   ArcFace iresnet50 .pth                   iresnet50.safetensors (the Inverter's)

Each file carries its sizes as JSON under "config" in its header.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor.backbones.ir_se50 import IRConfig, IRTrunk
from stylefeatureeditor.backbones.iresnet import IResNetConfig, IResNetTrunk
from stylefeatureeditor.editing.e4e import E4e, E4eConfig
from stylefeatureeditor.generator.stylegan2 import Generator
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.configs import to_plain
from stylefeatureeditor.weights.convert import read_checkpoint, read_generator, tensors_of
from stylefeatureeditor.weights.released import (
    e4e_state,
    ir_trunk_state,
    iresnet_trunk_state,
    without_prefix,
)
from stylefeatureeditor.weights.storage import save_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from stylefeatureeditor.weights.released import State

PARTS = ("generator", "e4e", "ir_se50", "iresnet50")


def convert_part(
    part: str,
    source: Path,
    target: Path,
    *,
    header: Mapping[str, str],
    float_dtype: torch.dtype | None = None,
) -> None:
    """Read one published network and write it in our layout.

    Args:
        part: one of PARTS.
        source: its published file.
        target: the safetensors file to write; its folder must exist.
        header: provenance to keep in the file.
        float_dtype: dtype on disk; None keeps float32.

    Raises:
        WeightsError: the file is damaged or holds something else, or `target` cannot be written.
    """
    kind, config, state = _read(part, source)
    with torch.device("meta"):
        network = kind(config)
    assign_state(network, state, str(source))
    described = {**header, "part": part, "config": json.dumps(to_plain(config))}
    save_tensors(target, network.state_dict(), described, float_dtype)


def _read(part: str, source: Path) -> tuple[Callable[[Any], nn.Module], Any, State]:
    if part == "generator":
        config, state = read_generator(source)
        return Generator, config, state
    content = read_checkpoint(source)
    if part == "e4e":
        wrapped = tensors_of(content.get("state_dict"), source)
        state = e4e_state(without_prefix(wrapped, "encoder."))
        styles = len({key.split(".")[1] for key in state if key.startswith("heads.")})
        encoder = E4eConfig(num_styles=max(styles, 1))
        return E4e, encoder, state
    tensors = tensors_of(content.get("state_dict", content), source)
    if part == "ir_se50":
        return IRTrunk, IRConfig(), ir_trunk_state(tensors)
    return IResNetTrunk, IResNetConfig(), iresnet_trunk_state(tensors)
