"""What a moving slider shows: the picture, a preview of it, or nothing until it is let go."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch.nn.functional import avg_pool2d

from stylefeatureeditor.device import quick_dtype
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.photo.result import EditResult
from stylefeatureeditor.preview import Preview

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.photo.result import Blend

Pace = Literal["live", "preview", "release"]
SLOW_SECONDS = 0.6  # from here on a picture lags behind the hand
LEAST_SIZE = 256  # px: a quarter of fewer shows no face
LEAST_CROP = 8  # px that a crop is not halved below, however small its face is shown


def no_finer_than_shown(result: EditResult, times: float) -> EditResult:
    """Return a result whose crops are halved while they are finer than the photo they go into.

    With `times` 2 the photo moves by a level, at a few pixels by 3 or 4; with 1 by more.

    Args:
        result: with the faces' places in the photo that is shown.
        times: so many times as fine they may be.
    """
    inversion, size = result.inversion, result.pixels.shape[-1]
    shown = times * max(np.hypot(*(face.quad[3] - face.quad[0])) for face in inversion.faces)
    factor = 2 ** int(np.log2(max(1.0, size / max(shown, LEAST_CROP))))
    if factor == 1:
        return result
    faces = tuple(replace(face, pixels=avg_pool2d(face.pixels, factor)) for face in inversion.faces)
    drawn = None if inversion.pixels is None else avg_pool2d(inversion.pixels, factor)
    return replace(
        result,
        pixels=avg_pool2d(result.pixels, factor),
        inversion=replace(inversion, faces=faces, pixels=drawn),
    )


class SliderPreview:
    """How fast a visitor's model is here, and the previews of the faces in hand.

    Attributes:
        seconds: the networks took so long for the last picture; 0 if none was drawn.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._previews: dict[int, Preview] = {}  # by the identity of the inversion they hold

    def pace(self, editor: Editor) -> Pace:
        """Return how the picture follows a slider; only our own method knows a preview."""
        if self.seconds <= SLOW_SECONDS:
            return "live"
        if not isinstance(editor.method, Sfe):
            return "release"
        return "preview" if editor.size >= LEAST_SIZE else "live"

    def prepare(self, editor: Editor, inversion: Inversion) -> Preview | None:
        """Do what the first edit would wait for, and return the preview if there is to be one."""
        editor.method.find_anchor(inversion)
        if self.pace(editor) != "preview":
            return None
        if id(inversion) not in self._previews:
            dtype = quick_dtype(editor.method.device)
            self._previews[id(inversion)] = Preview(editor, inversion, dtype=dtype)
        return self._previews[id(inversion)]

    def draw(
        self,
        editor: Editor,
        inversion: Inversion,
        edits: Mapping[str, float],
        mask: Tensor | None = None,
        blend: Blend | None = None,
        *,
        draft: bool = False,
    ) -> EditResult:
        """Return an edit, and note how long it took; a draft may be a preview of it.

        The other arguments are those of `Editor.edit`.
        """
        preview = self.prepare(editor, inversion) if draft else None
        if preview is not None and edits:
            pixels = preview.pixels(edits, mask=mask)
            return EditResult(pixels, inversion, mask, blend or editor.model.config.blend)
        draws = not draft and (bool(edits) or inversion.pixels is None)
        start = time.perf_counter()
        result = editor.edit(inversion, edits, mask=mask, blend=blend)
        self.seconds = time.perf_counter() - start if draws else self.seconds
        return result

    def bytes(self) -> int:
        """Return the memory that previews take beside their inversions."""
        return sum(12 * preview.size**2 for preview in self._previews.values() if preview.size)

    def forget(self) -> None:
        """Let the previews and their inversions go."""
        self._previews.clear()
