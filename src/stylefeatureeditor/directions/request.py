"""The options of `sfe directions fit`, and which of them contradict each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FACES_MEASURED = 24  # that a range is measured on


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """Directions to find, by the names and with the defaults of the command's flags.

    ConfigError if no way to find directions is given, or more than one, or one lacks something.
    """

    name: str | None = None
    data: Sequence[str] | None = None
    where: Sequence[tuple[str, str]] = ()
    labels: Path | None = None
    column: str | None = None
    classifier: Path | None = None
    reverse: bool = False
    without: Sequence[str] = ()
    method: str = "logistic"
    per_style: bool = False
    mirror: int | None = None
    pca: int | None = None
    sefa: int | None = None
    layers: tuple[int, int] | None = None
    samples: int = 4000

    def __post_init__(self) -> None:
        of_photos = self.data and self.mirror is None
        ways = [self.pca, self.sefa, self.mirror, (self.classifier or of_photos) or None]
        has_attribute = ways[3] is not None
        count = sum(way is not None for way in ways)
        of_labels = (self.column, self.reverse, self.without, self.labels, self.per_style)
        learns = self.method == "learned"
        refused = {
            "say how to find directions: --data with labels, --classifier, --mirror with --data, "
            "--pca or --sefa": count != 1 or (self.data and (self.pca or self.sefa)),
            "--column, --reverse, --without, --labels and --per-style are of directions with an "
            "attribute, not of --mirror, --pca and --sefa": not has_attribute and any(of_labels),
            "--mirror needs photos: say which with --data": (
                self.mirror is not None and not self.data
            ),
            "a direction is learned from a classifier: pass --classifier": (
                learns and not self.classifier
            ),
            "a direction from labels needs --name and --column": (
                has_attribute and not (self.name and self.column)
            ),
            "--labels are of photos with --data, and --method learned reads none": (
                self.labels and (learns or not self.data)
            ),
            f"--samples must be at least {FACES_MEASURED}, got {self.samples}": (
                self.samples < FACES_MEASURED
            ),
            "generated codes have one style for all layers: --per-style needs --data": (
                self.per_style and not self.data
            ),
        }
        for sentence, is_so in refused.items():
            if is_so:
                raise ConfigError(sentence)

    @staticmethod
    def of(flags: Mapping[str, Any]) -> FitRequest:
        """Return the request that the flags of the command make."""
        names = FitRequest.__dataclass_fields__
        return FitRequest(**{name: value for name, value in flags.items() if name in names})

    @property
    def attribute(self) -> str:
        """The attribute that the direction brings, as a classifier calls it: "-Young" is old."""
        return f"-{self.column}" if self.reverse else str(self.column)
