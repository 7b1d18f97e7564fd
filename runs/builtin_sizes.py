"""Megabytes in float16 of the model that `builtin_gpu.sh` trains, from its settings alone.

    python runs/builtin_sizes.py SIZE CHANNEL_BASE CHANNEL_MAX STYLE WIDTH

The package ships G, E, I and H; KEEP holds D and the two classifiers (4 MB) beside them.
"""

from __future__ import annotations

import sys

import torch

from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.model import Model
from stylefeatureeditor.training.presets import model_config, small_model
from stylefeatureeditor.training.run_folder import fresh_discriminator


def main(size: int, base: int, most: int, style: int, width: int) -> None:
    """Print a line for each network."""
    generator = GeneratorConfig(
        size=size, style_dim=style, mapping_layers=4, channel_base=base, channel_max=most
    )
    layer = model_config("small", generator).feature_layer
    with torch.device("meta"):
        model = Model(small_model("faces", generator, layer, width=width))
        discriminator = fresh_discriminator(generator)
    shipped = {name: megabytes(network) for name, network in model.named_children()}
    lines = shipped | {"shipped": sum(shipped.values()), "D": megabytes(discriminator)}
    sys.stdout.writelines(f"{name:16} {value:5.1f}\n" for name, value in lines.items())
    channels, side = generator.layer_shape(layer)
    sys.stdout.write(f"F_k is {side} x {side} x {channels}\n")


def megabytes(network: torch.nn.Module) -> float:
    """Return the size of all tensors at two bytes a number."""
    return sum(tensor.numel() for tensor in network.state_dict().values()) * 2 / 1e6


if __name__ == "__main__":
    main(*map(int, sys.argv[1:6]))
