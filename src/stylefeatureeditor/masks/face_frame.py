"""The frame in which FaRL sees a face: upright, at a fixed size, its surroundings squeezed.

Five points of the face are laid on fixed places of a square frame by a similarity transform. The
LaPa model then squeezes everything that is far from the centre into the frame's border by tanh,
so that hair and shoulders stay visible beside a large face. Facts from FacePerceiver/facer
(`transform.py`, `masks/farl.py`; MIT), which the release uses as pyfacer 0.0.4; the warp is
that of Lin et al., "Face Parsing with RoI Tanh-Warping", CVPR 2019, with a linear middle.

    squeeze(c) = c                                      for |c| <= 1 - f
                 sign(c) (1 - f + f tanh((|c| - 1 + f) / f))   beyond          c in units of T / 2

Coordinates are (x, y), continuous: (0, 0) is the corner of the first pixel, whose centre is
(0.5, 0.5). Points: eye on the left of the picture, eye on the right, tip of the nose, corner of
the mouth on the left, on the right.

Shapes: B batch, S side of the crop, T side of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stylefeatureeditor.errors import FaceError, check_shape

FFHQ_POINTS = (
    *((192.98138, 239.94708), (318.90277, 240.1936), (256.63416, 314.01935)),
    *((201.26117, 371.41043), (313.08905, 371.15118)),
)
"""Where the points lie in an average FFHQ crop of 512 (the template of facexlib, MIT)."""

LAPA_POINTS = ((196.0, 226.0), (316.0, 226.0), (256.0, 286.0), (220.0, 360.4), (292.0, 360.4))
"""Where the LaPa model wants them, in a frame of 512."""

_EDGE = 1e-3  # how far from the limit of tanh its inverse is cut off


@dataclass(frozen=True)
class FaceFrame:
    """The way from a crop to the frame of the parser, and back."""

    # (B, 3, 3), homogeneous crop coordinates -> frame coordinates, before the squeeze
    matrix: Tensor
    side: int  # T
    warp: float  # f, the part of the half side that is squeezed, in (0, 1)

    def sample(self, pixels: Tensor) -> Tensor:
        """Return the face in its frame, (B, 3, T, T), from `pixels` (B, 3, S, S) in [-1, 1].

        Bilinear; beyond the crop lies black.
        """
        frame = _unsqueeze(2 * _centres(self.side, pixels) / self.side - 1, self.warp)
        crop = _apply(torch.linalg.inv(self.matrix), (frame + 1) / 2 * self.side)
        grid = (2 * crop / pixels.shape[-1] - 1).view(-1, self.side, self.side, 2)
        return functional.grid_sample(pixels + 1, grid, align_corners=False) - 1

    def restore(self, values: Tensor, side: int) -> Tensor:
        """Return (B, K, S, S) with S = `side` from `values` (B, K, t, t) in the frame, any t.

        Bilinear; beyond the frame its border goes on. (facer has 0 there, a logit that says
        "not background"; the squeeze of the LaPa frame keeps every crop inside, so it sees none.)
        """
        frame = _apply(self.matrix, _centres(side, values))
        grid = _squeeze(2 * frame / self.side - 1, self.warp).view(-1, side, side, 2)
        return functional.grid_sample(values, grid, padding_mode="border", align_corners=False)


def average_points(pixels: Tensor) -> Tensor:
    """Points of an average FFHQ crop, (B, 5, 2), for crops `pixels` (B, 3, S, S)."""
    points = torch.tensor(FFHQ_POINTS, dtype=pixels.dtype, device=pixels.device)
    return (points * (pixels.shape[-1] / 512)).expand(len(pixels), -1, -1)


def five_points(landmarks: Tensor) -> Tensor:
    """Reduce 68 dlib landmarks (B, 68, 2) to the five points (B, 5, 2)."""
    check_shape("landmarks", landmarks, (None, 68, 2))
    eyes = [landmarks[:, 36:42].mean(dim=1), landmarks[:, 42:48].mean(dim=1)]
    return torch.stack([*eyes, landmarks[:, 30], landmarks[:, 48], landmarks[:, 54]], dim=1)


def lapa_frame(points: Tensor, side: int) -> FaceFrame:
    """Frame of the LaPa model for points (B, 5, 2); FaceError if a face's points coincide."""
    targets = torch.tensor(LAPA_POINTS, dtype=points.dtype, device=points.device)
    return FaceFrame(_similarity(points, targets / 512 * (side - 1)), side, warp=0.8)


def _similarity(points: Tensor, targets: Tensor) -> Tensor:
    """Rotation, scale and shift (B, 3, 3) that takes `points` nearest to `targets` (N, 2)."""
    check_shape("points", points, (None, len(targets), 2))
    centre, goal = points.mean(dim=1), targets.mean(dim=0)
    (x, y), (u, v) = (points - centre[:, None]).unbind(-1), (targets - goal).unbind(-1)
    spread = (x**2 + y**2).sum(dim=1)
    if not bool((spread > 0).all()):
        raise FaceError("points: expected five different points of a face, got coinciding ones")
    cosine = (x * u + y * v).sum(dim=1) / spread  # scale included
    sine = (x * v - y * u).sum(dim=1) / spread
    turn = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
    shift = goal - (turn @ centre[:, :, None]).squeeze(-1)
    matrix = torch.eye(3, dtype=points.dtype, device=points.device).repeat(len(points), 1, 1)
    matrix[:, :2, :2], matrix[:, :2, 2] = turn, shift
    return matrix


def _apply(matrix: Tensor, points: Tensor) -> Tensor:
    """Affine `matrix` (B, 3, 3) on points (N, 2) -> (B, N, 2)."""
    return points @ matrix[:, :2, :2].mT + matrix[:, None, :2, 2]


def _centres(side: int, like: Tensor) -> Tensor:
    """Centres of all pixels of a square, row by row, (side * side, 2) as (x, y)."""
    axis = torch.arange(side, dtype=like.dtype, device=like.device) + 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], dim=-1).view(-1, 2)


def _squeeze(c: Tensor, warp: float) -> Tensor:
    beyond = (c.abs() - (1 - warp)).clamp(min=0) / warp
    return c.sign() * (c.abs().clamp(max=1 - warp) + warp * beyond.tanh())


def _unsqueeze(c: Tensor, warp: float) -> Tensor:
    beyond = (c.abs() - (1 - warp)).clamp(min=0) / warp
    return c.sign() * (c.abs().clamp(max=1 - warp) + warp * beyond.clamp(max=1 - _EDGE).arctanh())
