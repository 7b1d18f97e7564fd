"""Attribute classifier: which of A yes-or-no attributes a face has.

    X -> stem -> four residual stages -> mean over cells -> linear -> A logits

A CPU trains it in minutes (`training/attributes.py`). It labels generated images to find
directions, judges edits, and its features can replace a pretrained perceptual network.

Shapes: B batch, A attributes, S side the network sees, C and S_i channels and side of stage i.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.backbones.shortcut import Conv1x1
from stylefeatureeditor.errors import (
    LARGEST_SIDE,
    MOST_LAYERS,
    WIDEST,
    ConfigError,
    ShapeError,
    WeightsError,
    check_shape,
    check_sizes,
)
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.configs import from_plain, to_plain
from stylefeatureeditor.weights.storage import load_tensors, save_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STEM_SIDE = 5  # kernel of the stem: it halves the side, so it looks wider than 3
STAGES = 4


@dataclass(frozen=True, kw_only=True)
class AttributeClassifierConfig:
    """The attributes and the size of the network.

    Attributes:
        attributes: A names, in the order of the logits.
        size: S in pixels; other sizes are resized to it.
        channels: C of the four stages; the stem has the first.
        depths: residual blocks of each stage; all but the first stage halve the side.
        dropout: share of the pooled features that training leaves out.
    """

    attributes: tuple[str, ...] = ()
    size: int = 64
    channels: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (1, 1, 2, 1)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.depths) == STAGES:
            raise ConfigError(f"channels and depths need {STAGES} entries each, got {self}")
        check_sizes(self, self.channels, WIDEST)
        check_sizes(self, self.depths, MOST_LAYERS)
        if not 2 ** (STAGES - 1) <= self.size <= LARGEST_SIDE:
            raise ConfigError(f"S must lie in 8..{LARGEST_SIDE}, got {self}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is a share in [0, 1), got {self.dropout}")


class Block(nn.Module):
    """y = relu(skip(x) + BN(conv(relu(BN(conv(x)))))); skip projects where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.skip = nn.Sequential(
                Conv1x1(in_channels, out_channels, stride),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S / stride, S / stride)."""
        return functional.relu(self.skip(x) + self.branch(x))


class AttributeClassifier(nn.Module):
    """One logit per attribute; above 0 means yes."""

    def __init__(self, config: AttributeClassifierConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, STEM_SIDE, stride=2, padding=STEM_SIDE // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.stages = nn.ModuleList()
        for stage, (channels, depth) in enumerate(zip(config.channels, config.depths, strict=True)):
            first = Block(width, channels, stride=1 if stage == 0 else 2)
            rest = (Block(channels, channels, stride=1) for _ in range(depth - 1))
            self.stages.append(nn.Sequential(first, *rest))
            width = channels
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, len(config.attributes))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits, (B, A), of `pixels`, (B, 3, H, H) in [-1, 1], resized to S.

        ShapeError if `pixels` has another shape.
        """
        pooled = self.features(pixels)[-1].mean(dim=(2, 3))
        return self.head(self.dropout(pooled))

    def features(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the four stage outputs, (B, C, S_i, S_i) with S_i = S/2, S/4, S/8, S/16."""
        check_shape("pixels", pixels, (None, 3, None, None))
        if pixels.shape[-1] != pixels.shape[-2]:
            raise ShapeError(f"pixels: expected a square, got {tuple(pixels.shape)}")
        side = self.config.size
        if pixels.shape[-1] != side:  # when shrinking every pixel counts: fine noise cannot alias
            pixels = functional.interpolate(
                pixels, (side, side), mode="bilinear", align_corners=False, antialias=True
            )
        x, outputs = self.stem(pixels), []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return tuple(outputs)

    def column(self, attribute: str) -> int:
        """Return the number of an attribute's logit; ConfigError if it is not known."""
        names = self.config.attributes
        if attribute not in names:
            raise ConfigError(
                f"the classifier knows no attribute {attribute!r}; it knows {', '.join(names)}"
            )
        return names.index(attribute)

    def save(self, path: Path, header: Mapping[str, str] | None = None) -> None:
        """Write the network in float16, config in the header; WeightsError if that fails."""
        config = json.dumps(to_plain(self.config))
        tensors = self.state_dict()
        save_tensors(path, tensors, {**(header or {}), "config": config}, torch.float16)

    @classmethod
    def load(cls, path: Path) -> AttributeClassifier:
        """Read a frozen network, float32 on the CPU; WeightsError if the file holds none."""
        tensors, header = load_tensors(path)
        try:
            content = json.loads(header["config"])
        except (KeyError, ValueError, RecursionError) as error:
            raise WeightsError(
                f"{path} is no attribute classifier: its header lacks one"
            ) from error
        config = from_plain(AttributeClassifierConfig, content, str(path))
        with torch.device("meta"):
            network = cls(config)
        assign_state(network, tensors, str(path))
        return network.eval()
