"""The protocol of a method, the same for ours and the compared ones.

    inversion = method.invert(photos)
    pixels    = method.reconstruct(inversion)              # X^
    pixels    = method.edit(inversion, edits, region)      # X'

A new method needs two functions: `encode` inverts photos, `draw` draws moved codes. It then works
with `evaluation/`, `sfe compare` and `Editor`. `docs/examples/new_method.py` adds one.

Shapes: B photos of side `size`, (B, 3, size, size) in [-1, 1]; R rows of an edit (B, or more when
one face is edited with several strengths).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.editing.delta import check_region, resize
from stylefeatureeditor.editing.direction import EditDirection, Strength, combine, seeing
from stylefeatureeditor.errors import ConfigError, DirectionError, PhotoError, ShapeError
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.model import Framing, network_fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from stylefeatureeditor.model import Model, ModelConfig
    from stylefeatureeditor.records import Codes

Edits = Mapping[EditDirection, Strength]

ROWS_AT_ONCE = 8  # drawn together on a GPU, so that memory does not grow with the batch


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """The fields that every method has, named as in `ModelConfig`; a method adds its own sizes."""

    method: str = field(default="", repr=False)  # its word
    name: str = field(default="model", repr=False)
    catalog: str | None = field(default=None, repr=False)
    framing: Framing = field(default_factory=Framing, repr=False)
    blend: Literal["feather", "residual", "poisson", "none"] = field(default="feather", repr=False)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)


class Method(nn.Module, ABC):
    """A way to invert photos and to edit the inversions.

    Attributes:
        folder: the model folder it came from, which has its directions; None for other origins.
        engine: backend and precision that it runs in.
    """

    config: MethodConfig | ModelConfig
    generator: Generator
    folder: Path | None = None
    engine: str = "torch float32"

    def __init__(
        self,
        config: MethodConfig | ModelConfig,
        generator: Generator | None = None,
        name: str = "method",
    ) -> None:
        super().__init__()
        self.config, self.name = config, name
        self.generator = Generator(config.generator) if generator is None else generator

    @property
    def size(self) -> int:
        """Side of the photos it takes, in pixels."""
        return self.generator.config.size

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.generator.latent_avg.device

    @cached_property
    def identity(self) -> str:
        """Changes with weights and settings; results of another identity are another method's."""
        return f"{type(self).__name__} {network_fingerprint(self, self.config)}"

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the identity; every inversion says which method made it."""
        return hashlib.sha256(self.identity.encode()).hexdigest()[:16]

    @abstractmethod
    def encode(self, photos: Tensor) -> Inversion:
        """Return the inversion of photos on the networks' device, (B, 3, size, size) in [-1, 1].

        `pixels` may stay None: `draw` then makes them on demand.
        """

    def draw(self, codes: Codes, kept: Any) -> Tensor:
        """Return the picture of codes, moved or not, (B, 3, size, size); by default G(w)."""
        del kept
        return self.generator.synthesize(codes)

    @torch.no_grad()
    def invert(self, photos: Tensor) -> Inversion:
        """Return what the method knows of aligned photos, (B, 3, size, size) in [-1, 1].

        Raises:
            ShapeError: another shape.
            PhotoError: the tensor holds integers.
        """
        if not photos.is_floating_point():
            raise PhotoError(f"aligned photos must be floats in [-1, 1], got {photos.dtype}")
        photos = photos.to(self.device, torch.float32)
        inversion = self.encode(photos)
        inversion.model = self.fingerprint
        if inversion.encoder_pixels is None:
            inversion.encoder_pixels = photos
        return inversion

    @torch.no_grad()
    def from_codes(self, codes: Codes, photos: Tensor | None = None) -> Inversion:
        """Return an inversion of codes that another tool found, B rows.

        Args:
            codes: of this method's generator.
            photos: their aligned photos, (B, 3, size, size), if known: what a method keeps beside
                codes is then fitted to them.

        Raises:
            ShapeError: the codes are another generator's.
            ConfigError: the method draws from more than codes.
        """
        if type(self).draw is not Method.draw:
            raise ConfigError(f"{self.name} draws from more than codes; take e4e's method, or sfe")
        codes = codes.map(lambda tensor: tensor.to(self.device, torch.float32))
        pixels = self.generator.synthesize(codes)
        seen = pixels if photos is None else photos.to(pixels)
        return Inversion(codes, encoder_pixels=seen, pixels=pixels, model=self.fingerprint)

    @torch.no_grad()
    def reconstruct(self, inversion: Inversion) -> Tensor:
        """Return X^, (B, 3, size, size), drawing it if it has not been drawn.

        Raises:
            ShapeError: the inversion was made by another method.
        """
        self.take(inversion)
        if inversion.pixels is None:
            inversion.pixels = self.draw(inversion.codes, inversion.kept)
        return inversion.pixels

    @torch.no_grad()
    def edit(
        self,
        inversion: Inversion,
        edits: Edits,
        region: Tensor | None = None,
        *,
        size: int | None = None,
        dtype: torch.dtype = torch.float32,  # noqa: ARG002
    ) -> Tensor:
        """Return X', (R, 3, size, size).

        Our own method masks Delta by the region, and draws small pictures quickly. The others join
        the finished edit and reconstruction by the region, draw in float32, and average down.

        Args:
            inversion: B faces.
            edits: direction -> strength, one number or (R,); all act at once. With one face and
                (R,) strengths, the face is edited R times.
            region: (B or 1, 1, H, H), 1 = may change; None lets everything change.
            size: side of the picture; a smaller one is coarse. None is the method's.
            dtype: of H's convolutions; torch.bfloat16 is less exact (docs/LOG.md). Other
                engines than torch keep their own.

        Raises:
            ConfigError: G has no layer of that side after F_k.
            DirectionError: a direction does not fit the model, or two have other numbers of rows.
            MaskError: the region has another shape.
            ShapeError: the inversion was made by another method.
        """
        self.take(inversion)
        if region is not None:
            check_region(region, len(inversion))
        if not edits:
            after = self.reconstruct(inversion)
        else:
            edits = seeing(edits, inversion.encoder_pixels)
            rows, step = count_rows(edits, len(inversion)), self.rows_at_once
            codes, drawn = combine(inversion.codes, edits), []
            for start in range(0, rows, step):
                moved = codes.rows(slice(start, start + step))
                own = inversion.rows(start, start + step) if len(inversion) == rows else inversion
                own = _repeated(own, len(moved)) if len(own) < len(moved) else own
                drawn.append(self.draw(moved, own.kept))
            after = torch.cat(drawn)
        if region is not None:
            before = self.reconstruct(inversion)
            after = before + resize(region.to(after), after.shape[-1]) * (after - before)
        return after if size is None else functional.interpolate(after, (size, size), mode="area")

    @property
    def rows_at_once(self) -> int:
        """How many rows are drawn together; on a CPU one by one is no slower."""
        return 1 if self.device.type == "cpu" else ROWS_AT_ONCE

    def find_anchor(self, inversion: Inversion) -> None:
        """Store in the inversion what its first edit would compute; most methods have nothing."""
        self.take(inversion)

    def take(self, inversion: Inversion) -> None:
        """Bring an inversion to where the networks are.

        Raises:
            ShapeError: another method made it; its codes would mean nothing.
        """
        if inversion.model != self.fingerprint:
            raise ShapeError(
                "this inversion was made by another model; invert the photo again with this one"
            )
        if inversion.codes.wplus.device != self.device:
            inversion.move(self.device)


class OnModel(Method):
    """A method on the networks of one of our models, on that model's device.

    Attributes:
        word: what users type for it.
        title: row of a table.
        needs: networks that must be trained, beside G.
    """

    config: ModelConfig
    word: str
    title: str
    needs: tuple[str, ...]

    def __init__(self, model: Model, name: str = "") -> None:
        super().__init__(model.config, model.generator, name or self.title)
        self.model = model

    @cached_property
    def identity(self) -> str:
        """Changes with the config and the weights."""
        return f"{self.word} {self.model.fingerprint}"


def count_rows(edits: Edits, faces: int) -> int:
    """Return R, the rows of an edit of `faces` faces.

    DirectionError if strengths of several numbers are not equally many.
    """
    rows = {len(s) for s in edits.values() if isinstance(s, Tensor) and s.ndim}
    if len(rows - {1}) > 1:
        raise DirectionError(
            f"edits of one call need equally many strengths, got {sorted(rows)}; give each "
            "direction one number, or all the same count"
        )
    return max(faces, *rows) if rows else faces


def _repeated(inversion: Inversion, rows: int) -> Inversion:
    """One face as several rows, without memory of their own."""
    return inversion.map(lambda tensor: tensor.expand(rows, *tensor.shape[1:]))
