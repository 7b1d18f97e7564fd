"""Records that pass between stages. Frozen: a stage returns a new one, never edits its input.

Shapes: B batch, N style vectors (18 at 1024), D code width (512), L convolution layers
(17 at 1024), R RGB layers (9 at 1024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class StyleLayout:
    """Widths of the modulation vectors of one generator."""

    conv: tuple[int, ...]  # C_in of each of the L convolution layers
    rgb: tuple[int, ...]  # C_in of each of the R RGB layers


@dataclass(frozen=True)
class StyleSpace:
    """One modulation vector per layer: what the generator's affine layers make of a W+ code."""

    conv: tuple[Tensor, ...]  # L tensors (B, C_in of that convolution)
    rgb: tuple[Tensor, ...]  # R tensors (B, C_in of that RGB layer)

    def __add__(self, other: StyleSpace) -> StyleSpace:
        return StyleSpace(
            tuple(a + b for a, b in zip(self.conv, other.conv, strict=True)),
            tuple(a + b for a, b in zip(self.rgb, other.rgb, strict=True)),
        )

    def map(self, function: Callable[[Tensor], Tensor]) -> StyleSpace:
        """Return the record with `function` applied to every tensor."""
        return StyleSpace(tuple(map(function, self.conv)), tuple(map(function, self.rgb)))

    @staticmethod
    def cat(parts: list[StyleSpace]) -> StyleSpace:
        """Join several records along the batch."""
        import torch

        return StyleSpace(
            tuple(torch.cat(layer) for layer in zip(*(part.conv for part in parts), strict=True)),
            tuple(torch.cat(layer) for layer in zip(*(part.rgb for part in parts), strict=True)),
        )


@dataclass(frozen=True)
class CodeShift:
    """A difference of codes, as an edit direction makes it; None stands for zero."""

    wplus: Tensor | None = None  # (B or 1, N, D), added to the W+ code
    # (B or 1) rows, added to the modulation vectors, after the affine layers
    styles: StyleSpace | None = None

    def __add__(self, other: CodeShift) -> CodeShift:
        wplus, styles = self.wplus, self.styles
        if other.wplus is not None:
            wplus = other.wplus if wplus is None else wplus + other.wplus
        if other.styles is not None:
            styles = other.styles if styles is None else styles + other.styles
        return CodeShift(wplus, styles)


@dataclass(frozen=True)
class Codes:
    """What drives the generator: a W+ code, and what StyleSpace edits add after its affine layers.

    Attributes:
        wplus: (B, N, D), latent_avg included.
        styles: offsets of the modulation vectors, B rows; None means none.
    """

    wplus: Tensor
    styles: StyleSpace | None = None

    def __len__(self) -> int:
        return self.wplus.shape[0]

    def __add__(self, shift: CodeShift) -> Codes:
        moved = CodeShift(self.wplus, self.styles) + shift
        assert moved.wplus is not None
        rows = moved.wplus.shape[0]
        if moved.styles is None:
            return Codes(moved.wplus)
        if rows == 1:  # a StyleSpace shift may bring several rows to one code
            rows = max(len(style) for style in moved.styles.conv)
        styles = moved.styles.map(lambda style: style.expand(rows, -1))
        return Codes(moved.wplus.expand(rows, -1, -1), styles)

    def map(self, function: Callable[[Tensor], Tensor]) -> Codes:
        """Return the record with `function` applied to every tensor."""
        return Codes(function(self.wplus), self.styles and self.styles.map(function))

    def rows(self, rows: slice) -> Codes:
        """Return some rows of the batch."""
        return self.map(lambda tensor: tensor[rows])

    @staticmethod
    def cat(parts: list[Codes]) -> Codes:
        """Join several records along the batch."""
        import torch

        wplus = torch.cat([part.wplus for part in parts])
        known = [part.styles for part in parts if part.styles is not None]
        if not known:
            return Codes(wplus)
        zero = known[0].map(lambda style: torch.zeros_like(style[:1]))
        whole = [part + CodeShift(styles=zero) for part in parts]
        return Codes(wplus, StyleSpace.cat([part.styles for part in whole if part.styles]))


@dataclass(frozen=True)
class FaceBox:
    """Where a person says that a face is, in photo pixels; (0, 0) is the photo's corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclass(frozen=True)
class AlignedFace:
    """A face cropped and turned upright for the networks, and the way back into its photo.

    Attributes:
        pixels: (1, 3, S, S) in [-1, 1].
        photo: the whole upright photo, (H, W, 3) uint8 RGB.
        quad: (4, 2) corners of the crop in photo pixels, (x, y): top left, bottom left, bottom
            right, top right. Continuous coordinates: (0, 0) is the corner of the first pixel.
        landmarks: (68, 2) points in photo pixels, (x, y), as the detector counts: (0, 0) is the
            centre of the first pixel, half a pixel from the quad's origin; None if the crop came
            by other means.
    """

    pixels: Tensor
    photo: np.ndarray
    quad: np.ndarray
    landmarks: np.ndarray | None = None


@dataclass(frozen=True)
class Photo:
    """A picture as the user sees it, and what has to return to the file unchanged.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, upright.
        alpha: (H, W) uint8, 255 = opaque; None if the file had no transparency.
        icc_profile: colour profile that the pixels are in; None means sRGB.
        exif: the file's EXIF block without its orientation tag; None if there was none.
        dpi: pixels per inch across and down, as the file says; None if it does not.
        xmp: the file's XMP packet, whose orientation is 1 too; None if there was none.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
