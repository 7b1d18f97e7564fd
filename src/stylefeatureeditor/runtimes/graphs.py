"""The networks of a model as graphs, tensors in and tensors out: one per box of the figure.

    e4e               photos                        -> offsets              E of Eq. 5
    encoder           photos                        -> offsets, predicted   I_fse of Eq. 1
    generator_low     codes, styles                 -> drawn, rgb           G(w_{0:k}) of Eq. 2, 5
    fuser             predicted, generated          -> fused                I_fus of Eq. 2
    feature_editor    features, delta               -> edited               H of Eq. 6
    generator_high    features, codes, styles, rgb  -> pixels               G of Eq. 7 after layer k
    preview           the same                      -> pixels               the same, smaller

Where Delta is taken at another layer than k, also:

    generator_delta    codes, styles  -> drawn
    delta_downsampler  delta          -> coarse

An inversion is encoder, generator_low, fuser. The anchor of an edit is e4e, generator_low; an edit
is generator_low on w' and w_E', feature_editor, generator_high. What is left is done outside, on
tensors: latent_avg is added to offsets, the edit to the codes, Delta is a difference and may be
masked. `styles` holds what StyleSpace edits add, zeros if there are none.

Shapes: B batch, free in every graph; N styles, D style width, M modulation values of all layers, C
and S channels and side of F_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stylefeatureeditor.records import Codes, StyleLayout, StyleSpace
from stylefeatureeditor.runtimes.quick import quicken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stylefeatureeditor.generator.stylegan2 import Generator
    from stylefeatureeditor.model import Model, ModelConfig

PREVIEW_FRACTION = 4


@dataclass(frozen=True)
class Graph:
    """One network, ready to be exported or run."""

    name: str  # of the list above; the stem of its file
    # takes the inputs in order, returns a tensor, or a tuple where there are several outputs
    network: nn.Module
    inputs: Mapping[str, tuple[int, ...]]  # name -> shape without the batch
    outputs: tuple[str, ...]  # their names

    def example(self, batch: int = 2) -> tuple[Tensor, ...]:
        """Return inputs of unit normal values, the same on every call."""
        draw = torch.Generator().manual_seed(batch)
        return tuple(torch.randn(batch, *shape, generator=draw) for shape in self.inputs.values())


class LowLayers(nn.Module):
    """Layers 0..k: codes (B, N, D), styles (B, M) -> features, and rgb if `with_rgb`."""

    def __init__(self, generator: Generator, layer: int, *, with_rgb: bool) -> None:
        super().__init__()
        self.generator = generator
        self.layer = layer
        self.with_rgb = with_rgb
        self.layout = generator.config.style_layout()

    def forward(self, codes: Tensor, styles: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return F (B, C, S, S), or F and the image so far (B, 3, S, S)."""
        drawn = self.generator.run_to(Codes(codes, split_styles(styles, self.layout)), self.layer)
        return (drawn.features, drawn.rgb) if self.with_rgb else drawn.features


class HighLayers(nn.Module):
    """Layers after k: features, codes, styles, rgb -> pixels (B, 3, size, size)."""

    def __init__(self, generator: Generator, layer: int, size: int) -> None:
        super().__init__()
        self.generator = generator
        self.layer = layer
        self.size = size
        self.layout = generator.config.style_layout()

    def forward(self, features: Tensor, codes: Tensor, styles: Tensor, rgb: Tensor) -> Tensor:
        """Return X'."""
        moved = Codes(codes, split_styles(styles, self.layout))
        return self.generator.synthesize_from(features, moved, self.layer, rgb, size=self.size)


def inference_graphs(model: Model) -> list[Graph]:
    """Return the graphs of a model; they share its weights."""
    config = model.config
    generator, layer = quicken(model.generator), config.feature_layer  # its preview is quick
    photo = {"photos": (3, config.encoder_size, config.encoder_size)}
    layout = generator.config.style_layout()
    codes = {
        "codes": (generator.config.num_styles, generator.config.style_dim),
        "styles": (sum(layout.conv) + sum(layout.rgb),),
    }
    channels, side = generator.config.layer_shape(layer)
    features = (channels, side, side)
    rgb_side = side if layer % 2 else side // 2  # an even layer is the first of its side
    drawn = {"features": features, **codes, "rgb": (3, rgb_side, rgb_side)}

    graphs = [
        Graph("e4e", model.e4e, photo, ("offsets",)),
        Graph("encoder", model.inverter.encoder, photo, ("offsets", "predicted")),
        Graph(
            "generator_low",
            LowLayers(generator, layer, with_rgb=True),
            codes,
            ("drawn", "rgb"),
        ),
        Graph(
            "feature_editor",
            model.feature_editor,
            {"features": features, "delta": features},
            ("edited",),
        ),
        Graph(
            "generator_high",
            HighLayers(generator, layer, generator.config.size),
            drawn,
            ("pixels",),
        ),
    ]
    if model.inverter.fuser is not None:
        pair = {"predicted": features, "generated": features}
        graphs.append(Graph("fuser", model.inverter.fuser, pair, ("fused",)))
    size = preview_size(config)
    if size is not None:
        graphs.append(Graph("preview", HighLayers(generator, layer, size), drawn, ("pixels",)))
    if model.delta_downsampler is not None:
        fine_channels, fine_side = generator.config.layer_shape(config.delta_layer)
        fine = LowLayers(generator, config.delta_layer, with_rgb=False)
        delta = {"delta": (fine_channels, fine_side, fine_side)}
        graphs.append(Graph("generator_delta", fine, codes, ("drawn",)))
        graphs.append(Graph("delta_downsampler", model.delta_downsampler, delta, ("coarse",)))
    return graphs


def preview_size(config: ModelConfig) -> int | None:
    """Return the side of the preview's image; None where G has none between F_k's and its own."""
    generator = config.generator
    after = generator.side(config.feature_layer + 1)
    size = max(generator.size // PREVIEW_FRACTION, after)
    return size if size < generator.size else None


def join_styles(codes: Codes, layout: StyleLayout) -> Tensor:
    """Return the StyleSpace offsets of codes as one tensor, (B, M); zeros if there are none."""
    if codes.styles is None:
        return codes.wplus.new_zeros(len(codes), sum(layout.conv) + sum(layout.rgb))
    return torch.cat([*codes.styles.conv, *codes.styles.rgb], dim=1)


def split_styles(styles: Tensor, layout: StyleLayout) -> StyleSpace:
    """Undo `join_styles`."""
    parts: Sequence[Tensor] = styles.split([*layout.conv, *layout.rgb], dim=1)
    return StyleSpace(tuple(parts[: len(layout.conv)]), tuple(parts[len(layout.conv) :]))
