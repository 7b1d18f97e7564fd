"""FaRL face parser: a CLIP-like transformer read at four depths, and a UPerNet head.

Papers: Zheng et al., "General Facial Representation Learning in a Visual-Linguistic Manner" (FaRL),
CVPR 2022; Radford et al. (CLIP), 2021, for the block; Xiao et al., "Unified Perceptual Parsing for
Scene Understanding" (UPerNet), ECCV 2018, Sec. 3.1. Facts from FacePerceiver/FaRL
(`farl/network/`, `experiments/face_parsing/`; MIT) and open-mmlab/mmsegmentation (`UPerHead`;
Apache 2.0). Weights: `face_parsing.farl.lapa.main_ema_136500_jit191.pt` of FacePerceiver/facer
(MIT), which the release of StyleFeatureEditor uses; LaPa is for non-commercial research. Modules
are named as in that archive, but for the prefixes "backbone." and "head.".

    x <- x + attention(norm(x));  x <- x + c_proj(gelu(c_fc(norm(x))))

Shapes: B batch, K classes, S input side (448), G = S / 16 tokens a side, L = 1 + G G tokens,
D width, T output side, C head channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.device import average_pool
from stylefeatureeditor.errors import WeightsError, check_shape
from stylefeatureeditor.masks.face_frame import average_points, lapa_frame
from stylefeatureeditor.masks.face_parser import ConvNormReLU, FaceParser, standardise
from stylefeatureeditor.masks.labels import LAPA

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
STATISTICS = {"backbone.image_mean": CLIP_MEAN, "backbone.image_std": CLIP_STD}
EMBEDDING = ("backbone.visual.ln_post.", "backbone.visual.proj")  # CLIP's, which parsing skips
POOL_SIDES = (1, 2, 3, 6)


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


class TransformerBlock(nn.Module):
    """Pre-norm block of CLIP, whose GELU is the approximation x * sigmoid(1.702 x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        y = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](y * torch.sigmoid(1.702 * y))


class Trunk(nn.Module):
    """ViT without CLIP's last norm and projection, which features for parsing do not pass."""

    def __init__(self, config: FarlConfig) -> None:
        super().__init__()
        self.config = config
        width, self.grid = config.width, config.input_size // config.patch
        self.conv1 = nn.Conv2d(3, width, config.patch, stride=config.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(self.grid**2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        blocks = (TransformerBlock(width, config.heads) for _ in range(config.layers))
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the patch tokens after the blocks `taps` of standardised pixels, (B, D, G, G)."""
        patches = self.conv1(x).flatten(2).transpose(1, 2)  # (B, G * G, D)
        token = self.class_embedding.expand(len(x), 1, -1)
        x = self.ln_pre(torch.cat([token, patches], dim=1) + self.positional_embedding)
        features = []
        for block in self.transformer["resblocks"].children():
            x = block(x)
            features.append(x[:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid)))
        return [features[tap] for tap in self.config.taps]


class Pool(nn.Module):
    """Means over side x side cells."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, side, side)."""
        return average_pool(x, self.side)


class UperHead(nn.Module):
    """Pyramid pooling on the coarsest level, then a feature pyramid down to the finest."""

    def __init__(self, width: int, channels: int, num_classes: int) -> None:
        super().__init__()

        def several(count: int, into: int, kernel_size: int) -> list[ConvNormReLU]:
            return [ConvNormReLU(into, channels, kernel_size=kernel_size) for _ in range(count)]

        self.psp_modules = nn.ModuleList(
            nn.Sequential(Pool(side), *several(1, width, 1)) for side in POOL_SIDES
        )
        (self.bottleneck,) = several(1, width + len(POOL_SIDES) * channels, 3)
        self.lateral_convs = nn.ModuleList(several(3, width, 1))
        self.fpn_convs = nn.ModuleList(several(3, channels, 3))
        (self.fpn_bottleneck,) = several(1, 4 * channels, 3)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return logits (B, K, h, w) at the size of `levels[0]`, the finest of four."""
        *finer, coarsest = levels
        pooled = [_resize(module(coarsest), coarsest) for module in self.psp_modules]
        top = self.bottleneck(torch.cat([coarsest, *pooled], dim=1))
        outputs = [top]
        for level, lateral, smooth in zip(
            reversed(finer), reversed(self.lateral_convs), reversed(self.fpn_convs), strict=True
        ):
            top = lateral(level) + _resize(top, level)
            outputs.insert(0, smooth(top))
        joined = torch.cat([_resize(output, levels[0]) for output in outputs], dim=1)
        return self.conv_seg(self.fpn_bottleneck(joined))


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


class FarlNetwork(nn.Module):
    """The network: a warped face in, one logit per class and pixel out."""

    def __init__(self, config: FarlConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.visual = Trunk(config)
        self.fpns = nn.ModuleList(  # to strides 4 and 8 of a patch-16 transformer
            [
                nn.Sequential(
                    nn.ConvTranspose2d(width, width, 2, stride=2),
                    nn.BatchNorm2d(width),
                    nn.GELU(),
                    nn.ConvTranspose2d(width, width, 2, stride=2),
                ),
                nn.ConvTranspose2d(width, width, 2, stride=2),
            ]
        )
        self.head = UperHead(width, config.head_channels, config.num_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (B, K, T, T) of a face (B, 3, S, S) in [-1, 1].

        The face must lie as in training: see `face_frame.py`.
        """
        side, size = self.config.input_size, self.config.output_size
        check_shape("pixels", pixels, (None, 3, side, side))
        first, second, third, last = self.visual(standardise(pixels, CLIP_MEAN, CLIP_STD))
        halved = functional.max_pool2d(last, kernel_size=2, stride=2)
        logits = self.head([self.fpns[0](first), self.fpns[1](second), third, halved])
        return functional.interpolate(logits, (size, size), mode="bilinear", align_corners=False)


def farl_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what parsing needs of the archive; WeightsError if its input differs from CLIP's."""
    for name, expected in STATISTICS.items():
        found = state[name].flatten().tolist() if name in state else list(expected)
        if len(found) != 3 or max(abs(a - b) for a, b in zip(found, expected, strict=True)) > 1e-6:
            raise WeightsError(
                f"FaRL weights: expected {name} to be {expected}, got {found}; "
                "this is not a published FaRL parser"
            )
    return {
        key.removeprefix("backbone.").removeprefix("head."): value
        for key, value in state.items()
        if key not in STATISTICS and not key.startswith(EMBEDDING)
    }


class FarlParser(FaceParser):
    """FaRL on aligned crops, in the frame and with the classes of LaPa.

    The release lets RetinaFace find the five points and parses the whole photo; an aligned crop
    holds one face at a known place, so the points come from the landmarks that aligned it, or from
    the average FFHQ crop.
    """

    def __init__(self, network: FarlNetwork) -> None:
        super().__init__(network, LAPA)
        self.input_size = network.config.input_size

    def logits(self, pixels: Tensor, points: Tensor | None = None) -> Tensor:
        """Return class logits (B, K, S, S) of crops (B, 3, S, S) in [-1, 1]."""
        if points is None:
            points = average_points(pixels)
        check_shape("points", points, (len(pixels), 5, 2))
        frame = lapa_frame(points.to(pixels), self.input_size)
        return frame.restore(self.network(frame.sample(pixels)), pixels.shape[-1])
