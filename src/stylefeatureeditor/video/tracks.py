"""Faces followed through a video: who is where in each frame, without a tremor.

dlib looks for faces in every `every`-th frame; in between, its landmark model is asked where each
face went, which costs a tenth of a search. A face belongs to the track that it overlaps most with,
where that track moved on at its speed. At a cut all tracks end. Gaps up to half a second are
filled by straight lines; at longer ones the edit fades out and in.

The crop's centre is smoothed by a Gaussian of 1 frame and its axes by one of 3 frames, at 25
frames a second: a centre that lags is seen, axes that tremble are seen sooner. Landmarks follow the
centre. Nothing is smoothed over a cut or a gap.

Shapes: F rows, one for each face of each frame. Boxes are (x, y, side): centre and side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from stylefeatureeditor.errors import FaceError, VideoError, WeightsError
from stylefeatureeditor.files import atomic_path
from stylefeatureeditor.photo.align import ffhq_quad
from stylefeatureeditor.photo.landmarks import find_boxes, place_landmarks
from stylefeatureeditor.weights.unpickle import read_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from stylefeatureeditor.model import Framing
    from stylefeatureeditor.video.reading import Frame

EVERY = 5  # frames from one search for faces to the next
SEARCHED = 480  # side of the copy that is searched, in pixels
USUAL_RATE = 25.0  # frames a second for which widths are given
CENTRE_FRAMES, AXES_FRAMES = 1.0, 3.0  # standard deviations of the smoothing
LONGEST_GAP, FADE, SHORTEST = 0.5, 0.25, 0.2  # seconds
LEAST_OVERLAP = 0.3  # intersection over union of one face in two frames
AGREEMENT = 0.1  # sides of the box within which two placements of landmarks say the same
# dlib's boxes against the extent of its landmarks: means over 150 synthetic faces
BOX_SIDE, BOX_SHIFT = 1.08, (-0.05, -0.07)
CUT, CUT_JUMP = 0.08, 4.0  # mean change of a thumbnail, 0 to 1, and over what is usual
THUMBNAIL = (32, 18)
MAX_TICKS = 1 << 53  # of a side file: what floats count


@dataclass(frozen=True)
class Tracks:
    """Every face of every frame, by frame.

    Attributes:
        frame: (F,) number of the frame.
        face: (F,) 1 for the largest face of its shot, 2 for the next.
        run: (F,) a number for each stretch without a cut or a gap.
        quad: (F, 4, 2) corners of the crop, in frame pixels, as `ffhq_quad`.
        landmarks: (F, 68, 2), smoothed.
        weight: (F,) 0 to 1, how much of the edit is shown.
        times: (n,) ticks of all frames.
    """

    frame: np.ndarray
    face: np.ndarray
    run: np.ndarray
    quad: np.ndarray
    landmarks: np.ndarray
    weight: np.ndarray
    times: np.ndarray

    def of(self, which: Literal["largest", "all"] | int) -> Tracks:
        """Return the rows of the faces asked for."""
        if which == "all":
            return self
        number = 1 if which == "largest" else which
        chosen = self.face == number
        if not chosen.any():
            raise FaceError(
                f"face {number} was asked for, but no shot shows more than {self.face.max()}; they "
                "are numbered from 1, the largest"
            )
        rows = {name: getattr(self, name)[chosen] for name in _PER_ROW}
        return Tracks(**rows, times=self.times)

    def face_at(self, time: int, landmarks: np.ndarray) -> int:
        """Return the number of a face that is known by its landmarks in one frame.

        Args:
            time: a tick of which the frame is shown.
            landmarks: (68, 2), where that face was found.
        """
        rows = self.rows(int(np.searchsorted(self.times, time, side="right")) - 1)
        for row in rows:
            side = np.hypot(*(self.quad[row, 3] - self.quad[row, 0]))
            if np.abs(self.landmarks[row].mean(axis=0) - landmarks.mean(axis=0)).max() < side / 8:
                return int(self.face[row])
        raise FaceError("this face cannot be followed through the video: choose another frame")

    def rows(self, frame: int) -> range:
        """Return the rows of a frame."""
        return range(*np.searchsorted(self.frame, [frame, frame + 1]).tolist())


_PER_ROW = ("frame", "face", "run", "quad", "landmarks", "weight")


@dataclass(eq=False)
class _Track:
    """A face that is being followed.

    Attributes:
        shot: stretch between two cuts.
        box: where it was when the detector saw it last.
        seen: the frame of that.
        speed: (2,) pixels a frame.
        landmarks: in the latest frame; None while it is not seen.
        frames, points: where it was.
        pending: the same since the detector saw it: it may have gone since.
    """

    shot: int
    box: np.ndarray
    seen: int
    landmarks: np.ndarray | None
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))
    frames: list[int] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    pending: list[tuple[int, np.ndarray]] = field(default_factory=list)

    def keep(self, rows: Iterable[tuple[int, np.ndarray]]) -> None:
        for number, points in rows:
            self.frames.append(number)
            self.points.append(points.astype(np.float32))


@dataclass(frozen=True)
class Scan:
    """What the first pass finds: raw landmarks, a row for each face of each frame.

    Attributes:
        frame: (F,) number of the frame, rising within a track.
        track: (F,) whom the row belongs to.
        shot: (F,) number of the stretch between two cuts.
        landmarks: (F, 68, 2) as dlib places them.
        times: (n,) ticks of all frames.
        last_length: ticks for which the last frame is shown.
        cuts: frames that a shot begins with, the first among them.
    """

    frame: np.ndarray
    track: np.ndarray
    shot: np.ndarray
    landmarks: np.ndarray
    times: np.ndarray
    last_length: int
    cuts: np.ndarray

    def save(self, path: Path) -> None:
        """Write the side file, whole or not at all."""
        try:
            with atomic_path(path) as part, part.open("wb") as file:
                np.savez(file, allow_pickle=False, **vars(self))
        except OSError as error:
            raise VideoError(f"{path} cannot be written: {error.strerror or error}") from error

    @staticmethod
    def load(path: Path) -> Scan:
        """Read the side file."""
        try:
            tables = read_arrays(path)
        except WeightsError as error:
            raise VideoError(f"the side file is damaged: {error}") from error
        if tables.keys() != Scan.__dataclass_fields__.keys() or not _is_sound(**tables):
            raise VideoError(f"{path} is damaged: its tables do not fit each other")
        found: dict[str, Any] = {**tables, "last_length": int(tables["last_length"])}
        return Scan(**found)


def _is_sound(landmarks: np.ndarray, **tables: np.ndarray) -> bool:
    """Whether tables that a file brought, by name, are those of a scan."""
    sizes = dict.fromkeys(tables, 1) | {"last_length": 0}
    if any(table.dtype.kind != "i" or table.ndim != sizes[n] for n, table in tables.items()):
        return False
    frame, track, shot = (tables[name] for name in ("frame", "track", "shot"))
    times, cuts, rows = tables["times"], tables["cuts"], len(frame)
    if not rows or not len(cuts) or not len(track) == len(shot) == rows:
        return False
    step = np.diff(track)
    return bool(
        landmarks.shape == (rows, 68, 2)
        and landmarks.dtype.kind == "f"
        and (abs(landmarks) < MAX_TICKS).all()  # NaN is not
        and max(abs(times).max(initial=0), tables["last_length"]) < MAX_TICKS
        and (np.diff(times) > 0).all()
        and 0 <= frame.min() <= frame.max() < len(times)
        and track[0] == 0
        and np.isin(step, (0, 1)).all()
        and (np.diff(frame)[step == 0] > 0).all()
        and 1 <= shot.min() <= shot.max() <= len(cuts)
        and cuts[0] == 0
        and cuts[-1] < len(times)
        and (np.diff(cuts) > 0).all()
        and tables["last_length"] >= 0
    )


def scan(
    frames: Iterable[Frame],
    rate: float,
    *,
    every: int = EVERY,
    progress: Callable[[int], None] = lambda _: None,
) -> Scan:
    """Return where faces are in a video."""
    patience = rate * LONGEST_GAP
    followed: list[_Track] = []
    ended: list[_Track] = []
    times: list[int] = []
    cuts, usual, before, last_length = [0], 0.0, None, 0
    for frame in frames:
        number, pixels = frame.number, frame.pixels
        times.append(frame.time)
        last_length = frame.length
        thumbnail = np.asarray(Image.fromarray(pixels).resize(THUMBNAIL, Image.Resampling.BOX))
        change = 0.0 if before is None else np.abs(thumbnail - before).mean() / 255
        is_cut = change > max(CUT, CUT_JUMP * usual)
        usual, before = (0.0 if is_cut else 0.8 * usual + 0.2 * change), thumbnail.astype(float)
        if is_cut:
            cuts.append(number)
            for track in followed:
                track.keep(track.pending)
            ended, followed = ended + followed, []
        for track in followed:
            if track.landmarks is not None:
                track.landmarks = place_landmarks(pixels, _corners(_box_now(track)))
                track.pending.append((number, track.landmarks))
        is_missing = any(t.landmarks is None and number - t.seen <= patience for t in followed)
        if number % every == 0 or is_cut or is_missing:
            found = [_middle(box) for box in find_boxes(pixels, SEARCHED)]
            followed += _match(followed, found, number, pixels, len(cuts), patience)
        progress(number + 1)
    for track in followed:
        track.keep(track.pending)
    return _joined(ended + followed, times, last_length, cuts, rate)


def smooth(scan: Scan, rate: float, framing: Framing) -> Tracks:
    """Return the crops of a scan, ready to be edited."""
    scale, rows, run = rate / USUAL_RATE, [], 0
    faces = _ranks(scan)
    starts = {*scan.cuts.tolist(), len(scan.times)}
    for track in np.unique(scan.track):
        mine = scan.track == track
        numbers, points = scan.frame[mine], scan.landmarks[mine].astype(np.float64)
        long_gaps = np.flatnonzero(np.diff(numbers) > 1 + rate * LONGEST_GAP) + 1
        for part in np.split(np.arange(len(numbers)), long_gaps):
            first, last = int(numbers[part[0]]), int(numbers[part[-1]])
            frames = np.arange(first, last + 1)
            flat = points[part].reshape(len(part), -1)
            filled = [np.interp(frames, numbers[part], column) for column in flat.T]
            marks = np.stack(filled, axis=1).reshape(-1, 68, 2)
            fades = first not in starts, last + 1 not in starts
            quads, marks = _steady_crops(marks, scale, framing)
            weight = _fade(len(frames), rate * FADE, *fades)
            same = np.full(len(frames), faces[int(track)]), np.full(len(frames), run)
            rows.append((frames, *same, quads, marks, weight))
            run += 1
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    sorted_columns = [column[order] for column in columns]
    return Tracks(**dict(zip(_PER_ROW, sorted_columns, strict=True)), times=scan.times)


def gaussian(sigma: float) -> np.ndarray:
    """Return the weights of a Gaussian, (2 r + 1,), r = 3 sigma rounded up; their sum is 1."""
    radius = int(np.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-9)) ** 2)
    return weights / weights.sum()


def _steady_crops(
    marks: np.ndarray, scale: float, framing: Framing
) -> tuple[np.ndarray, np.ndarray]:
    """Quads (n, 4, 2) and landmarks (n, 68, 2) of one run, smoothed."""
    quads = np.stack([ffhq_quad(one, framing.scale, framing.shift) for one in marks])
    centre = quads.mean(axis=1)
    right = (quads[:, 3] - quads[:, 0]) / 2
    steady = _smoothed(centre, CENTRE_FRAMES * scale)
    right = _smoothed(right, AXES_FRAMES * scale)
    down = np.stack([-right[:, 1], right[:, 0]], axis=1)
    corners = [-right - down, -right + down, right + down, right - down]
    smooth_marks = _smoothed(marks.reshape(len(marks), -1), CENTRE_FRAMES * scale)
    return steady[:, None] + np.stack(corners, axis=1), smooth_marks.reshape(marks.shape)


def _smoothed(values: np.ndarray, sigma: float) -> np.ndarray:
    """Columns (n, c) under a Gaussian; a straight line stays one, up to its ends."""
    weights = gaussian(sigma)
    radius = len(weights) // 2
    if len(values) < 2 or not radius:
        return values
    wide = values
    while len(wide) < len(values) + 2 * radius:  # a short run is mirrored more than once
        reach = min(len(wide) - 1, (len(values) + 2 * radius - len(wide) + 1) // 2)
        wide = np.pad(wide, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd")
    start = (len(wide) - len(values)) // 2 - radius
    wide = wide[start : start + len(values) + 2 * radius]
    return np.stack([np.convolve(column, weights, "valid") for column in wide.T], axis=1)


def _fade(count: int, length: float, at_start: bool, at_end: bool) -> np.ndarray:  # noqa: FBT001
    """Weights (count,) that rise from 0 at the start and fall to 0 at the end, where asked."""
    ramp = np.clip((np.arange(count) + 1) / (min(length, count / 2) + 1), 0, 1)
    ones = np.ones(count)
    return np.minimum(ramp if at_start else ones, ramp[::-1] if at_end else ones)


def _match(
    followed: list[_Track],
    found: list[np.ndarray],
    number: int,
    pixels: np.ndarray,
    shot: int,
    patience: float,
) -> list[_Track]:
    """Give each found box to the track that it fits best; return new tracks for the others."""
    pairs = []
    for track in followed:
        away = number - track.seen
        coming = track.box + np.array([*track.speed * min(away, 2 * patience), 0])
        now = None if track.landmarks is None else _box_now(track)
        for place, box in enumerate(found):
            overlaps = [_overlap(coming, box)] + ([] if now is None else [_overlap(now, box)])
            if max(overlaps) > LEAST_OVERLAP:
                pairs.append((sum(overlaps), followed.index(track), place))
    taken: dict[int, int] = {}
    for _, who, place in sorted(pairs, reverse=True):
        if who not in taken and place not in taken.values():
            taken[who] = place
    for who, track in enumerate(followed):
        if who not in taken:
            track.landmarks = None
            track.pending.clear()
            continue
        box = found[taken[who]]
        points = place_landmarks(pixels, _corners(box))
        near = AGREEMENT * box[2]
        is_same = track.landmarks is not None and np.abs(track.landmarks - points).mean() < near
        rows = track.pending if is_same else [(number, points)]
        track.keep(rows)
        track.landmarks = track.landmarks if is_same else points
        box, away = _box_now(track), number - track.seen  # steadier than the detector's
        track.speed += ((box[:2] - track.box[:2]) / away - track.speed) * min(1, away / EVERY)
        track.box, track.seen, track.pending = box, number, []
    new = []
    for place, box in enumerate(found):
        if place not in taken.values():
            points = place_landmarks(pixels, _corners(box))
            new.append(_Track(shot, box, number, points))
            new[-1].box = _box_now(new[-1])
            new[-1].keep([(number, points)])
    return new


def _box_now(track: _Track) -> np.ndarray:
    """The box around a track's latest landmarks, as the detector would draw it."""
    assert track.landmarks is not None
    low, high = track.landmarks.min(axis=0), track.landmarks.max(axis=0)
    side = (high - low).mean() * BOX_SIDE
    return np.array([*(low + high) / 2 + np.array(BOX_SHIFT) * side, side])


def _joined(
    tracks: list[_Track], times: list[int], last_length: int, cuts: list[int], rate: float
) -> Scan:
    ends = dict(enumerate([*cuts[1:], len(times)], start=1))
    least = {shot: min(rate * SHORTEST, (end - cuts[shot - 1]) / 2) for shot, end in ends.items()}
    kept = [track for track in tracks if len(track.frames) > least[track.shot]]
    if not kept:
        raise VideoError(
            "no face was found in the video: use one that shows a whole face from the front, at "
            "least a tenth as wide as the picture"
        )
    counts = [len(track.frames) for track in kept]
    return Scan(
        np.concatenate([track.frames for track in kept]),
        np.repeat(np.arange(len(kept)), counts),
        np.repeat([track.shot for track in kept], counts),
        np.concatenate([track.points for track in kept]),
        np.array(times, dtype=np.int64),
        last_length,
        np.array(cuts),
    )


def _ranks(scan: Scan) -> dict[int, int]:
    """The number of each track among those of its shot, from 1, by area times frames."""
    spans = scan.landmarks.max(axis=1) - scan.landmarks.min(axis=1)
    sizes = np.bincount(scan.track, weights=spans.prod(axis=1))
    shots = {int(track): int(shot) for track, shot in zip(scan.track, scan.shot, strict=True)}
    order = sorted(shots, key=lambda track: -sizes[track])
    seen: dict[int, int] = {}
    ranks = {}
    for track in order:
        seen[shots[track]] = ranks[track] = seen.get(shots[track], 0) + 1
    return ranks


def _middle(box: np.ndarray) -> np.ndarray:
    left, top, right, bottom = box
    return np.array([(left + right) / 2, (top + bottom) / 2, (right - left + bottom - top) / 2])


def _corners(box: np.ndarray) -> np.ndarray:
    x, y, side = box
    return np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two squares."""
    a, b = _corners(first), _corners(second)
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / (first[2] ** 2 + second[2] ** 2 - shared))
