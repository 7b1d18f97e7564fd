"""The second pass: frames in, edited frames out, the change steadied over time.

    frame -> crop -> X^, X'  (Eq. 1-7)
    change = mean over the neighbours of X' - X^, under a Gaussian
    frame <- frame with X^ + change pasted back

X^, and with it the mouth and the eyes as they move, is each frame's own. What the edit adds
trembles with every pixel of the frame, through F_k, and is smoothed where it is seen: in the crop.
(Smoothing the codes alone takes away a hundredth of the flicker, docs/LOG.md.)

Frames pass the networks in groups that start at multiples of `batch_size`, wherever drawing
starts: so what is drawn after an interruption is what would have been drawn without it. Memory is
that of the frames under the Gaussian, whatever the length.

Shapes: B faces that pass the networks together, S side of the crop.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch

from stylefeatureeditor.errors import FaceError
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.masks.edit_mask import find_region
from stylefeatureeditor.photo.align import crop
from stylefeatureeditor.photo.image import to_tensor
from stylefeatureeditor.photo.result import EditResult
from stylefeatureeditor.records import AlignedFace, Codes, Photo
from stylefeatureeditor.video.tracks import gaussian

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import Tensor

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.masks.edit_mask import Mask
    from stylefeatureeditor.methods.method import Method
    from stylefeatureeditor.photo.result import Blend
    from stylefeatureeditor.video.reading import Frame
    from stylefeatureeditor.video.tracks import Tracks

Keyframes = tuple[tuple[float, float], ...]  # (second, strength); straight lines between


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How faces are drawn.

    Attributes:
        method: inverts and edits.
        edits: direction -> strengths over time.
        tracks: where the faces are.
        seconds: of a tick.
        blend: how crops return into their frames.
        mask: as `Editor.edit`.
        steady: standard deviation of the Gaussian over changes and masks, in frames; 0 is none.
        batch_size: frames, and faces, that pass the networks together.
    """

    method: Method
    edits: Mapping[EditDirection, Keyframes]
    tracks: Tracks
    seconds: float
    blend: Blend
    mask: Mask | None = None
    steady: float = 1.0
    batch_size: int = 4

    @property
    def reach(self) -> int:
        """Frames before and after that a frame depends on."""
        return len(gaussian(self.steady)) // 2

    def first_needed(self, start: int) -> int:
        """Return the frame from which on frames are needed to draw those from `start` on."""
        return max(0, start - self.reach) // self.batch_size * self.batch_size

    def edited(self, frames: Iterable[Frame], start: int = 0) -> Iterator[Frame]:
        """Yield the frames from `start`, a multiple of `batch_size`, edited.

        Args:
            frames: from the first that is needed.
            start: number of the first frame to be drawn.
        """
        waiting: deque[tuple[Frame, list[_Face]]] = deque()  # edited, and not pasted back yet
        window: deque[_Change] = deque()  # what is under the Gaussian, by frame

        def paste(until: float) -> Iterator[Frame]:
            while waiting and waiting[0][0].number <= until:
                frame, faces = waiting.popleft()
                if frame.number >= start:
                    pixels = self._pasted(frame, faces, window) if faces else frame.pixels
                    yield replace(frame, pixels=pixels)
                while window and window[0].frame < frame.number + 1 - self.reach:
                    window.popleft()

        for frame, faces in self._drawn(frames):
            waiting.append((frame, faces))
            window += [face.change for face in faces]
            yield from paste(frame.number - self.reach)
        yield from paste(np.inf)

    def _drawn(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[_Face]]]:
        """Yield frames with their edited faces, which pass the networks `batch_size` at a time."""
        for _, found in groupby(frames, lambda frame: frame.number // self.batch_size):
            group = list(found)
            faces = self._edited_faces([pair for frame in group for pair in self._crops(frame)])
            while group:
                frame = group.pop(0)
                yield frame, [face for face in faces if face.change.frame == frame.number]

    def _crops(self, frame: Frame) -> list[tuple[int, AlignedFace]]:
        """The faces of a frame with their rows; one on its way out of the picture is left."""
        found, tracks = [], self.tracks
        for row in tracks.rows(frame.number):
            quad = tracks.quad[row]
            with suppress(FaceError):
                pixels = to_tensor(crop(frame.pixels, quad, self.method.size))
                face = AlignedFace(pixels, frame.pixels, quad, tracks.landmarks[row])
                found.append((row, face))
        return found

    def _edited_faces(self, crops: Sequence[tuple[int, AlignedFace]]) -> list[_Face]:
        """Run the networks on the faces of some frames, at most `batch_size` at a time."""
        faces: list[_Face] = []
        for first in range(0, len(crops), self.batch_size):
            rows, aligned = zip(*crops[first : first + self.batch_size], strict=True)
            faces += self._batch(list(rows), aligned)
        return faces

    def _batch(self, rows: list[int], aligned: Sequence[AlignedFace]) -> Iterator[_Face]:
        """Run the networks on B faces."""
        inversion = self.method.invert(torch.cat([face.pixels for face in aligned]))
        tracks = self.tracks
        seconds = tracks.times[tracks.frame[rows]] * self.seconds
        strengths = {
            direction: torch.tensor(np.interp(seconds, *np.transpose(keys))).float()
            for direction, keys in self.edits.items()
        }
        regions = [find_region(self.mask, (face,), 1) for face in aligned]
        crops = [region.crops for region in regions if region.crops is not None]
        edited = self.method.edit(inversion, strengths, torch.cat(crops) if crops else None).cpu()
        drawn = self.method.reconstruct(inversion).cpu()
        for place, (row, face, region) in enumerate(zip(rows, aligned, regions, strict=True)):
            one = slice(place, place + 1)
            change = _Change(
                int(tracks.frame[row]), int(tracks.run[row]), edited[one] - drawn[one], region.crops
            )
            weight = float(tracks.weight[row])
            yield _Face(face, inversion.codes.rows(one), drawn[one], change, region.photo, weight)

    def _pasted(
        self, frame: Frame, faces: Sequence[_Face], window: Iterable[_Change]
    ) -> np.ndarray:
        """The frame with its faces edited, (H, W, 3)."""
        steadied = [self._steadied(face.change, window) for face in faces]
        drawn = torch.cat([face.drawn for face in faces])
        inversion = Inversion(Codes.cat([face.codes for face in faces]), pixels=drawn)
        inversion.faces = tuple(face.aligned for face in faces)
        inversion.source = Photo(frame.pixels)
        pixels = drawn + torch.cat([change for change, _ in steadied])
        shown = None
        if any(face.weight < 1 for face in faces) or steadied[0][1] is not None:
            everywhere = torch.ones(1, 1, *drawn.shape[2:])
            regions = [everywhere if region is None else region for _, region in steadied]
            shown = torch.cat([f.weight * r for f, r in zip(faces, regions, strict=True)])
        photo_region = faces[0].photo_region
        return np.array(EditResult(pixels, inversion, shown, self.blend, photo_region).photo)

    def _steadied(self, change: _Change, window: Iterable[_Change]) -> tuple[Tensor, Tensor | None]:
        """Change and region under the Gaussian over the face's run."""
        near = [
            c for c in window if c.run == change.run and abs(c.frame - change.frame) <= self.reach
        ]
        bell = gaussian(self.steady)[[c.frame - change.frame + self.reach for c in near]]
        weights = torch.from_numpy(bell / bell.sum()).float()

        def mean(rows: Sequence[Tensor]) -> Tensor:
            return torch.tensordot(weights, torch.cat(list(rows)).cpu(), dims=1)[None]

        regions = [c.region for c in near if c.region is not None]
        return mean([c.pixels for c in near]), mean(regions) if regions else None


@dataclass(frozen=True)
class _Change:
    """What an edit does to a face of a frame.

    Attributes:
        frame: its number.
        run: changes of one run are smoothed together.
        pixels: X' - X^, (1, 3, S, S).
        region: where the face may change, (1, 1, S, S).
    """

    frame: int
    run: int
    pixels: Tensor
    region: Tensor | None


@dataclass(frozen=True)
class _Face:
    """A face of a frame that waits to be pasted back; `drawn` is X^, (1, 3, S, S)."""

    aligned: AlignedFace
    codes: Codes
    drawn: Tensor
    change: _Change
    photo_region: Tensor | None
    weight: float
