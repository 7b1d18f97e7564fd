"""A picture for sliders: the face as inverted, plus what the edit changes at a quarter of the side.

    X^ + up(P(edit) - P(none)),    P: the same method with G's upper layers on a coarser grid

What is lost is how the edit would have moved the finest detail, and little else: the error is near
that of the exact change, shrunk to the same side and enlarged again (docs/LOG.md). At strength 0
nothing is lost. E, I and the full-size layers run once, H and the low layers for every picture.

Shapes: B faces, R rows of an edit, size the side of the model's images.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from stylefeatureeditor.masks.edit_mask import edit_region
from stylefeatureeditor.photo.result import EditResult
from stylefeatureeditor.runtimes.graphs import preview_size

if TYPE_CHECKING:
    from PIL import Image

    from stylefeatureeditor.editor import Editor, Edits
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.masks.edit_mask import Mask


class Preview:
    """Quick pictures of one inversion with any edits; `Editor.edit` draws the exact ones.

    Args:
        editor: that made the inversion.
        inversion: from `Editor.invert`.
        dtype: of H's convolutions; see `device.quick_dtype`.
    """

    def __init__(
        self, editor: Editor, inversion: Inversion, *, dtype: torch.dtype = torch.float32
    ) -> None:
        self.editor, self.inversion = editor, inversion
        self.size = preview_size(editor.model.config)
        self._draw = partial(editor.method.edit, inversion, size=self.size, dtype=dtype)
        editor.method.reconstruct(inversion)
        self._small = None
        if self.size is not None:
            self._small = self._draw({})

    @torch.no_grad()
    def pixels(self, edits: Edits, *, mask: Mask | None = None) -> Tensor:
        """Return the crops, (R, 3, size, size), nominally in [-1, 1].

        Args:
            edits: as in `Editor.edit`.
            mask: likewise.
        """
        region, resolved = edit_region(mask, self.inversion.faces), self.editor.resolve(edits)
        if self._small is None:  # a model so small that there is nothing to leave out
            return self.editor.method.edit(self.inversion, resolved, region)
        drawn = self._draw(resolved, region)
        self._small = self._small.to(drawn.device)  # the editor may have moved
        before = self.editor.method.reconstruct(self.inversion)  # drawn already
        change = drawn - self._small
        return before + functional.interpolate(
            change, before.shape[-2:], mode="bicubic", align_corners=False
        )

    def crop(self, edits: Edits, *, mask: Mask | None = None) -> Image.Image:
        """Return the first crop as a picture; arguments as `pixels`."""
        return EditResult(self.pixels(edits, mask=mask), self.inversion).crop
