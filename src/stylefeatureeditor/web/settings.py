"""What a visitor has chosen, as one value: a step of undo, and all that a command line needs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, get_args

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.photo.result import Blend

if TYPE_CHECKING:
    from collections.abc import Mapping

Which = int | Literal["all"]
MaskKind = Literal["none", "face", "painted"]
MASK_FILE = "mask.png"
INVERSION_SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One state of the page's controls.

    Attributes:
        edits: direction -> strength; none is 0.
        face: number of the face, 1 is the largest, or "all".
        mask: where edits act: everywhere, on the face, or where the visitor painted.
        painted: PNG of the painted mask, white = may change, over the whole photo; empty if
            nothing was painted.
        blend: how the crop returns into the photo; None is the model's preference.
    """

    edits: Mapping[str, float] = field(default_factory=dict)
    face: Which = 1
    mask: MaskKind = "none"
    painted: bytes = b""
    blend: Blend | None = None

    def __post_init__(self) -> None:
        if self.mask not in get_args(MaskKind):
            raise ConfigError(f"the mask is one of {', '.join(get_args(MaskKind))}")
        if self.blend is not None and self.blend not in get_args(Blend):
            raise ConfigError(f"the blend is one of {', '.join(get_args(Blend))}")

    @property
    def mask_word(self) -> str:
        """What `--mask` takes: none, face or the name of the painted mask's file."""
        if self.mask == "painted":
            return MASK_FILE if self.painted else "none"
        return self.mask


def as_command(settings: Settings, *, photo: str, model: str, aligned: bool = False) -> str:
    """Return the `sfe edit` command that writes the picture these settings show.

    Args:
        settings: with an edit at least.
        photo: file name of the photo or inversion file.
        model: name or folder.
        aligned: the photo is an aligned crop.
    """
    words = ["sfe", "edit", photo]
    for name, strength in settings.edits.items():
        words += ["-e", f"{name}={strength:g}"]
    if aligned:
        words.append("--aligned")
    elif settings.face != 1:
        words += ["--face", str(settings.face)]
    if settings.mask_word != "none":
        words += ["--mask", settings.mask_word]
    if settings.blend:
        words += ["--blend", settings.blend]
    return shlex.join([*words, "--model", model, "-o", edited_name(photo)])


def as_python(
    settings: Settings, *, photo: str, model: str, aligned: bool = False, editor: str = "Editor"
) -> str:
    """Return the lines of Python that do so; `editor` is the public class that opens the model."""
    if PurePath(photo).suffix == INVERSION_SUFFIX:
        index = "" if settings.face == "all" else f"[{settings.face - 1}]"
        known = f"inversion = sfe.load_inversion({photo!r}){index}"
    else:
        which = "" if settings.face == 1 else f", face={settings.face!r}"
        which = ", aligned=True" if aligned else which
        known = f"inversion = editor.invert({photo!r}{which})"
    edits = ", ".join(f'"{name}": {strength:g}' for name, strength in settings.edits.items())
    mask = settings.mask_word
    options = "" if mask == "none" else f', mask="{mask}"'
    options += f', blend="{settings.blend}"' if settings.blend else ""
    return (
        "import stylefeatureeditor as sfe\n\n"
        f"editor = sfe.{editor}.from_pretrained({model!r})\n"
        f"{known}\n"
        f"result = editor.edit(inversion, {{{edits}}}{options})\n"
        f"result.save({edited_name(photo)!r})\n"
    )


def edited_name(photo: str) -> str:
    """Return the file name of an edited photo."""
    return f"{PurePath(photo).stem}_edited.png"
