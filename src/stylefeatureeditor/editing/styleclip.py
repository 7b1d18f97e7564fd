"""StyleCLIP (Patashnik et al., 2021): mappers trained per prompt, and global text directions.

    mapper   w' = w + s * M(w)
    global   ds = R_c dt, zero where |ds| < beta, divided by max |ds|, times the channel's std
             styles' = styles + s / 1.5 * ds

dt is the unit difference of two prompts in CLIP space. CLIP is not part of the package: a text
encoder is handed in, and `clip_text_encoder` makes one where `transformers` is installed.

Shapes: B batch, N style vectors, D code width, E width of the text space (512), P prompts,
C channels of all edited convolutions together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.editing.direction import (
    EditDirection,
    Strength,
    StyleSpaceDirection,
    check_strength,
    style_layers_of_convs,
    times,
)
from stylefeatureeditor.errors import DependencyError, DirectionError, WeightsError
from stylefeatureeditor.generator.layers import EqualizedLinear, PixelNorm
from stylefeatureeditor.records import Codes, CodeShift, StyleLayout, StyleSpace

if TYPE_CHECKING:
    from pathlib import Path

TextEncoder = Callable[[Sequence[str]], Tensor]  # P sentences -> (P, E)

LEVELS: Mapping[str, slice] = {  # the style vectors of each level
    "coarse": slice(0, 4),
    "medium": slice(4, 8),
    "fine": slice(8, None),
}
RELEASED_LEVELS = {"coarse": "course_mapping", "medium": "medium_mapping", "fine": "fine_mapping"}
GLOBAL_SCALE = 1 / 1.5  # the released code divides a text strength by 1.5,
RELEASED_GLOBAL_CONVS = 11  # and edits this many convolutions, the coarsest
_NO_CLIP = (
    "editing by text needs CLIP, which is not part of this package: run `pip install "
    "transformers`, or pass a function from sentences to features"
)


class StyleMapper(nn.Module):
    """M of StyleCLIP: a small network per level, each on its own style vectors.

    The first step of a level scales its vectors to unit mean square ACROSS them, one number per
    code dimension: the released networks were trained so.
    """

    def __init__(self, style_dim: int, levels: Sequence[str] = tuple(LEVELS)) -> None:
        super().__init__()
        self.style_dim = style_dim
        self.levels = nn.ModuleDict(
            {
                level: nn.Sequential(
                    PixelNorm(),
                    *(
                        EqualizedLinear(style_dim, style_dim, lr_multiplier=0.01, activation=True)
                        for _ in range(4)
                    ),
                )
                for level in levels
            }
        )

    def forward(self, wplus: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D), zero on the style vectors of absent levels."""
        change = torch.zeros_like(wplus)
        for name, level in self.levels.items():
            styles = LEVELS[name]
            if wplus[:, styles].numel():
                change[:, styles] = level(wplus[:, styles])
        return change

    @staticmethod
    def from_released(checkpoint: Mapping[str, object], levels: Sequence[str]) -> StyleMapper:
        """Build some levels from a published checkpoint; WeightsError if a weight does not fit."""
        table = checkpoint.get("state_dict", checkpoint)
        if not isinstance(table, Mapping):
            raise WeightsError(f"a StyleCLIP mapper needs a table of weights, got {type(table)}")
        known = {str(key).removeprefix("mapper."): value for key, value in table.items()}
        state = {}
        for level in levels:
            for number in range(1, 5):
                for leaf in ("weight", "bias"):
                    key = f"{RELEASED_LEVELS[level]}.mapping.{number}.{leaf}"
                    value = known.get(key)
                    if not isinstance(value, Tensor):
                        raise WeightsError(f"not a StyleCLIP mapper: the file has no '{key}'")
                    state[f"levels.{level}.{number}.{leaf}"] = value
        return StyleMapper.from_state(state)

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> StyleMapper:
        """Build the mapper from its own state dict; WeightsError if the tensors do not fit."""
        levels = [level for level in LEVELS if f"levels.{level}.1.weight" in state]
        if not levels:
            raise WeightsError("not a StyleCLIP mapper: no 'levels.<name>.1.weight' among its keys")
        shape = tuple(state[f"levels.{levels[0]}.1.weight"].shape)
        square = len(shape) == 2 and shape[0] == shape[1]
        mapper = StyleMapper(shape[0] if square else 1, levels)
        own = mapper.state_dict()
        wrong = list(own.keys() ^ state.keys())
        wrong += [key for key in own if key in state and own[key].shape != state[key].shape]
        if wrong:
            raise WeightsError(f"StyleCLIP mapper: '{min(wrong)}' is missing, extra or misshapen")
        mapper.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
        return mapper.eval().requires_grad_(requires_grad=False)


@dataclass(frozen=True, eq=False)
class StyleClipMapper(EditDirection):
    """w' = w + strength * M(w)."""

    name: str
    mapper: StyleMapper  # M; it follows the codes to their device

    def shift(self, codes: Codes, strength: Strength) -> CodeShift:
        """Return strength * M(w), (B, N, D)."""
        check_strength(self.name, codes, strength)
        if codes.wplus.shape[-1] != self.mapper.style_dim:
            raise DirectionError(
                f"direction '{self.name}' is made for codes of width {self.mapper.style_dim}, "
                f"got {codes.wplus.shape[-1]}: it belongs to another generator"
            )
        change = self.mapper.to(codes.wplus.device)(codes.wplus.float())
        return CodeShift(times(strength, change.to(codes.wplus.dtype)))


@dataclass(frozen=True, eq=False, kw_only=True)
class StyleClipGlobal:
    """Makes directions of one generator from two prompts."""

    # R_c, (at least C, E): what each channel does in CLIP space, convolution after convolution
    relevance: Tensor
    # spread of each channel, one (width,) tensor per edited convolution: C in all. Finer
    # convolutions stay as they are
    std: tuple[Tensor, ...]
    layout: StyleLayout  # widths of the generator's modulation vectors
    # sentences with {} for the prompt; their features are averaged
    templates: tuple[str, ...] = ("{}",)
    encode: TextEncoder | None = None  # text encoder; None allows `along` only

    def __post_init__(self) -> None:
        widths = tuple(std.numel() for std in self.std)
        if not widths or widths != self.layout.conv[: len(widths)]:
            raise DirectionError(
                f"channel spreads of widths {widths} do not fit the generator's convolutions "
                f"{self.layout.conv}: they belong to another generator"
            )
        if self.relevance.ndim != 2 or len(self.relevance) < sum(widths):
            raise DirectionError(
                f"expected a channel matrix of at least {sum(widths)} rows, "
                f"got shape {tuple(self.relevance.shape)}"
            )
        if not self.templates or any("{}" not in template for template in self.templates):
            raise DirectionError("every prompt template needs {} where the prompt goes")

    @staticmethod
    def from_released(
        relevance: Tensor,
        stds: Sequence[Tensor],
        layout: StyleLayout,
        templates: tuple[str, ...] = ("{}",),
        encode: TextEncoder | None = None,
    ) -> StyleClipGlobal:
        """Build it from the published files: convolutions up to the first at 128 px are edited.

        `relevance` is `delta_i_c`, (5376 or more, 512); `stds` the second half of `S_mean_std`, a
        tensor per modulated layer, RGB included. DirectionError if the files do not fit the
        generator.
        """
        layers = style_layers_of_convs(len(layout.conv))
        if len(stds) <= layers[-1]:
            raise DirectionError(
                f"expected the spreads of more than {layers[-1]} layers, got {len(stds)}: they "
                "belong to a smaller generator"
            )
        return StyleClipGlobal(
            relevance=relevance,
            std=tuple(stds[layer] for layer in layers[:RELEASED_GLOBAL_CONVS]),
            layout=layout,
            templates=templates,
            encode=encode,
        )

    def direction(self, neutral: str, target: str, beta: float) -> StyleSpaceDirection:
        """Return the direction that leads from one prompt to another.

        DependencyError if there is no text encoder; DirectionError if the prompts mean the same, or
        no channel reaches `beta`.
        """
        if self.encode is None:
            raise DependencyError(_NO_CLIP)
        change = prompt_change(self.encode, self.templates, neutral, target)
        return self.along(change / change.norm(), beta, f"{neutral} -> {target}")

    def along(self, text: Tensor, beta: float, name: str = "text") -> StyleSpaceDirection:
        """Return the direction of a unit vector of CLIP space, dt of shape (E,)."""
        if text.shape != self.relevance.shape[1:]:
            raise DirectionError(
                f"expected a text vector of shape {tuple(self.relevance.shape[1:])}, "
                f"got {tuple(text.shape)}"
            )
        widths = [std.numel() for std in self.std]
        change = self.relevance[: sum(widths)].float() @ text.to(self.relevance.device).float()
        peak = change.abs().max()
        if not (peak > 0 and peak >= beta):
            raise DirectionError(
                f"no channel reaches the threshold {beta} for '{name}': the largest relevance is "
                f"{peak:.3g}, choose a smaller threshold"
            )
        change = torch.where(change.abs() < beta, 0, change) / peak
        rows = [
            (part * std.to(part))[None]
            for part, std in zip(change.split(widths), self.std, strict=True)
        ]
        rows += [change.new_zeros(1, width) for width in self.layout.conv[len(rows) :]]
        rgb = tuple(change.new_zeros(1, width) for width in self.layout.rgb)
        return StyleSpaceDirection(name, StyleSpace(tuple(rows), rgb), GLOBAL_SCALE)


def prompt_change(
    encode: TextEncoder, templates: Sequence[str], neutral: str, target: str
) -> Tensor:
    """Return target less neutral features, (E,), not yet unit; DirectionError if they are equal."""

    def features(prompt: str) -> Tensor:
        """Unit features, averaged over the templates."""
        rows = encode([template.replace("{}", prompt) for template in templates])
        return functional.normalize(functional.normalize(rows, dim=1).mean(0), dim=0)

    change = features(target) - features(neutral)
    if not change.any():
        raise DirectionError(f"'{neutral}' and '{target}' mean the same: name two prompts")
    return change


def clip_text_encoder(folder: Path) -> TextEncoder:
    """Return the text half of a CLIP model in a local folder; errors as `read_clip`."""
    tokenizer = read_clip(folder, "CLIPTokenizerFast")
    model = read_clip(folder, "CLIPTextModelWithProjection", use_safetensors=True).eval()

    @torch.no_grad()
    def encode(sentences: Sequence[str]) -> Tensor:
        tokens = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt")
        return model(**tokens).text_embeds.float()

    return encode


def read_clip(folder: Path, part: str, **options: bool) -> Any:
    """Return a part of the CLIP model in a folder, by its class of `transformers`.

    DependencyError if `transformers` is not installed; WeightsError if the folder holds no CLIP
    model.
    """
    try:
        import transformers

        kind = getattr(transformers, part)
    except (ImportError, AttributeError, RuntimeError) as error:  # too old, or broken
        raise DependencyError(_NO_CLIP) from error
    try:
        return kind.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{folder} holds no CLIP model: expected a tokenizer, config.json, model.safetensors"
        ) from error
