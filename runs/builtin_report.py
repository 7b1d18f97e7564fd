"""Every number of docs/MODEL_CARD.md and its pictures, from people the model never saw.

    python runs/builtin_report.py MODEL DATA [--limit N] [--card docs/MODEL_CARD.md]

DATA holds lfw128.zip, celeba87.zip, synthetic256.zip and utkface128.zip; their `test` rows are
taken. The tables go between the marks in the card, the values beside it into model_card.json, the
pictures into pictures/.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image, ImageDraw, ImageFont

import stylefeatureeditor as sfe
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.files import atomic_path
from stylefeatureeditor.methods.e4e import E4eMethod
from stylefeatureeditor.methods.sfe import Sfe, SfeWithoutH
from stylefeatureeditor.metrics.dlib_identity import SAME_PERSON, load_dlib_identity
from stylefeatureeditor.metrics.pixel import l2, ssim
from stylefeatureeditor.photo.image import to_uint8

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.methods.method import Method
    from stylefeatureeditor.metrics.dlib_identity import DlibIdentity

UNROTATED = {"split": "test", "black_frac": "<=0.05"}
SETS = ("lfw128", "celeba87", "synthetic256", "utkface128")
BATCH, ZOOM = 16, 96  # photos, pixels of a face in a picture
GRID = 48  # faces of the grid: two of three from photos, the others synthetic
LABEL, GAP, STEPS = 130, 12, 7  # pixels of a line's label and before its second face; strengths
AGES = ((0, 12), (13, 19), (20, 39), (40, 59), (60, 120))
MARKS = "<!-- figures -->", "<!-- end of figures -->"


def main() -> None:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, help="photos of each set, to try things out")
    parser.add_argument("--card", type=Path, default=Path("docs/MODEL_CARD.md"))
    given = parser.parse_args()
    editor = sfe.Editor.from_pretrained(given.model, device="cpu")
    identity = load_dlib_identity()

    seen = {name: _photos(given.data / f"{name}.zip", editor, given.limit) for name in SETS}
    people = torch.cat([seen["lfw128"][0], seen["celeba87"][0]])
    methods: list[Method] = [
        Sfe(editor.model),
        SfeWithoutH(editor.model),
        E4eMethod(editor.model),
    ]
    names = [entry.name for entry in editor.directions.entries]
    found = {
        "photos": len(people),
        "inversion": {m.name: inversion(m, people, identity) for m in methods},
        "edits": {
            name: {m.name: edit(m, people, editor, name, identity) for m in methods}
            for name in names
        },
        "groups": groups(methods[0], identity, *seen["utkface128"]),
    }
    pictures = given.card.parent / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    real, synthetic = people, seen["synthetic256"][0]
    chosen = [_random(real, GRID * 2 // 3), _random(synthetic, GRID // 3)]
    _save(grid(editor, torch.cat(chosen)), pictures / "faces_grid.jpg")
    _save(strips(editor, torch.cat(chosen)), pictures / "faces_directions.jpg")
    with atomic_path(given.card.with_name("model_card.json")) as part:
        part.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    text = tables(found)
    sys.stdout.write(text + "\n")
    _between_marks(given.card, text)


def inversion(method: Method, photos: Tensor, identity: DlibIdentity) -> dict[str, float]:
    """Return how near the reconstructions come, means over the photos."""
    parts = photos.split(BATCH)
    drawn = [method.reconstruct(method.invert(part)).clamp(-1, 1) for part in parts]
    return _means(
        [
            {"l2": l2(d, p), "ssim": ssim(d, p), **_identity(identity, d, p)}
            for d, p in zip(drawn, parts, strict=True)
        ]
    )


def edit(
    method: Method, photos: Tensor, editor: Editor, name: str, identity: DlibIdentity
) -> dict[str, float]:
    """Return what both ends of a direction do to a photo, means over photos and ends.

    distance, same: who the face is for dlib, before and after. background: mean absolute change of
    the pixels around the head, in levels of 255, against the photo redrawn without the edit.
    """
    direction, around = editor.direction(name), background(photos.shape[-1])
    found = []
    for part in photos.split(BATCH):
        state = method.invert(part)
        plain = method.reconstruct(state).clamp(-1, 1)
        for strength in _range(editor, name):
            drawn = method.edit(state, {direction: strength}).clamp(-1, 1)
            change = ((drawn - plain).abs() * around).sum(dim=(1, 2, 3)) / (3 * around.sum())
            found.append(_identity(identity, drawn, part) | {"background": change * 127.5})
    return _means(found)


def groups(
    method: Method, identity: DlibIdentity, photos: Tensor, rows: list
) -> dict[str, dict[str, float]]:
    """Return the inversion by age, gender and race of UTKFace's labels."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        age = int(row["age"])
        band = next(f"{first} to {last}" for first, last in AGES if first <= age <= last)
        for group in (f"age {band}", row["gender"], row["race"]):
            members[group].append(number)
    return {
        group: {
            "photos": len(members[group]),
            **inversion(method, photos[members[group]], identity),
        }
        for group in sorted(members)
    }


def grid(editor: Editor, photos: Tensor) -> Image.Image:
    """Draw faces in two columns, a line each: the photo, then every direction at its far end."""
    method = Sfe(editor.model)
    state = method.invert(photos)
    ends = {e.name: max(e.useful_range, key=abs) for e in editor.directions.entries}
    cells = [photos]
    cells += [method.edit(state, {editor.direction(n): end}) for n, end in ends.items()]
    faces = torch.stack(cells, dim=1).clamp(-1, 1)  # (n, 1 + edits, 3, S, S)
    half = len(faces) // 2
    lines = torch.cat([faces[:half], faces[half : 2 * half]], dim=1)
    sheet = lines.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (n / 2 * S, ... * S, 3)
    image = Image.fromarray(((sheet + 1) * 127.5).round().byte().numpy())
    scale = ZOOM / photos.shape[-1]
    size = round(image.width * scale), round(image.height * scale)
    return image.resize(size, Image.Resampling.LANCZOS)


def strips(editor: Editor, photos: Tensor) -> Image.Image:
    """Draw a line for each direction: two random faces along its useful range."""
    draw = torch.Generator().manual_seed(1)
    method, size = Sfe(editor.model), ImageFont.load_default(size=15)
    entries = editor.directions.entries
    order = torch.randperm(len(photos), generator=draw)
    sheet = Image.new("RGB", (LABEL + 2 * STEPS * ZOOM + GAP, len(entries) * ZOOM), "white")
    pen = ImageDraw.Draw(sheet)
    for line, entry in enumerate(entries):
        low, high = entry.useful_range
        text = f"{entry.label or entry.name}\n{low:g} to {high:g}"
        pen.text((8, (line + 0.5) * ZOOM), text, fill="black", anchor="lm", font=size)
        direction, pair = editor.direction(entry.name), order[2 * line : 2 * line + 2]
        state = method.invert(photos[pair])
        for column, strength in enumerate(torch.linspace(low, high, STEPS).tolist()):
            drawn = method.edit(state, {direction: strength}).clamp(-1, 1)
            for face, tile in enumerate(to_uint8(drawn)):
                at = LABEL + (column + face * STEPS) * ZOOM + face * GAP, line * ZOOM
                picture = Image.fromarray(tile)
                sheet.paste(picture.resize((ZOOM, ZOOM), Image.Resampling.LANCZOS), at)
    return sheet


def tables(found: dict[str, Any]) -> str:
    """Return the card's tables as Markdown."""
    lines = [f"On {found['photos']} photos of people never seen:", ""]
    lines += [
        "| method | L2 | SSIM | distance of identity | same person |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {name} | {_likeness(row)} |" for name, row in found["inversion"].items()]
    lines += ["", "| edit | method | distance of identity | same person | background |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| {edit} | {name} | {row['distance']:.3f} | {row['same']:.1%} | {row['background']:.2f} |"
        for edit, rows in found["edits"].items()
        for name, row in rows.items()
    ]
    lines += ["", "| UTKFace label | photos | L2 | SSIM | distance of identity | same person |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [
        f"| {group} | {row['photos']} | {_likeness(row)} |"
        for group, row in found["groups"].items()
    ]
    return "\n".join(lines)


def _likeness(row: dict[str, float]) -> str:
    """Return the cells of an inversion."""
    return f"{row['l2']:.4f} | {row['ssim']:.3f} | {row['distance']:.3f} | {row['same']:.1%}"


def background(side: int) -> Tensor:
    """Return (1, side, side): 0 in an ellipse that holds a face of FFHQ's framing, else 1."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    return ((x / 0.75).square() + ((y - 0.1) / 0.95).square() > 1).float()[None]


def _photos(zip_: Path, editor: Editor, limit: int | None) -> tuple[Tensor, list[Any]]:
    images = open_images(zip_, editor.model.config.generator.size, where=UNROTATED)
    numbers = range(len(images) if limit is None else min(limit, len(images)))
    return images.photos(numbers), [images.rows[number] for number in numbers]


def _range(editor: Editor, name: str) -> tuple[float, float]:
    return editor.directions.find(name).useful_range


def _identity(identity: DlibIdentity, first: Tensor, second: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        distance = identity.distance(first, second)
    return {"distance": distance, "same": (distance < SAME_PERSON).float()}


def _random(photos: Tensor, count: int) -> Tensor:
    order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(0))
    return photos[order[:count]]


def _means(parts: list[dict[str, Tensor]]) -> dict[str, float]:
    """Return the mean of each value, without those that do not apply (NaN)."""
    return {
        name: torch.cat([part[name].double() for part in parts]).nanmean().item()
        for name in parts[0]
    }


def _save(image: Image.Image, path: Path) -> None:
    with atomic_path(path) as part:
        image.save(part, "JPEG", quality=90)


def _between_marks(card: Path, text: str) -> None:
    """Replace what stands between the marks; a card without them is left alone."""
    if not card.is_file():
        return
    old = card.read_text("utf-8")
    first, last = MARKS
    if first in old and last in old:
        head, rest = old.split(first, 1)
        with atomic_path(card) as part:
            part.write_text(f"{head}{first}\n{text}\n{last}{rest.split(last, 1)[1]}", "utf-8")


if __name__ == "__main__":
    main()
