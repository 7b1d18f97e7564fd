"""PadInv: besides the codes, the encoder gives the padding of the generator's first features.

    w = latent_avg + E(X)                                  E: pSp's encoder
    m = up(P(middle)),   m_l = conv1x1_l(m)                middle: E's pyramid at 1/8; up to 34 x 34
    G's constant := the centre of m; the zeros that pad layers 0, 2, 4, 6 := rings of m_0 .. m_6
    X' = G(w'; the same surroundings)

    P: two IR-SE blocks. A map is cut out at its centre to the layer's side + 2; the layer's input,
    scaled by its style, covers all but the outermost ring, which stays unscaled.

Paper: Bai et al., "High-fidelity GAN Inversion with Padding Space", ECCV 2022. Code:
EzioBy/padinv, which has no licence file; no trained encoder is published.

Shapes: B batch, C channels (512), S_M side of the maps (34).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.ir_se50 import IRBlock
from stylefeatureeditor.editing.e4e import E4eConfig, PyramidEncoder
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.stylegan2 import Padding
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.methods.pixels import shrink
from stylefeatureeditor.records import Codes


@dataclass(frozen=True, kw_only=True)
class PadInvConfig(MethodConfig):
    """Parts of PadInv; the defaults are the face model of the paper."""

    encoder: E4eConfig = field(default_factory=E4eConfig)
    layers: tuple[int, ...] = (0, 2, 4, 6)  # whose zeros are replaced

    def __post_init__(self) -> None:
        if not self.layers or any(layer % 2 for layer in self.layers):
            raise ConfigError(f"layers that keep their side are even, got {self.layers}")

    @property
    def map_side(self) -> int:
        """S_M: the side of the last layer, and its ring."""
        return self.generator.side(max(self.layers)) + 2


class PaddingNetwork(nn.Module):
    """P and the 1x1 convolutions."""

    def __init__(self, channels: int, config: PadInvConfig) -> None:
        super().__init__()
        squeeze = config.encoder.trunk.squeeze
        self.map_side = config.map_side
        self.extract = nn.Sequential(*(IRBlock(channels, channels, 1, squeeze) for _ in range(2)))
        self.modulate = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel_size=1) for _ in config.layers
        )

    def forward(self, middle: Tensor) -> list[Tensor]:
        """(B, C, S, S) -> m and one map per layer, each (B, C, S_M, S_M)."""
        side = (self.map_side, self.map_side)
        shared = functional.interpolate(
            self.extract(middle), side, mode="bicubic", align_corners=True
        )
        return [shared, *(conv(shared) for conv in self.modulate)]


class PadInv(Method):
    """PadInv for faces."""

    config: PadInvConfig

    def __init__(self, config: PadInvConfig) -> None:
        super().__init__(config)
        self.encoder = PyramidEncoder(config.encoder)
        self.padding = PaddingNetwork(config.encoder.trunk.channels[-1], config)

    def encode(self, photos: Tensor) -> Inversion:
        """(B, 3, S, S) in [-1, 1] -> codes and surroundings."""
        levels = self.encoder.levels(shrink(photos, self.config.encoder.size))
        codes = Codes(self.generator.latent_avg + self.encoder.styles(levels))
        shared, *maps = self.padding(levels.middle)
        sides = [self.config.generator.side(layer) + 2 for layer in self.config.layers]
        borders = {
            layer: _centre(own, side)
            for layer, own, side in zip(self.config.layers, maps, sides, strict=True)
        }
        return Inversion(codes, kept=Padding(_centre(shared, 4), borders))

    def draw(self, codes: Codes, kept: Padding) -> Tensor:
        """Return X'; kept is what the first layers of G see."""
        return self.generator.run_to(codes, self.config.generator.num_layers, kept).rgb


def _centre(maps: Tensor, side: int) -> Tensor:
    """(B, C, S_M, S_M) -> its middle (B, C, side, side)."""
    start = (maps.shape[-1] - side) // 2
    return maps[:, :, start : start + side, start : start + side]
