"""A whole video, edited: scan, draw in segments, join; what is done stays done.

Beside the output lies a hidden folder while the work lasts. It holds the side file of the scan and
the segments that are whole, so the same call after an interruption goes on from there; with other
settings the segments are made again, and the scan is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image
from torch import Tensor

from stylefeatureeditor.editing.direction_names import check_sizes
from stylefeatureeditor.errors import ConfigError, DirectionError, MaskError, PhotoError, VideoError
from stylefeatureeditor.files import atomic_path, file_word, sha256_file
from stylefeatureeditor.photo.align import crop
from stylefeatureeditor.photo.contact_sheet import draw_grid
from stylefeatureeditor.photo.image import read_photo, save_picture
from stylefeatureeditor.photo.result import Blend
from stylefeatureeditor.video.drawing import Drawing
from stylefeatureeditor.video.reading import open_clip
from stylefeatureeditor.video.tracks import EVERY, USUAL_RATE, Scan, scan, smooth
from stylefeatureeditor.video.writing import SEGMENT, Target, finish, write_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from fractions import Fraction

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.masks.edit_mask import Mask
    from stylefeatureeditor.video.drawing import Keyframes
    from stylefeatureeditor.video.reading import Clip

    Strength = float | Sequence[tuple[float, float]]
    Progress = Callable[[str, int, int | None], None]

STEADY = 1.0  # frames at 25 frames a second
SEGMENT_SECONDS = 4.0
SETTINGS, SCAN, LOCK = "settings.json", "scan.npz", "lock"
logger = logging.getLogger(__name__)


def edit_video(
    editor: Editor,
    source: str | Path,
    edits: Mapping[str | EditDirection, Strength],
    output: str | Path,
    *,
    face: Literal["largest", "all"] | int = "largest",
    mask: Mask | None = None,
    blend: Blend | None = None,
    steady: float = STEADY,
    codec: str | None = None,
    quality: int | None = None,
    rate: Fraction | None = None,
    every: int = EVERY,
    found: Scan | None = None,
    batch_size: int = 4,
    segment_seconds: float = SEGMENT_SECONDS,
    preview: int | None = None,
    progress: Progress = lambda *_: None,
) -> Path:
    """Edit a face through a video and return the file that was written.

    The same call goes on where an interrupted one stopped.

    Args:
        editor: of the model.
        source: a film, an animated GIF or WebP, or a folder of frames.
        edits: direction -> strength, or (second, strength) pairs with straight lines between.
        output: .mp4, .mov, .mkv, .webm, .gif, .webp, or a folder of PNG frames. Films keep sound,
            subtitles, chapters, times, colour tags and turn of the source.
        face: "largest" or a number: of each shot; "all".
        mask: as in `Editor.edit`, smoothed over time.
        blend: "feather" or "residual"; None takes the model's preference.
        steady: standard deviation of the Gaussian over what the edit changes, in frames at 25
            frames a second; 0 lets each frame have its own.
        codec: "h264", "hevc" or "vp9".
        quality: the codec's CRF, 0 to 51; smaller is better.
        rate: frames a second of a folder.
        every: frames from one search for faces to the next.
        found: what `video.tracks.scan` found in it, if that is known.
        batch_size: frames, and faces, in the networks at a time.
        segment_seconds: what an interruption can cost.
        preview: edit only so many frames, spread over the video, into one picture: `output` is
            then a .png of the crops before and after.
        progress: is told the stage, the frames that are done, and their number if it is known.

    Raises:
        VideoError: the video cannot be read, shows no face, or cannot be written.
        FaceError: there is no face of that number.
        ConfigError, DirectionError, MaskError, DependencyError: as `Editor.edit`, and for values
            out of range.
    """
    source, output = Path(source), Path(output)
    if not edits:
        raise DirectionError("nothing to edit: give a direction and a strength")
    for name, value, least in (
        ("steady", steady, 0),
        ("every", every, 1),
        ("batch_size", batch_size, 1),
        ("segment_seconds", segment_seconds, 0.1),
        ("preview", 1 if preview is None else preview, 1),
    ):
        if not least <= value < 1e4:
            raise ConfigError(f"{name} must be at least {least:g}, got {value:g}")
    blend = blend or editor.method.config.blend
    if blend not in get_args(Blend)[:2]:
        raise ConfigError(f"a video's blend is feather or residual, got {blend!r}")
    target = Target(path=output, codec=codec, quality=quality)
    if preview is None:
        target.check()
    _check_output(output, source)
    clip = open_clip(source, rate)
    for note in clip.notes:
        logger.warning("%s", note)
    keys = _keyframes(editor, edits)
    settings = {
        "source": _identity(clip),
        "every": every,
        "edits": {direction.fingerprint: points for direction, points in keys.items()},
        "face": face,
        "mask": _mask_word(mask),
        "blend": blend,
        "steady": steady,
        "codec": [codec, quality, output.suffix],
        "batch": [batch_size, segment_seconds],
        "model": [editor.method.fingerprint, editor.method.engine],
    }
    with _workplace(output, json.loads(json.dumps(settings))) as folder:
        found = found or _scanned(clip, folder / SCAN, every, progress)
        speed = float(clip.rate)
        drawing = Drawing(
            method=editor.method,
            edits=keys,
            tracks=smooth(found, speed, editor.method.config.framing).of(face),
            seconds=float(clip.time_base),
            blend=blend,
            mask=mask,
            steady=steady * speed / USUAL_RATE,
            batch_size=batch_size,
        )
        if preview is not None:
            _preview(clip, drawing, output, preview, progress)
        else:
            _make(clip, drawing, target, folder, found, segment_seconds, progress)
    return output


def _make(
    clip: Clip,
    drawing: Drawing,
    target: Target,
    folder: Path,
    found: Scan,
    segment_seconds: float,
    progress: Progress,
) -> None:
    """Draw the segments that are not whole yet, and join all."""
    count, size = len(found.times), drawing.batch_size
    length = max(1, round(segment_seconds * float(clip.rate) / size)) * size
    segments = [folder / f"{n:05}{SEGMENT}" for n in range(-(-count // length))]
    done = next((n for n, path in enumerate(segments) if not path.exists()), len(segments))
    if done < len(segments):
        start = done * length
        needed = islice(clip.frames(), drawing.first_needed(start), None)
        drawn = drawing.edited(needed, start)
        for path in segments[done:]:
            write_segment(path, _told(islice(drawn, length), progress, count), clip, target)
    progress("joining", count, count)
    finish(segments, clip, target, found.times, found.last_length)


def _keyframes(
    editor: Editor, edits: Mapping[str | EditDirection, Strength]
) -> dict[EditDirection, Keyframes]:
    keys: dict[EditDirection, Keyframes] = {}
    for key, given in edits.items():
        points = tuple(given) if isinstance(given, Sequence) else ((0.0, given),)
        times = [float(second) for second, _ in points]
        if not points or times != sorted(set(times)):
            raise DirectionError(f"the times of {key} must rise, got {times}")
        for _, strength in points:
            check_sizes(str(key), [strength])
        (direction,) = editor.resolve({key: 1.0})
        if direction in keys:
            raise DirectionError(f"{key} is given twice; one course of strengths per direction")
        keys[direction] = tuple((float(second), float(strength)) for second, strength in points)
    return keys


def _check_output(output: Path, source: Path) -> None:
    if not output.parent.is_dir():
        raise VideoError(f"{output} cannot be written: there is no folder {output.parent}")
    if output.exists() and source.exists() and output.samefile(source):
        raise VideoError(f"{output} is the video itself: name another file")
    if output.suffix and output.is_dir():
        raise VideoError(f"{output} is a folder, a file was expected")
    if not output.suffix and output.is_dir() and any(output.iterdir()):
        raise VideoError(f"the folder {output} is not empty: name another")


def _identity(clip: Clip) -> str:
    """Changes with the content of the source."""
    if not clip.files:
        return sha256_file(clip.path)
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in clip.files]
    return hashlib.sha256(repr((stats, clip.rate)).encode()).hexdigest()


def _mask_word(mask: Mask | None) -> str:
    """Changes with the content of a mask."""
    if mask is None or isinstance(mask, (str, Path)):
        return file_word(mask or "none")
    if isinstance(mask, Tensor):
        parts = [mask.detach().cpu().double().numpy()]
    else:
        try:
            photo = read_photo(mask)
        except PhotoError as error:
            raise MaskError(f"the mask cannot be used: {error}") from error
        parts = [photo.pixels] if photo.alpha is None else [photo.pixels, photo.alpha]
    content = b"".join(repr(part.shape).encode() + part.tobytes() for part in parts)
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _workplace(output: Path, settings: dict[str, Any]) -> Iterator[Path]:
    """Give the block the folder of unfinished work, with what the same settings have done in it."""
    folder = output.with_name(f".{output.name}.unfinished")
    try:
        folder.mkdir(exist_ok=True)
        with FileLock(folder / LOCK, blocking=False):
            _tidy(folder, settings)
            yield folder
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # Windows keeps the lock until here
            folder.rmdir()
    except Timeout:
        raise VideoError(f"{output} is being made by another process") from None
    except OSError as error:
        raise VideoError(f"{output} cannot be written: {error.strerror or error}") from error


def _tidy(folder: Path, settings: dict[str, Any]) -> None:
    """Remove what other settings made; write down the new ones."""
    try:
        before = json.loads((folder / SETTINGS).read_text("utf-8"))
    except (OSError, ValueError):
        before = {}
    scanned = ("source", "every")
    stays = {LOCK}
    if before == settings:
        stays.add(SCAN)
        stays.update(path.name for path in folder.glob(f"[0-9]*{SEGMENT}"))
    elif [before.get(key) for key in scanned] == [settings[key] for key in scanned]:
        stays.add(SCAN)
    for path in folder.iterdir():
        if path.is_dir():  # frames of an output folder that was not finished
            shutil.rmtree(path)
        elif path.name not in stays:
            path.unlink()
    with atomic_path(folder / SETTINGS) as part:
        part.write_text(json.dumps(settings), "utf-8")


def _scanned(clip: Clip, side_file: Path, every: int, progress: Progress) -> Scan:
    if side_file.exists():
        try:
            return Scan.load(side_file)
        except VideoError as error:
            logger.warning("%s; the video is scanned again", error)

    def tell(done: int) -> None:
        progress("finding faces", done, clip.expected)

    found = scan(clip.frames(), float(clip.rate), every=every, progress=tell)
    found.save(side_file)
    return found


def _told(frames: Iterator[Any], progress: Progress, count: int) -> Iterator[Any]:
    for frame in frames:
        yield frame
        progress("editing", frame.number + 1, count)


def _preview(clip: Clip, drawing: Drawing, output: Path, count: int, progress: Progress) -> None:
    """Write crops of some frames with a face, before and after, as one picture."""
    weight = drawing.tracks.weight
    shown = np.unique(drawing.tracks.frame[weight >= 0.5 * weight.max()])
    chosen = shown[np.linspace(0, len(shown) - 1, min(count, len(shown))).round().astype(int)]
    wanted, tiles = set(chosen.tolist()), []
    first_only = (frame for frame in clip.frames() if frame.number in wanted)
    size = drawing.method.size
    for before in first_only:
        (after,) = drawing.edited([before])
        quad = drawing.tracks.quad[drawing.tracks.rows(before.number)[0]]
        second = float(before.time * clip.time_base)
        pair = [Image.fromarray(crop(frame.pixels, quad, size)) for frame in (before, after)]
        tiles.append((f"{second:.2f} s", pair))
        progress("preview", len(tiles), len(wanted))
    labels, pairs = zip(*tiles, strict=True)
    save_picture(draw_grid(labels, list(zip(*pairs, strict=True))), output)
