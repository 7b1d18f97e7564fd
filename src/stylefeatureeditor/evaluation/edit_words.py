"""Edits of a table as a user writes them.

    smile=-                 removes smiles, half of the direction's useful range
    age=3                   adds age, strength 3
    beard:-No_Beard=5       the direction `beard`; its positive end takes No_Beard away
    rotation=5              no attribute: two random halves

The part behind the colon names the attribute that the photos are split by; a minus in front says
that the direction's positive end removes it. Without it, known directions have an attribute, and
others are looked up among the attributes by their own name.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from stylefeatureeditor.data.attribute_table import read_attribute_table
from stylefeatureeditor.data.row_filter import nearest
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.editing import EditTask, split_by_attribute

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from torch import Tensor

    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.methods.method import Method

# direction: attribute of CelebA, and whether the positive end brings (1) or removes (-1) it
KNOWN = {
    "smile": ("Smiling", 1),
    "fs_smiling": ("Smiling", 1),
    "smiling": ("Smiling", 1),
    "age": ("Young", -1),
    "fs_glasses": ("Eyeglasses", 1),
    "glasses": ("Eyeglasses", 1),
    "gender": ("Male", 1),
    "mouth_open": ("Mouth_Slightly_Open", 1),
    "beard": ("No_Beard", -1),
    "fs_makeup": ("Heavy_Makeup", 1),
    "makeup": ("Heavy_Makeup", 1),
    "lipstick": ("Wearing_Lipstick", 1),
    "bangs": ("Bangs", 1),
    "goatee": ("Goatee", 1),
}
RANDOM_HALVES = ("rotation", "pose", "head_angle_up")
# the paper's words for an attribute and its opposite
TITLES = {"Smiling": ("smile+", "smile-"), "Eyeglasses": ("glasses+", "glasses-")}
TITLES["Young"] = ("old-", "old+")
TITLES["No_Beard"] = ("beard-", "beard+")


@dataclass(frozen=True)
class EditWords:
    """An edit as typed."""

    direction: str
    attribute: str | None  # behind the colon, if any
    polarity: int  # -1 with a minus in front of the attribute
    strength: float | None  # the number; None if only a sign was given
    sign: int  # 1 or -1


def parse_edit(text: str) -> EditWords:
    """Read "smile=-", "age=3", "beard:-No_Beard=5"."""
    what, equals, amount = text.rpartition("=")
    direction, colon, attribute = what.partition(":")
    polarity = -1 if attribute.startswith("-") else 1
    attribute = attribute.removeprefix("-").strip()
    strength = None if amount in ("+", "-") else _number(amount)
    wrong = strength is None and amount not in ("+", "-")
    if wrong or strength == 0 or not equals or not direction.strip() or (colon and not attribute):
        raise ConfigError(
            "expected DIRECTION=STRENGTH or DIRECTION:ATTRIBUTE=STRENGTH, the strength a number or "
            f"a sign, as in 'smile=-' or 'age=3', got {text!r}"
        )
    sign = (-1 if amount == "-" else 1) if strength is None else (1 if strength > 0 else -1)
    return EditWords(direction.strip(), attribute or None, polarity, strength, sign)


def resolve_edit(words: EditWords, editor: Editor, attributes: Sequence[str]) -> EditTask:
    """Return the task of an edit."""
    direction = editor.direction(words.direction)
    entry = editor.directions.find(words.direction)
    strength = words.strength
    if strength is None:
        strength = entry.useful_range[1 if words.sign > 0 else 0] / 2
        if strength * words.sign <= 0:
            raise ConfigError(
                f"the useful range of {entry.name} is {entry.useful_range}: it has no "
                f"{'positive' if words.sign > 0 else 'negative'} half; give a number"
            )
    title, attribute, target = split_of(words, entry.name, attributes)
    return EditTask(
        name=title, direction=direction, strength=strength, attribute=attribute, target=target
    )


def split_of(
    words: EditWords, direction: str, attributes: Sequence[str]
) -> tuple[str, str | None, int]:
    """Return an edit's title, the attribute that photos are split by, and its target.

    `direction` is the name of the catalogue; the attribute is None for random halves.
    """
    attribute, polarity = words.attribute, words.polarity
    if attribute is None:
        same = {name.lower(): name for name in attributes}
        if direction in KNOWN:
            attribute, polarity = KNOWN[direction]
        elif direction in same:
            attribute = same[direction]
        elif direction in RANDOM_HALVES:
            return f"{direction}{'+' if words.sign > 0 else '-'}", None, 1
        else:
            raise ConfigError(
                f"no attribute is known for the direction {direction}; say which photos have it, "
                f"as in {direction}:ATTRIBUTE=+"
            )
    if attribute not in attributes:
        raise ConfigError(
            f"the table of attributes has no {attribute!r}; {nearest(attribute, attributes)}"
        )
    target = words.sign * polarity
    plus, minus = TITLES.get(attribute, (f"{attribute.lower()}+", f"{attribute.lower()}-"))
    return plus if target > 0 else minus, attribute, target


def split_for_images(
    words: EditWords, data: str | Path, attributes: str | Path | None, names: Sequence[str]
) -> tuple[str, tuple[np.ndarray, np.ndarray]]:
    """Return the title of an edit made elsewhere, and the numbers of the photos A and B."""
    table = read_attribute_table(attributes or data).align(names)
    title, attribute, target = split_of(words, words.direction, table.attributes)
    if attribute is None:
        raise ConfigError(f"which photos were edited by {words.direction}? Name an attribute")
    return title, split_by_attribute(title, attribute, target, table.column(attribute))


def edit_tasks(
    words: Sequence[EditWords],
    editors: Sequence[Editor],
    data: str | Path,
    attributes: str | Path | None,
    names: Sequence[str],
) -> list[tuple[Method, EditTask, Tensor | None]]:
    """Return every edit of every method, with the attribute that its photos are split by."""
    table = None
    needed = any(w.attribute or w.direction not in RANDOM_HALVES for w in words)
    if words and (attributes is not None or needed):
        table = read_attribute_table(attributes or data).align(names)
    tasks: list[tuple[Method, EditTask, Tensor | None]] = []
    for editor in editors:
        for word in words:
            task = resolve_edit(word, editor, () if table is None else table.attributes)
            values = None
            if task.attribute is not None and table is not None:
                values = table.column(task.attribute)
                split_by_attribute(task.name, task.attribute, task.target, values)
            tasks.append((editor.method, task, values))
    return tasks


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None
