"""What the page is told after a step: plain values, and pictures as data URLs.

Pictures travel inside the message, so nothing of a visitor's lies where it could be asked for. What
the page has already (`known`: a photo's unedited picture, small pictures) is not sent again.
"""

from __future__ import annotations

import base64
import io
from itertools import pairwise
from math import floor, log10
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import PhotoError, SfeError
from stylefeatureeditor.photo.animation import save_animation
from stylefeatureeditor.photo.image import in_srgb
from stylefeatureeditor.web.loaded_models import model_label, usable_groups
from stylefeatureeditor.web.settings import (
    UNTOUCHED,
    as_command,
    as_python,
    difference,
    film_command,
    film_python,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from PIL import Image

    from stylefeatureeditor.editing.catalog import CatalogEntry
    from stylefeatureeditor.web.session import Drawing, Session
    from stylefeatureeditor.web.visit import Visit

DRAFT_SIDE, FINAL_SIDE = 1024, 2048  # pixels
DRAFT_QUALITY, FINAL_QUALITY = 80, 92  # JPEG
TITLES = {"own": "Other"}  # where a heading would say nothing to a visitor
STEPS = 60  # a slider has at least so many
ENCODING: dict[str, dict[str, Any]] = {
    "jpeg": {"subsampling": 0},
    "webp": {"method": 4},
    "png": {"compress_level": 3},
}
MOVING_RATE, RESTS = 8, 7  # frames a second of the picture that moves, and at each end


def state(visit: Visit, drawing: Drawing | None, known: Collection[str]) -> dict[str, Any]:
    """Return all that the page shows."""
    message: dict[str, Any] = {
        "models": [[name, model_label(name)] for name in visit.models.names()],
        "model": visit.model,
        "photos": [_in_strip(session, known) for session in visit.photos],
        "photo": None,
        "warning": visit.warning,
    }
    if visit.model:
        editor = visit.models.editor(visit.model)
        groups = usable_groups(editor)
        message["missing"] = len(editor.directions.entries) - sum(map(len, groups.values()))
        message["groups"] = [
            {
                "title": TITLES.get(heading) or heading.capitalize(),
                "sliders": [_slider(entry) for entry in entries],
            }
            for heading, entries in groups.items()
        ]
    if visit.current is not None:
        message |= _photo(visit, visit.current, drawing, known)
        message["warning"] = " ".join(filter(None, [visit.warning, message["warning"]]))
    return message


def draft(session: Session, drawing: Drawing) -> dict[str, Any]:
    """Return what a moving slider shows."""
    return {"after": data_url(drawing.after, DRAFT_QUALITY), "pace": _pace(session)}


def data_url(picture: Image.Image, quality: int = FINAL_QUALITY) -> str:
    """Return a picture as a JPEG inside a URL, in sRGB and on white."""
    buffer = io.BytesIO()
    in_srgb(picture).save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def encoded(picture: Image.Image, kind: str, quality: int) -> bytes:
    """Return a picture as a file of ENCODING, with all that its photo brought."""
    buffer = io.BytesIO()
    options = ENCODING[kind] if kind == "png" else {**ENCODING[kind], "quality": quality}
    try:
        picture.save(buffer, kind.upper(), **options)
    except (OSError, ValueError) as error:  # WebP ends at 16383 pixels a side
        raise PhotoError(f"no {kind} file can hold this picture: {error}") from error
    return buffer.getvalue()


def moving(pictures: list[Image.Image], suffix: str) -> bytes:
    """Return pictures as an animation of `ANIMATIONS` that rests at both ends of its way."""
    frames = [in_srgb(picture) for picture in pictures]
    rests = [frames[0]] * RESTS, [frames[-1]] * RESTS
    with TemporaryDirectory(prefix="sfe-") as folder:
        path = Path(folder) / f"moving{suffix}"
        there_and_back = [*rests[0], *frames[1:-1], *rests[1], *frames[-2:0:-1]]
        return save_animation(there_and_back, path, rate=MOVING_RATE).read_bytes()


def _photo(
    visit: Visit, session: Session, drawing: Drawing | None, known: Collection[str]
) -> dict[str, Any]:
    """The photo in hand, and where its controls stand."""
    settings, opened = session.settings, session.opened
    labels = {entry.name: _label(entry) for entry in session.editor.directions.entries}
    assert opened is not None
    in_hand = [settings.of(face) for face in session.in_hand()] or [UNTOUCHED]
    names = {name for done in in_hand for name in done.edits}
    same = {name: {done.edits.get(name, 0.0) for done in in_hand} for name in names}
    past = [*session.past, settings, *reversed(session.future)]
    message: dict[str, Any] = {
        "edits": {name: next(iter(values)) for name, values in same.items() if len(values) == 1},
        "varied": [name for name, values in same.items() if len(values) > 1],
        "mask": in_hand[0].mask,
        "blend": settings.blend or "",
        "face": settings.face,
        "steps": [difference(a, b, labels) for a, b in pairwise(past)],
        "step": len(session.past),
        "pace": _pace(session),
        "warning": " ".join(
            dict.fromkeys(
                said
                for done in settings.edited.values()
                for said in session.editor.warnings(done.edits)
            )
        ),
        "command": "",
        "python": "",
    }
    if opened.film is not None:
        film, second = opened.film, float(opened.time * opened.film.clip.time_base)
        message["clip"] = {**film.told(), "seconds": film.seconds, "second": second}
        message["warning"] = " ".join(filter(None, [film.notes, message["warning"]]))
    if settings.edited and opened.film is not None:
        try:
            order = session.order()
        except SfeError as error:
            message["command"] = message["python"] = f"# {error}"
        else:
            face = next(iter(settings.edited)) if order.face is not None else "all"
            message["command"] = film_command(order, opened.film, face)
            message["python"] = film_python(order, opened.film, face)
    elif settings.edited:
        subject: dict[str, Any] = {
            "photo": opened.name,
            "model": session.model,
            "aligned": opened.aligned,
            "saved": bool(opened.turns or opened.placed)
            or any(done.mask == "painted" for done in settings.edited.values()),
            "session": visit.session_name(),
        }
        saved = visit.saveable()
        several = sum(bool(one.settings.edited) for one in saved) > 1
        message["command"] = as_command(settings, **subject, several=several)
        place = saved.index(session) if session in saved else 0
        message["python"] = as_python(settings, **subject, place=place)
    if drawing is None:
        return message
    parts: list[Any] = [session.number, opened.turns, opened.time, opened.count, session.model]
    if drawing.is_crop:
        parts.append(settings.face)
    key, painted = ".".join(map(str, parts)), in_hand[0].painted
    message["photo"] = {
        "number": session.number,
        "key": key,
        "name": opened.name,
        "size": opened.size,
        "cropped": drawing.is_crop,
        "sentence": opened.sentence,
        "aligned": opened.aligned,
        "after": "" if drawing.after is drawing.before else data_url(drawing.after),
        "painted": "data:image/png;base64," + base64.b64encode(painted).decode() if painted else "",
        "status": f"{drawing.seconds:.2f} s on {session.editor.method.device}, model "
        f"{model_label(session.model)}, {opened.size[0]} x {opened.size[1]} pixels",
    }
    if key not in known:
        pictures = session.face_pictures() if opened.count > 1 else []
        message["photo"] |= {
            "before": data_url(drawing.before),
            "faces": _outlines(session),
            "pictures": [data_url(picture, DRAFT_QUALITY) for picture in pictures],
        }
    return message


def _pace(session: Session) -> str:
    return session.preview.pace(session.editor)


def _label(entry: CatalogEntry) -> str:
    return entry.label or entry.name.replace("_", " ").capitalize()


def _in_strip(session: Session, known: Collection[str]) -> dict[str, Any]:
    opened = session.opened
    assert opened is not None
    row = {
        "number": session.number,
        "name": opened.name,
        "edited": bool(session.settings.edited),
        "inversion": session.is_inversion,
        "film": session.is_film,
    }
    key = f"small {session.number}.{opened.turns}.{opened.time}"
    if key not in known and session.small is not None:
        row["small"] = data_url(session.small, DRAFT_QUALITY)
    return {**row, "key": key}


def _outlines(session: Session) -> list[list[list[float]]]:
    """The faces' crops, corners in parts of the photo's width and height."""
    opened = session.opened
    assert opened is not None
    if opened.aligned:
        return []
    width, height = opened.size
    quads = opened.quads(session.editor.method.config.framing)
    return [[[float(x / width), float(y / height)] for x, y in quad] for quad in quads]


def _slider(entry: CatalogEntry) -> dict[str, Any]:
    low, high = min(entry.useful_range[0], 0.0), max(entry.useful_range[1], 0.0)
    return {
        "name": entry.name,
        "label": _label(entry),
        "help": entry.help,
        "low": low,
        "high": high,
        "step": 10.0 ** floor(log10((high - low) / STEPS)),
    }
