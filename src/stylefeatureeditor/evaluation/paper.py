"""What the paper reports, to compare with what is run here.

Table 1 and 2 of Bobkov et al. 2024: CelebA-HQ test set; seconds per edit on a V100. Edits are FID,
smile removed, glasses added, age added. They are reports, not results of this code: dataset, size
and hardware are theirs.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reported:
    """One row of a table of the paper."""

    method: str
    values: dict[str, float]


def _rows(name: str) -> tuple[Reported, ...]:
    with (Path(__file__).parent / "paper_tables" / f"{name}.csv").open(encoding="utf-8") as file:
        return tuple(
            Reported(row.pop("method"), {column: float(value) for column, value in row.items()})
            for row in csv.DictReader(file)
        )


FACES, CARS, ABLATIONS = _rows("faces"), _rows("cars"), _rows("ablations")
