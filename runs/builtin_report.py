"""Every number of docs/MODEL_CARD.md and its grid of faces, from people the model never saw.

    python runs/builtin_report.py MODEL JUDGE DATA [--limit N] [--card docs/MODEL_CARD.md]

DATA holds lfw128.zip, celeba87.zip and utkface128.zip; their `test` rows are taken. JUDGE is an
attribute classifier that no direction was fitted with. The tables go between the marks in the card,
the values beside it into model_card.json, the picture into pictures/.
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
from stylefeatureeditor.evaluation.editing import flips, leakage
from stylefeatureeditor.files import atomic_path
from stylefeatureeditor.methods.e4e import E4eMethod
from stylefeatureeditor.methods.sfe import Sfe, SfeWithoutH
from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
from stylefeatureeditor.metrics.pixel import l2, ssim
from stylefeatureeditor.photo.image import to_uint8

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.methods.method import Method

EDITS = {"smile": "Smiling", "glasses": "Eyeglasses", "age": "Young", "gender": "Male"}
REVERSED = ("age",)  # more age is less "Young"
SHOWN = (
    ("smile", 1),
    ("age", 1),
    ("gender", 1),
    ("glasses", 1),
    ("blond_hair", 1),
)  # end of the range
UNROTATED = {"split": "test", "black_frac": "<=0.05"}
BATCH, GRID, ZOOM = 16, 32, 96
LABEL, GAP, STEPS = 130, 12, 7  # pixels of a line's label and before its second face; strengths
AGES = ((0, 12), (13, 19), (20, 39), (40, 59), (60, 120))
MARKS = "<!-- figures -->", "<!-- end of figures -->"


def main() -> None:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("judge", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, help="photos of each set, to try things out")
    parser.add_argument("--card", type=Path, default=Path("docs/MODEL_CARD.md"))
    given = parser.parse_args()
    editor = sfe.Editor.from_pretrained(given.model, device="cpu")
    judge = AttributeClassifier.load(given.judge).eval()

    seen = {
        name: _photos(given.data / f"{name}.zip", editor, given.limit)
        for name in ("lfw128", "celeba87", "utkface128")
    }
    people = torch.cat([seen["lfw128"][0], seen["celeba87"][0]])
    methods: list[Method] = [
        Sfe(editor.model),
        SfeWithoutH(editor.model),
        E4eMethod(editor.model),
    ]
    found = {
        "photos": len(people),
        "inversion": {m.name: inversion(m, people) for m in methods},
        "edits": {
            name: {m.name: edit(m, people, editor, name, judge) for m in methods} for name in EDITS
        },
        "groups": groups(methods[0], editor, judge, *seen["utkface128"]),
    }
    pictures = given.card.parent / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    _save(grid(editor, people), pictures / "faces_grid.jpg")
    _save(strips(editor, people), pictures / "faces_directions.jpg")
    with atomic_path(given.card.with_name("model_card.json")) as part:
        part.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    text = tables(found)
    sys.stdout.write(text + "\n")
    _between_marks(given.card, text)


def inversion(method: Method, photos: Tensor) -> dict[str, float]:
    """Return how near the reconstructions come, means over the photos."""
    parts = photos.split(BATCH)
    return _means([_likeness(method.reconstruct(method.invert(part)), part) for part in parts])


def edit(
    method: Method, photos: Tensor, editor: Editor, name: str, judge: AttributeClassifier
) -> dict[str, float]:
    """Return what an edit does to each photo that is asked to change sides, means over the photos.

    flip: the judge sees the other side after it. leakage: mean change of its other scores by the
    edit, from the redrawn photo; from_photo: the same from the photo itself, what a user sees.
    background: mean squared change of the pixels around the face, from the photo itself.
    """
    column = judge.column(EDITS[name])
    direction = editor.direction(name)
    low, high = _range(editor, name)
    sign = -1 if name in REVERSED else 1
    around = background(photos.shape[-1])
    found = []
    for part in photos.split(BATCH):
        state = method.invert(part)
        before, plain = judge(method.reconstruct(state).clamp(-1, 1)), judge(part)
        has = before[:, column] > 0
        for there in (True, False):
            chosen = torch.nonzero(has == there)[:, 0]
            if not len(chosen):
                continue
            strength = low if there == (sign > 0) else high
            drawn = method.edit(state, {direction: strength})[chosen].clamp(-1, 1)
            after, target = judge(drawn), -1 if there else 1
            moved = ((drawn - part[chosen]).square() * around).sum(dim=(1, 2, 3)) / (
                3 * around.sum()
            )
            found.append(
                {
                    "flip": flips(before[chosen, column], after[:, column], target),
                    "leakage": leakage(before[chosen], after, column),
                    "from_photo": leakage(plain[chosen], after, column),
                    "background": moved,
                }
            )
    return _means(found)


def groups(
    method: Method, editor: Editor, judge: AttributeClassifier, photos: Tensor, rows: list
) -> dict[str, dict[str, float]]:
    """Return inversion and smile flips by age, gender and race of UTKFace's labels."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        age = int(row["age"])
        band = next(f"{first} to {last}" for first, last in AGES if first <= age <= last)
        for group in (f"age {band}", row["gender"], row["race"]):
            members[group].append(number)
    found = {}
    for group in sorted(members):
        mine = photos[members[group]]
        smiles = edit(method, mine, editor, "smile", judge)
        found[group] = {"photos": len(mine), **inversion(method, mine), "flip": smiles["flip"]}
    return found


def grid(editor: Editor, photos: Tensor) -> Image.Image:
    """Draw random faces in two columns, a line each: the reconstruction, then an edit a cell."""
    draw = torch.Generator().manual_seed(0)
    chosen = photos[torch.randperm(len(photos), generator=draw)[:GRID]]
    method = Sfe(editor.model)
    state = method.invert(chosen)
    cells = [method.reconstruct(state)]
    for name, end in SHOWN:
        cells.append(method.edit(state, {editor.direction(name): _range(editor, name)[end]}))
    faces = torch.stack(cells, dim=1).clamp(-1, 1)  # (n, 6, 3, S, S)
    half = len(faces) // 2
    lines = torch.cat([faces[:half], faces[half : 2 * half]], dim=1)  # (n / 2, 12, 3, S, S)
    sheet = lines.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (n / 2 * S, 12 * S, 3)
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
    lines += ["| method | L2 | SSIM |", "|---|---|---|"]
    lines += [
        f"| {name} | {row['l2']:.4f} | {row['ssim']:.3f} |"
        for name, row in found["inversion"].items()
    ]
    lines += [
        "",
        "| edit | method | flips | other scores: by the edit | from the photo | background |",
    ]
    lines += ["|---|---|---|---|---|---|"]
    lines += [
        f"| {edit} | {name} | {row['flip']:.1%} | {row['leakage']:.3f} | {row['from_photo']:.3f} | "
        f"{row['background']:.4f} |"
        for edit, rows in found["edits"].items()
        for name, row in rows.items()
    ]
    lines += ["", "| UTKFace label | photos | L2 | SSIM | smile flips |", "|---|---|---|---|---|"]
    lines += [
        f"| {group} | {row['photos']} | {row['l2']:.4f} | {row['ssim']:.3f} | {row['flip']:.1%} |"
        for group, row in found["groups"].items()
    ]
    return "\n".join(lines)


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


def _likeness(drawn: Tensor, photos: Tensor) -> dict[str, Tensor]:
    drawn = drawn.clamp(-1, 1)
    return {"l2": l2(drawn, photos), "ssim": ssim(drawn, photos)}


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
