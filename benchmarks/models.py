"""Networks with random weights; our model at the sizes that are timed, and a direction each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from stylefeatureeditor.backbones.ir_se50 import IRConfig
from stylefeatureeditor.backbones.iresnet import IResNetConfig
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.editing.feature_editor import FeatureEditorConfig
from stylefeatureeditor.generator.layers import ModulatedConv
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.inversion.feature_style_encoder import FeatureStyleEncoderConfig
from stylefeatureeditor.inversion.fuser import FuserConfig
from stylefeatureeditor.inversion.inverter import InverterConfig
from stylefeatureeditor.model import Model, ModelConfig

if TYPE_CHECKING:
    from collections.abc import Callable

Network = TypeVar("Network", bound=nn.Module)
SIZES = (64, 256, 1024)


def config_of(size: int) -> ModelConfig:
    """Return the released architecture at 256 and 1024 px, and a small model at 64 px."""
    if size > 64:
        generator = GeneratorConfig(size=size)
        styles = generator.num_styles
        encoder = FeatureStyleEncoderConfig(num_styles=styles)
        return ModelConfig(
            name=f"random-{size}",
            generator=generator,
            e4e=replace(E4eConfig(), num_styles=styles),
            inverter=InverterConfig(encoder=encoder),
        )
    generator = GeneratorConfig(
        size=size, style_dim=256, mapping_layers=4, channel_base=2048, channel_max=256
    )
    styles, layer = generator.num_styles, 5
    channels, _ = generator.layer_shape(layer)
    trunk = (32, 64, 128, 128)
    encoder = FeatureStyleEncoderConfig(
        num_styles=styles,
        style_dim=256,
        feature_channels=channels,
        trunk=IResNetConfig(stem_channels=32, channels=trunk, depths=(2, 2, 4, 2)),
    )
    return ModelConfig(
        name=f"random-{size}",
        feature_layer=layer,
        delta_layer=layer,
        encoder_size=size,
        generator=generator,
        e4e=E4eConfig(
            size=size,
            num_styles=styles,
            style_dim=256,
            trunk=IRConfig(channels=trunk, depths=(2, 2, 4, 2)),
        ),
        inverter=InverterConfig(encoder=encoder, fuser=FuserConfig(channels=channels)),
        feature_editor=FeatureEditorConfig(channels=channels),
    )


def random_model(config: ModelConfig) -> Model:
    """Return a model with random weights that keep activations of sane size."""
    return random_network(lambda: Model(config))


def random_network(make: Callable[[], Network]) -> Network:
    """Return what `make` makes, with such weights; each tensor's memory is taken once."""
    torch.manual_seed(0)
    with torch.device("meta"):
        network = make()
    network = network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, ModulatedConv):
            module.reset_constants()
        for name, tensor in module.named_parameters(recurse=False):
            scale = 1.0 if tensor.ndim < 2 else tensor[0].numel() ** -0.5
            tensor.data.normal_(0, scale if name == "weight" else 0.1)
        for tensor in module.buffers(recurse=False):
            if tensor.is_floating_point():
                tensor.normal_(0, 0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.fill_(1)
            module.running_mean.zero_()
            module.running_var.fill_(1)
            module.num_batches_tracked.zero_()
        if isinstance(module, ModulatedConv):
            module.reset_constants()
            module.weight.data.normal_()
            module.affine.bias.data.fill_(1)
    return network.eval().requires_grad_(requires_grad=False)


def direction_of(config: ModelConfig) -> EditDirection:
    """Return a random direction, the same in every run."""
    width = config.generator.style_dim
    draw = torch.Generator().manual_seed(0)
    return EditDirection.linear(torch.randn(width, generator=draw) / width**0.5)
