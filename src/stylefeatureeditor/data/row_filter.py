"""Which rows of a table take part: {"split": "train", "black_frac": "<=0.05"}.

Every column named must agree. A rule is a value, several values joined by `|`, or `!=`, `<`, `<=`,
`>`, `>=` followed by a value; text that reads as numbers is compared as numbers. An empty cell
meets only `!=`.
"""

from __future__ import annotations

import difflib
import operator
from typing import TYPE_CHECKING

from stylefeatureeditor.data.image_sources import as_number
from stylefeatureeditor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_NUMERIC: tuple[tuple[str, Callable[[float, float], bool]], ...] = (
    ("<=", operator.le),
    (">=", operator.ge),
    ("<", operator.lt),
    (">", operator.gt),
)


def row_filter(
    where: Mapping[str, str | float], columns: Iterable[str], source: str
) -> Callable[[Mapping[str, str]], bool]:
    """Return a function that tells whether a row meets every rule of `where`."""
    known = sorted(columns)
    for column in where:
        if column not in known:
            raise ConfigError(f"{source} has no column {column!r}; {nearest(column, known)}")
    rules = [(column, _rule(column, str(text).strip())) for column, text in where.items()]
    return lambda row: all(rule(row.get(column, "").strip()) for column, rule in rules)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names what `word` may have meant."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if not names:
        return "it has none"
    return f"there are {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}"


def _rule(column: str, text: str) -> Callable[[str], bool]:
    if text.startswith("!="):
        other = text[2:].strip()
        return lambda cell: not _same(cell, other)
    for sign, compare in _NUMERIC:
        if text.startswith(sign):
            limit = _number(column, text[len(sign) :])
            return lambda cell: cell != "" and compare(_number(column, cell), limit)
    values = [value.strip() for value in text.split("|")]
    return lambda cell: any(_same(cell, value) for value in values)


def _same(cell: str, value: str) -> bool:
    if cell == value:
        return True
    try:
        return as_number(cell) == as_number(value)
    except ValueError:
        return False


def _number(column: str, text: str) -> float:
    try:
        return as_number(text)
    except ValueError:
        raise ConfigError(
            f"column {column!r} is compared by size, but {text!r} is no number"
        ) from None
