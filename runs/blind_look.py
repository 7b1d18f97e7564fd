"""A blind look at edits: people who see only before and after say what was done, and how well.

    python runs/blind_look.py make MODEL DATA OUT [--photos 40]
    python runs/blind_look.py score OUT ANSWERS.csv...

DATA holds lfw128.zip and synthetic256.zip; photos of their `test` rows are drawn by chance. Each is
shown with every edit of `EDITS` and once without any, in an order drawn by chance: OUT gets
sheet-01.png and so on, each pair with its number, and key.json, which viewers must not see. A
viewer writes a line a pair: its number, one of `WORDS`, and `broken` or `fine`. `score` counts.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import stylefeatureeditor as sfe
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.editing.delta import resize
from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
from stylefeatureeditor.photo.image import to_uint8
from stylefeatureeditor.training.loss_networks import ATTRIBUTES
from stylefeatureeditor.weights.local_models import find_model

EDITS = {  # what a viewer should say: the direction, and where in its useful range
    "smile more": ("smile", 1.0),
    "smile less": ("smile", -1.0),
    "older": ("age", 1.0),
    "glasses": ("glasses", 1.0),
    "other gender": ("gender", 0.0),  # away from the end that the photo is at
}
WORDS = ("nothing", *EDITS, "something else")
ZOOM, COLUMNS, ROWS, GAP = 192, 3, 5, 10  # pixels of a picture, pairs on a sheet, pixels
UNROTATED = {"split": "test", "black_frac": "<=0.05"}


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    making = commands.add_parser("make")
    making.add_argument("model")
    making.add_argument("data", type=Path)
    making.add_argument("out", type=Path)
    making.add_argument("--photos", type=int, default=40)
    making.add_argument("--seed", type=int, default=0)
    scoring = commands.add_parser("score")
    scoring.add_argument("out", type=Path)
    scoring.add_argument("answers", type=Path, nargs="+")
    given = parser.parse_args()
    if given.command == "make":
        make(given.model, given.data, given.out, given.photos, given.seed)
    else:
        score(given.out, given.answers)


def make(model: str, data: Path, out: Path, count: int, seed: int) -> None:
    """Write sheets and key."""
    draw = random.Random(seed)
    editor = sfe.Editor.from_pretrained(model, device="cpu")
    classifier = AttributeClassifier.load(find_model("faces") / ATTRIBUTES).eval()
    photos, is_male = [], []
    for name, share in (("lfw128", 0.6), ("synthetic256", 0.4)):
        images = open_images([data / f"{name}.zip"], 256, UNROTATED)
        chosen = images.photos(draw.sample(range(len(images)), round(share * count)))
        photos += [Image.fromarray(pixels) for pixels in to_uint8(chosen)]
        scores = classifier(resize(chosen, classifier.config.size))
        is_male += (scores[:, classifier.column("Male")] > 0).tolist()
    known = {entry.name for entry in editor.directions.entries}
    asked = {word: edit for word, edit in EDITS.items() if edit[0] in known}
    trials = [(photo, word) for photo in range(len(photos)) for word in ("nothing", *asked)]
    draw.shuffle(trials)
    out.mkdir(parents=True, exist_ok=True)
    pairs = [
        (photos[p], changed(editor, photos[p], asked.get(word), is_male=is_male[p]))
        for p, word in trials
    ]
    page = COLUMNS * ROWS
    for start in range(0, len(pairs), page):
        sheet(pairs[start : start + page], start + 1).save(
            out / f"sheet-{start // page + 1:02}.png"
        )
    key = {str(number): word for number, (_, word) in enumerate(trials, 1)}
    (out / "key.json").write_text(json.dumps(key, indent=1) + "\n", "utf-8")


def changed(
    editor: sfe.Editor, photo: Image.Image, edit: tuple[str, float] | None, *, is_male: bool
) -> Image.Image:
    """Return the photo as a user gets it back, at an end of the direction's range."""
    if edit is None:
        return photo
    name, share = edit
    low, high = editor.directions.find(name).useful_range
    upwards = share > 0 or (share == 0 and not is_male)
    return editor.edit(photo, {name: high if upwards else low}, aligned=True).photo


def sheet(pairs: list[tuple[Image.Image, Image.Image]], first: int) -> Image.Image:
    """Return a page of pairs, each with its number: before, after."""
    wide, high = 2 * ZOOM + GAP, ZOOM + 3 * GAP
    page = Image.new("RGB", (COLUMNS * (wide + 2 * GAP), ROWS * (high + GAP)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    for place, pair in enumerate(pairs):
        x, y = place % COLUMNS * (wide + 2 * GAP), place // COLUMNS * (high + GAP)
        draw.text((x + 2, y), str(first + place), fill="black", font=font)
        for side, picture in enumerate(pair):
            shown = picture.convert("RGB").resize((ZOOM, ZOOM), Image.Resampling.LANCZOS)
            page.paste(shown, (x + side * (ZOOM + GAP // 2), y + 2 * GAP))
    return page


def score(out: Path, answers: list[Path]) -> None:
    """Print how often each edit was named, and called broken, over all viewers."""
    key = json.loads((out / "key.json").read_text("utf-8"))
    rows = []
    for file in answers:
        with file.open(newline="", encoding="utf-8") as lines:
            rows += [[cell.strip() for cell in row] for row in csv.reader(lines) if row]
    wrong = [row for row in rows if len(row) < 3 or row[0] not in key or row[1] not in WORDS]
    if wrong:
        sys.exit(f"not an answer: {wrong[0]}")
    sys.stdout.write(
        "| edit | pairs | named | called broken | taken for |\n|---|---|---|---|---|\n"
    )
    for word in WORDS[:-1]:
        own = [row for row in rows if key[row[0]] == word]
        if own:
            named = sum(row[1] == word for row in own) / len(own)
            broken = sum(row[2] == "broken" for row in own) / len(own)
            others = [row[1] for row in own if row[1] != word]
            common = max(set(others), key=others.count) if others else ""
            sys.stdout.write(f"| {word} | {len(own)} | {named:.0%} | {broken:.0%} | {common} |\n")


if __name__ == "__main__":
    main()
