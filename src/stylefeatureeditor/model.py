"""The networks of the method together, and the sizes they share.

E, I, H and G of Eq. 1-7; `Model` only holds them, `methods/sfe.py` runs them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from math import isfinite, prod
from typing import ClassVar, Literal

from torch import nn

from stylefeatureeditor.editing.delta import DeltaDownsampler, DeltaDownsamplerConfig
from stylefeatureeditor.editing.e4e import E4e, E4eConfig
from stylefeatureeditor.editing.feature_editor import FeatureEditor, FeatureEditorConfig
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.inversion.fuser import FuserConfig
from stylefeatureeditor.inversion.inverter import Inverter, InverterConfig


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How the model's training images frame a face, against the FFHQ crop."""

    scale: float = 1.0  # side of the crop, in units of the FFHQ crop's side
    shift: tuple[float, float] = (0.0, 0.0)  # (right, down) move of its centre, in the same units

    def __post_init__(self) -> None:
        if not (self.scale > 0 and all(map(isfinite, (self.scale, *self.shift)))):
            raise ConfigError(f"framing needs a scale above 0 and a finite shift, got {self}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that fixes the networks' shapes; the defaults are the released face model."""

    method: ClassVar[str] = "sfe"  # its word among the methods
    name: str = "model"
    catalog: str | None = None  # family of published directions that fit G: "ffhq" or "cars"
    feature_layer: int = 9  # k
    delta_layer: int = 9  # 11 for cars
    encoder_size: int = 256  # side of the photo as E and I see it
    framing: Framing = field(default_factory=Framing)
    blend: Literal["feather", "residual", "poisson", "none"] = "feather"  # way back into the photo
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    e4e: E4eConfig = field(default_factory=E4eConfig)
    inverter: InverterConfig = field(default_factory=InverterConfig)
    feature_editor: FeatureEditorConfig = field(default_factory=FeatureEditorConfig)
    delta_downsampler: DeltaDownsamplerConfig | None = None

    def __post_init__(self) -> None:
        generator, encoder, down = self.generator, self.inverter.encoder, self.delta_downsampler
        for layer in (self.feature_layer, self.delta_layer):
            if not 1 <= layer <= generator.num_layers:
                raise ConfigError(f"layer {layer} is outside 1..{generator.num_layers}")
        channels, side = generator.layer_shape(self.feature_layer)
        fine_channels, fine_side = generator.layer_shape(self.delta_layer)
        styles, width = generator.num_styles, generator.style_dim
        predicted_side = self.encoder_size // prod(encoder.trunk.strides[:3])
        fuser = self.inverter.fuser or FuserConfig(channels=channels)
        wanted = (fine_channels, channels, fine_side)
        agrees = {
            f"a {generator.size} px generator has {styles} styles, but e4e has "
            f"{self.e4e.num_styles} and the Inverter {encoder.num_styles}": (
                self.e4e.num_styles == encoder.num_styles == styles
            ),
            "style_dim of generator, e4e and Inverter must agree": (
                self.e4e.style_dim == encoder.style_dim == width
            ),
            f"e4e sees {self.e4e.size} px, encoder_size is {self.encoder_size}": (
                self.e4e.size == self.encoder_size
            ),
            f"layer {self.feature_layer} of the generator is {channels} x {side} x {side}, but "
            f"the Inverter predicts {encoder.feature_channels} x {predicted_side} x "
            f"{predicted_side}": (encoder.feature_channels, predicted_side) == (channels, side),
            f"the Fuser needs {channels} channels": fuser.channels == channels,
            f"the Feature Editor needs {channels} channels": (
                self.feature_editor.channels == channels
            ),
            "delta_downsampler is needed exactly when delta_layer is not k": (
                (self.delta_layer != self.feature_layer) == (down is not None)
            ),
            f"delta_downsampler must take {fine_channels} x {fine_side} x {fine_side} to "
            f"{channels} x {side} x {side}, got {down}": (
                down is None or (down.in_channels, down.out_channels, down.stride * side) == wanted
            ),
        }
        for sentence, holds in agrees.items():
            if not holds:
                raise ConfigError(sentence)


class Model(nn.Module):
    """G, E, I and H, in eval mode; `delta_downsampler` for models such as cars, else None.

    Attributes:
        source_fingerprint: of the model whose work these networks do, where they hold no weights of
            their own to tell it from (`runtimes/`); None where they do.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.source_fingerprint: str | None = None
        self.generator = Generator(config.generator)
        self.e4e = E4e(config.e4e)
        self.inverter = Inverter(config.inverter)
        self.feature_editor = FeatureEditor(config.feature_editor)
        downsampler = config.delta_downsampler
        self.delta_downsampler = None if downsampler is None else DeltaDownsampler(downsampler)
        self.eval()

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with the config and the weights."""
        return self.source_fingerprint or network_fingerprint(self, self.config)


def network_fingerprint(network: nn.Module, config: object = None) -> str:
    """Return the same of any network; `config` is whatever else decides what it does."""
    digest = hashlib.sha256(repr(config).encode())
    for value in network.state_dict().values():
        if value.is_floating_point():
            part = value[0] if value.ndim else value  # enough: training moves every tensor
            digest.update(part.detach().flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
