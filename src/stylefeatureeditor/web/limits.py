"""What one page may take from the machine it runs on."""

from __future__ import annotations

from dataclasses import dataclass

from stylefeatureeditor.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the page; all of them hold for any number of visitors.

    Attributes:
        upload_bytes: of one file.
        photo_pixels: of one photo.
        faces: of one photo that can be edited; the largest are offered.
        sessions: visitors that are remembered; the one that was idle longest is forgotten first.
        memory_bytes: photos and inversions of all visitors. What was used last always stays, so
            one visitor's photo and inversion may exceed it.
        waiting: steps that may wait for their turn.
        steps: of one visitor that can be undone.
    """

    upload_bytes: int = 200_000_000
    photo_pixels: int = 50_000_000
    faces: int = 16
    sessions: int = 64
    memory_bytes: int = 2_000_000_000
    waiting: int = 32
    steps: int = 50

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1:
            raise ConfigError(f"every limit must be at least 1, got {self}")
