"""A model on disk: a folder with config.json and one safetensors file per network.

    config.json                 format number and ModelConfig
    generator.safetensors       G, latent_avg and noise buffers included
    e4e.safetensors             E
    inverter.safetensors        I
    feature_editor.safetensors  H
    delta_downsampler.safetensors   only for models that take Delta at another layer

A load is strict: a missing or additional tensor is an error, so no weight is ever random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import CONFIG_FILE, member, whole
from stylefeatureeditor.generator.layers import ModulatedConv
from stylefeatureeditor.model import Model, ModelConfig
from stylefeatureeditor.weights.configs import from_plain, to_plain
from stylefeatureeditor.weights.storage import load_tensors, read_json, save_tensors, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

FORMAT = 1


def save_model(
    model: Model,
    folder: Path,
    *,
    header: Mapping[str, str] | None = None,
    float_dtype: torch.dtype | None = None,
) -> None:
    """Write a model folder as a whole: if it fails or is killed, an older model stays as it was.

    `header` is provenance kept in every file: source, sha256, step; `float_dtype` is that on disk,
    None keeps the weights'. WeightsError if the folder cannot be written, or the networks hold no
    weights.
    """
    if model.source_fingerprint is not None:
        raise WeightsError(
            "these networks are made to run, in another precision or as graphs, not to be saved: "
            "open the model with backend 'torch' in float32"
        )
    with whole(folder) as stage:
        for name, network in model.named_children():
            path = stage / f"{name}.safetensors"
            save_tensors(path, network.state_dict(), header or {}, float_dtype)
        save_config(model.config, stage)


def save_config(config: ModelConfig, folder: Path) -> None:
    """Write config.json, which makes a folder a model; WeightsError if it cannot be written."""
    write_json(folder / CONFIG_FILE, {"format": FORMAT, "model": to_plain(config)})


def load_config(folder: Path) -> ModelConfig:
    """Read the config of a model folder; WeightsError without one of this format."""
    file = member(folder, CONFIG_FILE)
    if not file.is_file():
        raise WeightsError(
            f"{folder} is not a model folder: it has no {CONFIG_FILE}; `sfe models convert` makes "
            "one from published checkpoints"
        )
    content = read_json(file)
    if "method" in content:
        raise WeightsError(
            f"{folder} holds the method {content['method']}: this needs a model of "
            "StyleFeatureEditor itself"
        )
    if content.get("format") != FORMAT:
        raise WeightsError(f"{file}: expected format {FORMAT}, got {content.get('format')!r}")
    return from_plain(ModelConfig, content.get("model"), CONFIG_FILE)


def load_model(folder: Path) -> Model:
    """Read a model folder, in float32 on the CPU.

    WeightsError if a file is missing or damaged, or its tensors do not fit the config.
    """
    config = load_config(folder)
    with torch.device("meta"):
        model = Model(config)
    for name, network in model.named_children():
        path = member(folder, f"{name}.safetensors")
        tensors, _ = load_tensors(path)
        assign_state(network, tensors, str(path))
    return model


def assign_state(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Give a network, also one on "meta", its float32 weights; WeightsError unless all fit."""
    expected = network.state_dict()
    missing, unknown = sorted(expected.keys() - state), sorted(state.keys() - expected)
    if missing or unknown:
        raise WeightsError(
            f"{where}: {len(missing)} tensors are missing and {len(unknown)} unknown "
            f"(first: {(missing + unknown)[0]})"
        )
    ready = {}
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise WeightsError(
                f"{where}: {name} should be {tuple(expected[name].shape)}, "
                f"got {tuple(tensor.shape)}"
            )
        if tensor.is_floating_point() != expected[name].is_floating_point():
            kind = "floats" if expected[name].is_floating_point() else "whole numbers"
            raise WeightsError(f"{where}: {name} should hold {kind}, got {tensor.dtype}")
        ready[name] = tensor.float() if tensor.is_floating_point() else tensor
    network.load_state_dict(ready, assign=True)
    for module in network.modules():
        if isinstance(module, ModulatedConv):
            module.reset_constants()
    network.requires_grad_(requires_grad=False)
