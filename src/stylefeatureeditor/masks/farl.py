"""FaRL face parser: a CLIP-like transformer read at four depths, and a UPerNet head.

Paper: Zheng et al., "General Facial Representation Learning in a Visual-Linguistic Manner" (FaRL),
CVPR 2022. Network: FacePerceiver/FaRL (`farl/network/transformers.py`, `mmseg.py`,
`experiments/face_parsing/`; MIT). Weights: the TorchScript archives of FacePerceiver/facer (MIT),
`face_parsing.farl.lapa.main_ema_136500_jit191.pt`, which the release of StyleFeatureEditor uses,
and `face_parsing.farl.celebm.main_ema_181500_jit.pt`. LaPa and CelebAMask-HQ are for
non-commercial research.

Shapes: B batch, K classes, S input side (448), G = S / 16 tokens a side, D width, T output side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.masks.farl_trunk import FarlTrunk
from stylefeatureeditor.masks.layers import standardise
from stylefeatureeditor.masks.released_state import load_renamed, released_keys
from stylefeatureeditor.masks.uper_head import UperHead

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

_STATISTICS = {"backbone.image_mean": CLIP_MEAN, "backbone.image_std": CLIP_STD}
_UNUSED = (
    *_STATISTICS,
    "backbone.visual.ln_post.weight",  # CLIP's way to its embedding; parsing does not take it
    "backbone.visual.ln_post.bias",
    "backbone.visual.proj",
)


@dataclass(frozen=True, kw_only=True)
class FarlConfig:
    """Sizes of the network; the defaults are the published LaPa model (ViT-B/16 at 448)."""

    num_classes: int = 11
    input_size: int = 448
    patch: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    taps: tuple[int, int, int, int] = (3, 5, 7, 11)
    head_channels: int = 768
    output_size: int = 512

    def __post_init__(self) -> None:
        if self.input_size % self.patch or self.width % self.heads:
            raise ConfigError(
                "FaRL: expected an input_size that patch divides and a width that heads divides, "
                f"got {self.input_size} / {self.patch} and {self.width} / {self.heads}"
            )
        if sorted(set(self.taps)) != list(self.taps) or not 0 <= self.taps[-1] < self.layers:
            raise ConfigError(
                f"FaRL: expected ascending taps below {self.layers} layers, got {self.taps}"
            )


def farl_lapa() -> FarlConfig:
    """The 11-class model, which the release takes the background from."""
    return FarlConfig()


def farl_celebamask_hq() -> FarlConfig:
    """The 19-class model: also ears, neck, clothes, glasses, hat, earrings, necklace."""
    return replace(FarlConfig(), num_classes=19)


class TokenPyramid(nn.Module):
    """Four maps of one size -> strides 4, 8, 16 and 32 of a patch-16 transformer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enlarge4 = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, stride=2),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, stride=2),
        )
        self.enlarge2 = nn.ConvTranspose2d(width, width, 2, stride=2)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """(B, D, G, G) x 4 -> sides 4 G, 2 G, G and G / 2 (rounded down)."""
        first, second, third, last = maps
        halved = functional.max_pool2d(last, kernel_size=2, stride=2)
        return [self.enlarge4(first), self.enlarge2(second), third, halved]


class FarlNetwork(nn.Module):
    """The network: a warped face in, one logit per class and pixel out."""

    def __init__(self, config: FarlConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = FarlTrunk(
            config.input_size, config.patch, config.width, config.layers, config.heads
        )
        self.pyramid = TokenPyramid(config.width)
        self.head = UperHead((config.width,) * 4, config.head_channels, config.num_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (B, K, T, T) of a face (B, 3, S, S) in [-1, 1].

        The face must lie as in training: see `face_frame.py`.

        Raises:
            ShapeError: `pixels` is not (B, 3, S, S).
        """
        maps = self.trunk(standardise(pixels, CLIP_MEAN, CLIP_STD), self.config.taps)
        logits = self.head(self.pyramid(maps))
        size = (self.config.output_size, self.config.output_size)
        return functional.interpolate(logits, size, mode="bilinear", align_corners=False)


def released_farl_keys(network: FarlNetwork) -> dict[str, str]:
    """Map the tensor names of the published archives to those of `network`."""
    visual = "backbone.visual"
    modules = {
        "trunk.patches": f"{visual}.conv1",
        "trunk.class_token": f"{visual}.class_embedding",
        "trunk.positions": f"{visual}.positional_embedding",
        "trunk.norm": f"{visual}.ln_pre",
        "pyramid.enlarge2": "backbone.fpns.1",
        "head.classify": "head.head.conv_seg",
    }
    for layer in range(network.config.layers):
        ours, theirs = f"trunk.blocks.{layer}", f"{visual}.transformer.resblocks.{layer}"
        modules |= {
            f"{ours}.norm1": f"{theirs}.ln_1",
            f"{ours}.attention.qkv.weight": f"{theirs}.attn.in_proj_weight",
            f"{ours}.attention.qkv.bias": f"{theirs}.attn.in_proj_bias",
            f"{ours}.attention.out": f"{theirs}.attn.out_proj",
            f"{ours}.norm2": f"{theirs}.ln_2",
            f"{ours}.widen": f"{theirs}.mlp.c_fc",
            f"{ours}.narrow": f"{theirs}.mlp.c_proj",
        }
    modules |= {f"pyramid.enlarge4.{i}": f"backbone.fpns.0.{i}" for i in (0, 1, 3)}
    pairs = {"join_pooled": "bottleneck", "join_levels": "fpn_bottleneck"}
    pairs |= {f"pooled.{i}": f"psp_modules.{i}.1" for i in range(4)}
    for level in range(3):
        pairs |= {f"lateral.{level}": f"lateral_convs.{level}"}
        pairs |= {f"smooth.{level}": f"fpn_convs.{level}"}
    for name, published in pairs.items():
        modules[f"head.{name}.conv"] = f"head.head.{published}.conv"
        modules[f"head.{name}.norm"] = f"head.head.{published}.bn"
    return released_keys(network, modules)


def load_released_farl(network: FarlNetwork, state: Mapping[str, Tensor]) -> None:
    """Copy the tensors of a published archive (name -> tensor) into `network`.

    Raises:
        WeightsError: a name is missing or unknown, a tensor has another shape, or the archive
            standardises its input otherwise than CLIP does.
    """
    for name, expected in _STATISTICS.items():
        found = state[name].flatten().tolist() if name in state else list(expected)
        same = len(found) == len(expected) and all(
            abs(a - b) < 1e-6 for a, b in zip(found, expected, strict=True)
        )
        if not same:
            raise WeightsError(
                f"FaRL weights: expected {name} to be {expected}, got {found}; "
                "this is not a published FaRL parser"
            )
    load_renamed(network, state, released_farl_keys(network), unused=_UNUSED)
