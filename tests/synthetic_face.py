"""Photos and landmarks made from formulas: the golden crop's inputs, and a plain frontal face."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stylefeatureeditor.photo.paste_back import paste_faces

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.photo.paste_back import Blend
    from stylefeatureeditor.records import AlignedFace

# name: (width, height, middle of the eyes, half the eye distance, angle)
ALIGN_CASES = {
    "inside": (1200, 1100, (600, 420), 60, 0.1),
    "uniform_pad": (700, 640, (345, 250), 80, -0.15),
    "uneven_pad": (620, 900, (150, 330), 85, 0.2),
    "shrink": (5000, 4800, (2500, 1900), 560, 0.05),
}

EYE = np.array([1.0, 0.0])


def wave_photo(width: int, height: int) -> np.ndarray:
    """Return (H, W, 3) uint8 waves; channel c is a sine of x / (11 + 3c) + y / (17 - 4c)."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    photo = np.empty((height, width, 3), dtype=np.uint8)
    for c in range(3):
        phase = x / np.float32(11 + 3 * c) + (y / np.float32(17 - 4 * c))[:, None]
        photo[:, :, c] = np.rint(127.5 + 127.5 * np.sin(phase)).clip(0, 255)
    return photo


def eyes_and_mouth(center: tuple[float, float], scale: float, angle: float) -> np.ndarray:
    """Return (68, 2) whole points of which only the eyes and the mouth's corners are set."""
    points = np.zeros((68, 2))
    turns = np.arange(6) * np.pi / 3
    ring = 0.25 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    points[36:42], points[42:48] = ring - EYE, ring + EYE
    points[48], points[54] = (-0.7, 2), (0.7, 2)
    return np.rint(_placed(points, center, scale, angle)).astype(np.int64)


def frontal_face(center: tuple[float, float], scale: float, angle: float = 0.0) -> np.ndarray:
    """Return 68 points of an upright face: eyes at (-1, 0) and (1, 0), mouth at y = 2."""
    points = np.zeros((68, 2))
    jaw = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([2.2 * np.cos(jaw), 3.2 * np.sin(jaw)], axis=1)
    points[17:22] = [(-1.8 + 0.35 * i, -0.6) for i in range(5)]
    points[22:27] = [(0.4 + 0.35 * i, -0.6) for i in range(5)]
    points[27:31] = [(0, 0.3 * i) for i in range(4)]
    points[31:36] = [(-0.4 + 0.2 * i, 1.1) for i in range(5)]
    turns = np.arange(6) * np.pi / 3
    ring = 0.25 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    points[36:42], points[42:48] = ring - EYE, ring + EYE
    lips = np.linspace(np.pi, -np.pi, 21)[:20]
    points[48:] = np.stack([0.7 * np.cos(lips), 2 - 0.25 * np.sin(lips)], axis=1)
    points[48], points[54] = (-0.7, 2), (0.7, 2)
    return _placed(points, center, scale, angle)


def _placed(
    points: np.ndarray, center: tuple[float, float], scale: float, angle: float
) -> np.ndarray:
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return points @ turn * scale + center


def soft_photo(width: int, height: int) -> np.ndarray:
    """Return (H, W, 3) uint8 with smooth hills of 20 to 50 pixels: shifts show, nothing aliases."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    planes = [
        128 + 50 * np.sin(x / 5 + y / (9 + c)) + 50 * np.cos(y / (6 + c) - x / 13) for c in range(3)
    ]
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint8)


def square(center: tuple[float, float], side: float, angle: float = 0.0) -> np.ndarray:
    """Return the (4, 2) quad of a turned square: top left, bottom left, bottom right, top right."""
    corners = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)])
    return _placed(corners, center, side, angle)


def paste_back(
    face: AlignedFace,
    edited: Tensor,
    inversion: Tensor | None = None,
    *,
    blend: Blend = "feather",
    mask: Tensor | None = None,
    photo_mask: Tensor | None = None,
) -> np.ndarray:
    """Return the photo with the edited crop of one face in it."""
    return paste_faces(
        [face], edited, inversion, blend=blend, masks=[mask], photo_masks=[photo_mask]
    )
