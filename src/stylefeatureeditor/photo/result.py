"""What an edit returns: pixels as the network drew them, and pictures for people."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image

from stylefeatureeditor.editing.delta import resize
from stylefeatureeditor.errors import PhotoError, ShapeError
from stylefeatureeditor.photo.align import crop
from stylefeatureeditor.photo.image import (
    is_grey,
    save_picture,
    to_grey,
    to_picture,
    to_uint8,
    visible,
)
from stylefeatureeditor.photo.paste_back import paste_faces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from stylefeatureeditor.inversion.record import Inversion

Blend = Literal["feather", "residual", "poisson", "none"]


@dataclass(frozen=True)
class EditResult:
    """X' of Eq. 7 for the faces of one photo, or for aligned tensors.

    Attributes:
        pixels: X', (B, 3, size, size), nominally in [-1, 1], not rounded, as the model drew it.
        inversion: what was edited; with it the next edit is cheap.
        region: (B or 1, 1, H, H) edit region of the crops; None if everything could change.
        blend: how the crops return into the photo.
        photo_mask: (1, 1, H, W) in [0, 1] over the whole photo, if the mask was drawn there; or
            one for each face, None for a face without.
    """

    pixels: Tensor
    inversion: Inversion
    region: Tensor | None = None
    blend: Blend = "feather"
    photo_mask: Tensor | Sequence[Tensor | None] | None = None

    @staticmethod
    def join(parts: Sequence[EditResult]) -> EditResult:
        """Return faces of one photo, each edited its own way, as one result."""
        pixels = torch.cat([part.pixels for part in parts])
        inversion = type(parts[0].inversion).cat([part.inversion for part in parts])
        region = None
        if any(part.region is not None for part in parts):
            side = pixels.shape[-1]
            whole = pixels.new_ones(1, 1, side, side)
            rows = [whole if p.region is None else resize(p.region, side) for p in parts]
            region = torch.cat([row.to(whole) for row in rows])
        masks = [mask for part in parts for mask in part._photo_masks]
        return EditResult(pixels, inversion, region, parts[0].blend, masks)

    @cached_property
    def photo(self) -> Image.Image:
        """The whole photo with every edited face pasted back; the crop if there is no photo.

        Saving it keeps what the photo brought, as `save` does; so do all other pictures. What was
        grey stays grey in them, whatever the model draws.
        """
        return to_picture(self._whole, self.inversion.source, self._alpha)

    @property
    def crop(self) -> Image.Image:
        """The first edited face alone."""
        return self.crops[0]

    @cached_property
    def crops(self) -> list[Image.Image]:
        """Every edited face alone."""
        source = self.inversion.source
        return [
            to_picture(pixels, source, self._crop_alpha(row))
            for row, pixels in enumerate(self._crop_pixels)
        ]

    def comparison(self) -> Image.Image:
        """Return before and after side by side: the whole photo, or the crop if there is none."""
        faces = self.inversion.faces
        is_crop = not faces or self.blend == "none"
        before = self._crops_before[0] if is_crop else faces[0].photo
        both = np.concatenate([before, self._whole], axis=1)
        alpha = None if self._alpha is None else np.tile(self._alpha, 2)
        return to_picture(both, self.inversion.source, alpha)

    def parts(self) -> list[dict[str, Image.Image]]:
        """Return for each face its aligned crop, its mask (white = may change) and the edited crop.

        The crops are as the networks saw and drew them, before anything is pasted back.
        """
        before, size = self._crops_before, self.pixels.shape[-1]
        rows = [np.ones((size, size))] * len(before)
        if self.region is not None:
            rows = [row[0, 0].numpy() for row in self._region_rows(len(before))]
        return [
            {
                "aligned": to_picture(pixels, self.inversion.source),
                "mask": Image.fromarray((255 * row).round().astype(np.uint8)),
                "edited": edited,
            }
            for pixels, row, edited in zip(before, rows, self.crops, strict=True)
        ]

    def save(self, path: str | Path, *, note: str | None = None) -> Path:
        """Write `photo`, whole or not at all, in the format that the suffix names.

        The file keeps the original's transparency, profile, EXIF, resolution and XMP; see
        `save_photo`. `note` is kept in a PNG for `photo.image.read_note`.

        Raises:
            PhotoError: the format is not known or the file cannot be written.
        """
        return save_picture(self.photo, path, note)

    @cached_property
    def _fetched(self) -> tuple[Tensor, Tensor | None]:
        """X' on the CPU, and what it is compared with: both in one transfer.

        That is X^ if differences are pasted, the photos themselves if they came as a tensor.
        """
        inversion = self.inversion
        other = inversion.pixels if self.blend == "residual" else None
        both = [self.pixels, other if inversion.faces else inversion.encoder_pixels]
        found = [each.detach().to(self.pixels.device) for each in both if each is not None]
        parts = torch.cat([each.float().flatten() for each in found]).cpu()
        sized = zip(parts.split([each.numel() for each in found]), found, strict=True)
        drawn, *rest = (part.view(each.shape) for part, each in sized)
        if not drawn.isfinite().all():
            raise PhotoError(
                "the model drew values that are not finite: take smaller strengths, and float32"
            )
        return drawn, rest[0] if rest else None

    @property
    def _alpha(self) -> np.ndarray | None:
        """Of `photo`; None if it is opaque."""
        faces, source = self.inversion.faces, self.inversion.source
        if not faces or self.blend == "none":
            return self._crop_alpha(0)
        return None if source is None else source.alpha

    @cached_property
    def _crops_before(self) -> list[np.ndarray]:
        """Every face alone before the edit, (S, S, 3) uint8."""
        if self.inversion.faces:
            return [to_uint8(face.pixels)[0] for face in self.inversion.faces]
        seen = self._fetched[1]
        assert seen is not None
        return list(to_uint8(resize(seen, self.pixels.shape[-1])))

    @cached_property
    def _crop_pixels(self) -> list[np.ndarray]:
        """Every edited face alone, (S, S, 3) uint8; grey where it was."""
        grey = [is_grey(pixels) for pixels in self._crops_before]
        drawn = to_uint8(self._fetched[0])
        rows = grey if len(grey) == len(drawn) else grey[:1] * len(drawn)
        return [to_grey(x) if is_so else x for x, is_so in zip(drawn, rows, strict=True)]

    def _crop_alpha(self, row: int) -> np.ndarray | None:
        """Of one edited face, cropped as its pixels were."""
        faces, source = self.inversion.faces, self.inversion.source
        if not faces or source is None or source.alpha is None:
            return None
        quad = faces[row if len(faces) > 1 else 0].quad  # several strengths share one face
        planes = np.broadcast_to(source.alpha[:, :, None], (*source.alpha.shape, 3))
        return crop(planes, quad, self.pixels.shape[-1])[:, :, 0]

    @cached_property
    def _whole(self) -> np.ndarray:
        faces = self.inversion.faces
        if len(self.pixels) != len(self.inversion):
            raise ShapeError(
                f"one face was edited with {len(self.pixels)} strengths: take `crops`, or "
                "`Editor.strip`, which gives a photo for each"
            )
        if not faces or self.blend == "none":
            return self._crop_pixels[0]
        regions = [None] * len(faces) if self.region is None else self._region_rows(len(faces))
        whole = paste_faces(
            faces,
            *self._fetched,
            blend=self.blend,
            masks=regions,
            photo_masks=self._photo_masks,
        )
        source = self.inversion.source
        if is_grey(faces[0].photo if source is None else visible(source)):
            whole = to_grey(whole).copy()
        if self._alpha is not None:  # under transparent pixels stays what the file holds
            np.copyto(whole, faces[0].photo, where=self._alpha[:, :, None] == 0)
        return whole

    @property
    def _photo_masks(self) -> list[Tensor | None]:
        if self.photo_mask is None or isinstance(self.photo_mask, torch.Tensor):
            return [self.photo_mask] * len(self.inversion)
        return list(self.photo_mask)

    def _region_rows(self, faces: int) -> list[Tensor]:
        assert self.region is not None
        region = resize(self.region.cpu().float(), self.pixels.shape[-1])
        return list(region.expand(faces, -1, -1, -1).split(1))
