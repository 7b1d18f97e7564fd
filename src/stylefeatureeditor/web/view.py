"""What the page's own two parts are told: plain values and pictures as data URLs.

The parts are `viewer` (photo, faces, before and after, brush) and `panel` (the sliders). Pictures
travel inside the message, so nothing of a visitor's lies in a file that could be asked for.
"""

from __future__ import annotations

import base64
import io
from math import floor, log10
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.photo.image import in_srgb
from stylefeatureeditor.web.loaded_models import model_label, usable_groups

if TYPE_CHECKING:
    from PIL import Image

    from stylefeatureeditor.editing.catalog import CatalogEntry
    from stylefeatureeditor.web.session import Drawing, Session

DRAFT_SIDE, FINAL_SIDE, CROP_SIDE = 1024, 2048, 512  # pixels
DRAFT_QUALITY, FINAL_QUALITY = 80, 92  # JPEG
TITLES = {"own": "Other"}  # where a heading would say nothing to a visitor
STEPS = 60  # a slider has at least so many


def viewer_message(
    session: Session, number: int, drawing: Drawing | None, *, draft: bool = False
) -> dict[str, Any]:
    """Return what the viewer shows.

    Args:
        session: whose page it is.
        number: differs from that of every other message.
        drawing: the pictures; None leaves those that are shown.
        draft: whether a slider is still moving: what it cannot change is left out.
    """
    message: dict[str, Any] = {"number": number, "draft": draft, "sentence": "", "warning": ""}
    opened = session.opened
    message["photo"] = session.number if opened else 0
    if opened is None:
        return message
    message["pace"] = session.preview.pace(session.editor)
    if drawing is None:
        return message
    quality = DRAFT_QUALITY if draft else FINAL_QUALITY
    message["after"] = data_url(drawing.after, quality)
    message["crop"] = data_url(_small(drawing.crop), quality)
    device, model = session.editor.method.device, model_label(session.model)
    kind = "Preview, " if drawing.is_preview else ""
    message["status"] = f"{kind}{drawing.seconds:.2f} s on {device}, model {model}"
    if not draft:
        height, width = opened.photo.pixels.shape[:2]
        message |= {
            "name": opened.name,
            "size": [width, height],
            "cropped": drawing.before is drawing.crop_before,
            "before": data_url(drawing.before, quality),
            "crop_before": data_url(_small(drawing.crop_before), quality),
            "faces": _outlines(session),
            "mask": session.settings.mask,
            "painted": _png_url(session.settings.painted),
            "warning": " ".join(
                filter(None, [opened.sentence, *session.editor.warnings(session.settings.edits)])
            ),
        }
    return message


def panel_message(session: Session, number: int) -> dict[str, Any]:
    """Return the sliders of the session's model and where they stand.

    Args:
        session: whose page it is.
        number: differs from that of every other message.
    """
    groups = usable_groups(session.editor)
    return {
        "number": number,
        "ready": session.opened is not None,
        "missing": len(session.editor.directions.entries) - sum(map(len, groups.values())),
        "edits": dict(session.settings.edits),
        "groups": [
            {
                "title": TITLES.get(heading) or heading.capitalize(),
                "sliders": [_slider(entry) for entry in entries],
            }
            for heading, entries in groups.items()
        ],
    }


def data_url(picture: Image.Image, quality: int = FINAL_QUALITY) -> str:
    """Return a picture as a JPEG inside a URL, in sRGB and on white."""
    buffer = io.BytesIO()
    in_srgb(picture).save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _png_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode() if content else ""


def _small(picture: Image.Image) -> Image.Image:
    return picture.resize((CROP_SIDE, CROP_SIDE)) if picture.width > CROP_SIDE else picture


def _outlines(session: Session) -> list[dict[str, Any]]:
    """The faces' crops, corners in parts of the photo's width and height."""
    opened, chosen = session.opened, session.settings.face
    assert opened is not None
    if opened.aligned:
        return []
    height, width = opened.photo.pixels.shape[:2]
    return [
        {
            "number": number,
            "chosen": chosen in ("all", number),
            "points": [[float(x / width), float(y / height)] for x, y in quad],
        }
        for number, quad in enumerate(opened.quads(session.editor.model.config.framing), start=1)
    ]


def _slider(entry: CatalogEntry) -> dict[str, Any]:
    low, high = min(entry.useful_range[0], 0.0), max(entry.useful_range[1], 0.0)
    step = 10.0 ** floor(log10((high - low) / STEPS))
    return {
        "name": entry.name,
        "label": entry.label or entry.name.replace("_", " ").capitalize(),
        "help": entry.help,
        "low": low,
        "high": high,
        "step": step,
    }
