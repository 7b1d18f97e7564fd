"""DeltaEdit (Lyu et al., 2023): a text edit that depends on the photo.

    c  = [CLIP(X), dt / |dt|]                      dt is the difference of two prompts for CLIP
    ds = M(s, c), zero where |R dt| < threshold    R says what each channel does in CLIP space
    styles' = styles + strength * ds

M takes the modulation vectors s of the convolutions in three groups of layers. It was trained with
a CUDA kernel that adds the l-th bias to all channels of layer l of a group, so this does too.

Shapes: B batch, L layers of a group, C channels of a layer (of all of them for the fine group),
E width of the CLIP space (512).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.device import average_pool
from stylefeatureeditor.editing.direction import EditDirection, Strength, check_strength, times
from stylefeatureeditor.editing.styleclip import TextEncoder, prompt_change, read_clip
from stylefeatureeditor.errors import DirectionError, WeightsError
from stylefeatureeditor.generator.layers import EqualizedLinear, PixelNorm, activate
from stylefeatureeditor.records import Codes, CodeShift, StyleLayout, StyleSpace

if TYPE_CHECKING:
    from pathlib import Path

ImageEncoder = Callable[[Tensor], Tensor]  # (B, 3, S, S) in [-1, 1] -> (B, E)
Modulation = Callable[[Codes], Tensor]  # codes -> s, (B, channels of all convolutions)

COARSE, MEDIUM = 3, 4  # layers of the first two groups; the fine group is the rest
CLIP_SIDE = 224
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's own preprocessing, on [0, 1]
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class DeltaMapper(nn.Module):
    """M: modulation vectors and a condition to a change of the modulation vectors."""

    def __init__(self, width: int = 512, fine: int = 2464, condition: int = 1024) -> None:
        super().__init__()
        self.features = condition // 2
        self.split = (COARSE * width, MEDIUM * width, fine)
        self.coarse = GroupMapper(width, condition)
        self.medium = GroupMapper(width, condition)
        self.fine = GroupMapper(fine, condition)

    def forward(self, styles: Tensor, condition: Tensor) -> Tensor:
        """(B, channels of all convolutions), (B or 1, 2 E) -> (B, channels)."""
        coarse, medium, fine = styles.split(self.split, dim=1)
        groups = (
            self.coarse(coarse.unflatten(1, (COARSE, -1)), condition).flatten(1),
            self.medium(medium.unflatten(1, (MEDIUM, -1)), condition).flatten(1),
            self.fine(fine, condition),
        )
        return torch.cat(groups, dim=1)

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> DeltaMapper:
        """Build M from its state dict; its widths are read off the shapes.

        WeightsError if the tensors are not those of M.
        """
        try:
            widths = [state[f"{name}.condition.1.weight"].shape for name in ("coarse", "fine")]
            with torch.device("meta"):  # the file is as large as it says, or it is refused
                mapper = DeltaMapper(widths[0][0], widths[1][0], widths[0][1])
            plain = {key: value.float() for key, value in state.items()}
            mapper.load_state_dict(plain, assign=True)
        except (KeyError, IndexError, RuntimeError) as error:
            raise WeightsError(
                "not a DeltaEdit mapper: a weight is missing or misshapen"
            ) from error
        return mapper.eval().requires_grad_(requires_grad=False)


class GroupMapper(nn.Module):
    """M for the layers of one group."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.style = nn.Sequential(PixelNorm(), *_four(width, width))
        self.condition = nn.Sequential(PixelNorm(), *_four(condition, width))
        self.fusion = nn.Sequential(*_four(2 * width, width))

    def forward(self, styles: Tensor, condition: Tensor) -> Tensor:
        """(B, L, C) or (B, C), (B or 1, 2 E) -> the shape of `styles`."""
        own, given = self.style(styles), self.condition(condition)
        given = given[:, None] if own.ndim > given.ndim else given
        return self.fusion(torch.cat([own, given.expand_as(own)], dim=-1))


class LayerBiasLinear(EqualizedLinear):
    """An activated linear layer; where there is a dimension of layers, layer l gets bias l."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in) -> (B, C_out); (B, L, C_in) -> (B, L, C_out)."""
        gain, bias = (
            self.lr_multiplier / self.weight.shape[1] ** 0.5,
            self.bias * self.lr_multiplier,
        )
        bias = bias[: x.shape[1], None] if x.ndim > 2 else bias
        return activate(functional.linear(x, self.weight * gain) + bias)


def _four(before: int, width: int) -> list[LayerBiasLinear]:
    inputs = (before, width, width, width)
    return [LayerBiasLinear(number, width, lr_multiplier=0.01) for number in inputs]


@dataclass(frozen=True, eq=False, kw_only=True)
class DeltaEditDirection(EditDirection):
    """styles' = styles + strength * ds."""

    name: str
    mapper: DeltaMapper  # M; it follows the codes to their device
    text: Tensor  # dt / |dt|, (E,)
    kept: Tensor  # the channels that may move, (channels of all convolutions,) bool
    layout: StyleLayout  # widths of the generator's modulation vectors
    modulation: Modulation  # the generator's affine layers
    look: ImageEncoder  # CLIP's image encoder
    # CLIP(X) of unit length, (B, E); None until the photo has been seen
    image: Tensor | None = None

    def seeing(self, photos: Tensor | None) -> DeltaEditDirection:
        """Return the direction for these photos, (B, 3, S, S) in [-1, 1]."""
        if photos is None:
            return self
        return replace(self, image=functional.normalize(self.look(photos), dim=1))

    def shift(self, codes: Codes, strength: Strength) -> CodeShift:
        """Return strength * ds, B rows for every layer."""
        check_strength(self.name, codes, strength)
        if self.image is None:
            raise DirectionError(f"direction '{self.name}' needs the photo, not its codes alone")
        styles = self.modulation(codes).float()
        image = self.image.to(styles).expand(len(styles), -1)
        condition = torch.cat([image, self.text.to(styles).expand_as(image)], dim=1)
        change = self.mapper.to(styles.device)(styles, condition) * self.kept.to(styles)
        rows = times(strength, change.to(codes.wplus)).split(self.layout.conv, dim=1)
        rgb = tuple(rows[0].new_zeros(1, width) for width in self.layout.rgb)
        return CodeShift(styles=StyleSpace(rows, rgb))


@dataclass(frozen=True, eq=False, kw_only=True)
class DeltaEdit:
    """Makes directions of one generator from two prompts; arguments as `DeltaEditDirection`."""

    mapper: DeltaMapper
    relevance: Tensor  # R, (channels of all convolutions, E)
    layout: StyleLayout
    modulation: Modulation
    templates: tuple[str, ...]  # sentences with {} for the prompt; their features are averaged
    encode: TextEncoder  # CLIP's text encoder
    look: ImageEncoder

    def __post_init__(self) -> None:
        channels = sum(self.layout.conv)
        own = sum(self.mapper.split), self.mapper.features
        if not tuple(self.relevance.shape) == own == (channels, own[1]):
            raise DirectionError(
                f"DeltaEdit's files are for {own} and {tuple(self.relevance.shape)} channels and "
                f"features, the generator's convolutions have {channels}: they belong to another"
            )

    def direction(self, neutral: str, target: str, threshold: float) -> DeltaEditDirection:
        """Return the direction that leads from one prompt to another.

        DirectionError if the prompts mean the same, or no channel reaches `threshold`.
        """
        change = prompt_change(self.encode, self.templates, neutral, target)
        return self.along(change, threshold, f"{neutral} -> {target}")

    def along(self, change: Tensor, threshold: float, name: str = "text") -> DeltaEditDirection:
        """Return the direction of a difference dt of prompts, (E,), not of unit length."""
        kept = (
            self.relevance.float() @ change.to(self.relevance.device).float()
        ).abs() >= threshold
        if not kept.any():
            raise DirectionError(f"no channel reaches the threshold {threshold} for '{name}'")
        return DeltaEditDirection(
            name=name,
            mapper=self.mapper,
            text=change / change.norm(),
            kept=kept,
            layout=self.layout,
            modulation=self.modulation,
            look=self.look,
        )


def clip_image_encoder(folder: Path, *, normalised: bool = False) -> ImageEncoder:
    """Return the image half of a CLIP model in a local folder (ViT-B/32 for DeltaEdit).

    `normalised` uses CLIP's own mean and standard deviation; DeltaEdit's release gives CLIP pixels
    in [-1, 1], which CLIP was not trained for. Errors as `read_clip`.
    """
    model = read_clip(folder, "CLIPVisionModelWithProjection", use_safetensors=True).eval()

    @torch.no_grad()
    def look(photos: Tensor) -> Tensor:
        model.to(photos.device)
        return model(pixel_values=clip_pixels(photos, normalised=normalised)).image_embeds.float()

    return look


def clip_pixels(photos: Tensor, *, normalised: bool = False) -> Tensor:
    """Return photos, (B, 3, S, S) in [-1, 1], as CLIP takes them, (B, 3, 224, 224)."""
    photos = average_pool(photos, CLIP_SIDE)  # as the release does
    if not normalised:
        return photos
    mean, std = (photos.new_tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return ((photos + 1) / 2 - mean) / std
