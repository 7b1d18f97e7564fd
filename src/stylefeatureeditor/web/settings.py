"""What a visitor has chosen for one photo, as one value: a step of undo, and the command for it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, get_args

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.photo import SESSION_SUFFIX
from stylefeatureeditor.photo.result import Blend
from stylefeatureeditor.photo.session_file import FaceEdits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stylefeatureeditor.photo.session_file import Which
    from stylefeatureeditor.web.films import Film, Order

INVERSION_SUFFIX = ".safetensors"
UNTOUCHED = FaceEdits()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One state of the page's controls.

    Attributes:
        faces: number of a face, 1 is the largest -> what is done to it.
        face: the one in hand, or "all".
        blend: how the crops return into the photo; None is the model's preference.
    """

    faces: Mapping[int, FaceEdits] = field(default_factory=dict)
    face: Which = 1
    blend: Blend | None = None

    def __post_init__(self) -> None:
        if self.blend is not None and self.blend not in get_args(Blend):
            raise ConfigError(f"the blend is one of {', '.join(get_args(Blend))}")

    def of(self, face: int) -> FaceEdits:
        """Return what is done to a face."""
        return self.faces.get(face, UNTOUCHED)

    @property
    def edited(self) -> dict[int, FaceEdits]:
        """The faces that something is done to."""
        return {face: done for face, done in sorted(self.faces.items()) if done.edits}


def difference(before: Settings, after: Settings, labels: Mapping[str, str]) -> str:
    """Return what a step did, in a few words."""
    if before.blend != after.blend:
        return "How the face is put back"
    faces = [n for n in {**before.faces, **after.faces} if before.of(n) != after.of(n)]
    if not faces:
        return "Nothing"
    old, new = before.of(faces[0]), after.of(faces[0])
    moved = [n for n in {**old.edits, **new.edits} if old.edits.get(n, 0) != new.edits.get(n, 0)]
    if len(moved) == 1:
        words = f"{labels.get(moved[0], moved[0])} {new.edits.get(moved[0], 0):+.3g}"
        words = words if moved[0] in new.edits else f"{labels.get(moved[0], moved[0])} off"
    elif moved:
        words = "Several edits" if new.edits else "All edits off"
    else:
        words = "Painted" if old.painted != new.painted else "Where edits act"
    if len(faces) > 1:
        return f"{words}, {len(faces)} faces"
    return words if set(before.faces) | set(after.faces) == {1} else f"{words}, face {faces[0]}"


def as_command(
    settings: Settings,
    *,
    photo: str,
    model: str,
    aligned: bool = False,
    saved: bool = False,
    session: str | None = None,
    several: bool = False,
) -> str:
    """Return the `sfe edit` command that writes the picture these settings show.

    Args:
        settings: with an edit at least.
        photo: file name of the photo or inversion file.
        model: name or folder.
        aligned: the photo is an aligned crop.
        saved: only a saved session says all: a painted mask, a face that was pointed at.
        session: the file that the page saves; None is that of this photo alone.
        several: more than one photo of the session is edited.
    """
    output = edited_name(photo)
    if saved or _masks_differ(settings):
        output = "edited/" if several else output
        session = session or session_name(photo)
        return shlex.join(["sfe", "edit", session, "--model", model, "-o", output])
    words, faces = ["sfe", "edit", photo], settings.edited
    for face, done in faces.items():
        which = "" if len(faces) == 1 else f"{face}:"
        for name, strength in done.edits.items():
            words += ["-e", f"{which}{name}={strength:g}"]
    if aligned:
        words.append("--aligned")
    elif len(faces) == 1 and 1 not in faces:
        words += ["--face", str(*faces)]
    mask = next(iter(faces.values())).mask
    words += ["--mask", mask] if mask != "none" else []
    words += ["--blend", settings.blend] if settings.blend else []
    return shlex.join([*words, "--model", model, "-o", output])


def as_python(
    settings: Settings,
    *,
    photo: str,
    model: str,
    aligned: bool = False,
    saved: bool = False,
    session: str | None = None,
    place: int = 0,
) -> str:
    """Return the lines of Python that do so; `place` is the photo's in the session, from 0."""
    blend = f', blend="{settings.blend}"' if settings.blend else ""
    if saved or _masks_differ(settings):
        lines = f"session = sfe.load_session({session or session_name(photo)!r})\n"
        lines += f"result = editor.edit_saved(session.photos[{place}])\n"
    else:
        known = f"{photo!r}"
        if PurePath(photo).suffix == INVERSION_SUFFIX:
            known = f"sfe.load_inversion({photo!r})"
        elif aligned:
            known = f"editor.invert({photo!r}, aligned=True)"
        edits = {face: dict(done.edits) for face, done in settings.edited.items()}
        masks = {face: done.mask for face, done in settings.edited.items() if done.mask != "none"}
        options = f", masks={masks}" if masks else ""
        lines = f"result = editor.edit_faces({known}, {edits}{options}{blend})\n"
    return (
        "import stylefeatureeditor as sfe\n\n"
        f"editor = sfe.Editor.from_pretrained({model!r})\n"
        f"{lines}result.save({edited_name(photo)!r})\n"
    )


def film_command(order: Order, film: Film, face: int | str) -> str:
    """Return the `sfe video` command that makes the film; `face` is a number or "all"."""
    words = ["sfe", "video", film.name]
    for name, strength in order.edits.items():
        words += ["-e", f"{name}={strength:g}"]
    words += ["--face", str(face)] if face != 1 else []
    words += ["--mask", order.mask] if order.mask != "none" else []
    words += ["--blend", order.blend] if order.blend else []
    output = edited_name(film.name, f"_edited{film.made.suffix}")
    return shlex.join([*words, "--batch-size", "1", "--model", order.model, "-o", output])


def film_python(order: Order, film: Film, face: int | str) -> str:
    """Return the lines of Python that do so."""
    output = edited_name(film.name, f"_edited{film.made.suffix}")
    words = {"face": face, "mask": order.mask, "blend": order.blend, "batch_size": 1}
    usual = {"face": 1, "mask": "none", "blend": None}
    options = "".join(f", {key}={v!r}" for key, v in words.items() if usual.get(key, 0) != v)
    return (
        "import stylefeatureeditor as sfe\n\n"
        f"editor = sfe.Editor.from_pretrained({order.model!r})\n"
        f"sfe.edit_video(editor, {film.name!r}, {dict(order.edits)}, {output!r}{options})\n"
    )


def edited_name(photo: str, ending: str = "_edited.png") -> str:
    """Return the file name of an edited photo."""
    return PurePath(photo).stem + ending


def session_name(photo: str) -> str:
    """Return the file name of a session."""
    return PurePath(photo).stem + SESSION_SUFFIX


def _masks_differ(settings: Settings) -> bool:
    return len({done.mask for done in settings.edited.values()}) > 1
