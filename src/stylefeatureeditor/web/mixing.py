"""What a photo of a visitor takes from another one, as `sfe mix` does it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from stylefeatureeditor.directions.mix import between, strength_like, toward
from stylefeatureeditor.errors import ConfigError, FaceError
from stylefeatureeditor.photo.contact_sheet import draw_strip
from stylefeatureeditor.photo.result import EditResult
from stylefeatureeditor.web.opened import placed
from stylefeatureeditor.web.settings import edited_name

if TYPE_CHECKING:
    from PIL import Image

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.web.session import Session

WAY = "way"
STILLS = 5  # on the way from one photo to the other
# style vectors of resolutions that Karras et al. 2019 call coarse, middle and fine
STYLES = {"0:4": (0, 4), "4:8": (4, 8), "8:": (8, 99)}


def mixed(a: Session, b: Session, take: str) -> Image.Image:
    """Return the way from A's face in hand to B's, or photo A with style vectors of B."""
    first, second = _face(a), _face(b)
    editor = a.editor
    if take == WAY:
        shares = [number / (STILLS - 1) for number in range(STILLS)]
        way = between(editor, first, second, shares)
        pictures = [EditResult(pixels, first, blend="none").crop for pixels in way]
        return draw_strip([(f"{s:.0%}", p) for s, p in zip(shares, pictures, strict=True)])
    start, end = _styles(take, first)
    here = placed(first, a.photo, a.size)
    move: EditDirection = toward(first, second, (start, end))
    return editor.edit(here, {move: 1.0}).photo


def as_much(a: Session, b: Session, name: str) -> float:
    """Return the strength of a direction at which A has as much of it as B."""
    return round(strength_like(_face(a), _face(b), a.editor.direction(name)), 3)


def mix_command(a: Session, b: Session, take: str) -> str:
    """Return the `sfe mix` command; empty if the faces in hand have different numbers."""
    if a.in_hand()[:1] != b.in_hand()[:1]:
        return ""
    words = ["sfe", "mix", a.name, b.name]
    if take != WAY:
        start, end = _styles(take, _face(a))
        words += ["--layers", f"{start}:{end}"]
    words += ["--face", str(a.in_hand()[0])] if a.in_hand()[0] != 1 else []
    return shlex.join([*words, "--model", a.model, "-o", mixed_name(a)])


def mixed_name(a: Session) -> str:
    """Return the file name of a mixed picture."""
    return edited_name(a.name, "_mixed.png")


def _styles(take: str, inversion: Inversion) -> tuple[int, int]:
    if take not in STYLES:
        raise ConfigError("a mix takes the way, or style vectors 0:4, 4:8 or those from 8 on")
    start, end = STYLES[take]
    count = inversion.codes.wplus.shape[1]
    if start >= count:
        raise ConfigError(f"this model has {count} style vectors, none from {start} on")
    return start, min(end, count)


def _face(session: Session) -> Inversion:
    if not session.in_hand():
        raise FaceError(f"{session.name} shows no face that could be mixed")
    return session.inversion(session.in_hand()[0])
