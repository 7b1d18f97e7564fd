"""The bounds of the page."""

from __future__ import annotations

from dataclasses import dataclass

from stylefeatureeditor.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the page; all of them hold for any number of visitors.

    Attributes:
        upload_bytes: of one file; all that arrive at a time may have twice that.
        photo_pixels: of one photo.
        faces: of one photo that can be edited; the largest are offered.
        photos: of one visitor.
        crop_photos: the crops of a photo together are at most so many times as large as it.
        sessions: visitors that are remembered; the one that was idle longest is forgotten first.
        memory_bytes: files, photos and inversions of all visitors. What is in hand always stays,
            so one visitor's photo and inversion may exceed it; files may take a half.
        idle_seconds: a visitor who was away so long is forgotten.
        waiting: steps that may wait for their turn.
        steps: of one photo that can be undone.
        film_frames: of one film.
        film_pixels: of one of its frames.
        disk_bytes: clips and what is made of them, of all visitors; one visitor may take a quarter.
    """

    upload_bytes: int = 200_000_000
    photo_pixels: int = 50_000_000
    faces: int = 16
    photos: int = 200
    crop_photos: int = 6
    sessions: int = 64
    memory_bytes: int = 2_000_000_000
    idle_seconds: int = 43_200
    waiting: int = 32
    steps: int = 50
    film_frames: int = 18_000
    film_pixels: int = 8_900_000
    disk_bytes: int = 8_000_000_000

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1:
            raise ConfigError(f"every limit must be at least 1, got {self}")
