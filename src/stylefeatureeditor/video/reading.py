"""A video as upright RGB frames with their times: a film, an animated picture, a folder of frames.

Films are read by FFmpeg (PyAV, extra `video`), GIF and WebP and folders by Pillow. Frames come one
at a time, so memory does not grow with length. Times are whole ticks of the clip's time base, as
the file has them: a variable frame rate stays one.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import UnidentifiedImageError

from stylefeatureeditor.errors import DependencyError, PhotoError, VideoError
from stylefeatureeditor.photo.image import DAMAGED, on_white, open_picture, read_photo, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

# suffixes of pictures that a folder of frames may hold
FRAME_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
DEFAULT_RATE = Fraction(25)  # frames a second of a folder
HDR = {16: "PQ", 18: "HLG"}  # transfer curves, as ITU-T H.273 numbers them
UNKNOWN = 2  # colour tag that says nothing, in H.273
HIGH_DEFINITION = 720  # rows from which untagged video is taken for BT.709, below for BT.601
MATRICES = {1: "itu709", 4: "fcc", 5: "itu601", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
MAX_FRAME_PIXELS = 7680 * 4320
# FFmpeg's names of what holds pictures; playlists and scripts, which open other files, do not
CONTAINERS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,nut,mxf,dv,ivf,h264,hevc,av1,obu,m4v,rm,"
    "mjpeg,yuv4mpegpipe,wtv,gxf"
)
MILLISECOND = Fraction(1, 1000)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Colour:
    """How a film's numbers mean colours; the numbers are those of ITU-T H.273, 2 is unknown.

    Attributes:
        range: 1 from 16 to 235, 2 from 0 to 255, 0 unknown.
        primaries: of the tag.
        transfer: of the tag.
        matrix: between RGB and YCbCr.
    """

    range: int = 0
    primaries: int = UNKNOWN
    transfer: int = UNKNOWN
    matrix: int = UNKNOWN

    def words(self, height: int) -> dict[str, str]:
        """Return what FFmpeg's conversions call the matrix and range, untagged ones guessed."""
        guess = "itu709" if height >= HIGH_DEFINITION else "itu601"
        return {
            "colorspace": MATRICES.get(self.matrix, guess),
            "color_range": "JPEG" if self.range == 2 else "MPEG",
        }


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        number: from 0.
        time: when it is shown first, in ticks.
        length: how long, in ticks; 0 if the file does not say.
        pixels: (H, W, 3) uint8 RGB, upright.
    """

    number: int
    time: int
    length: int
    pixels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What is known of a video before its frames are read; `frames` reads them.

    Attributes:
        path: the file or folder.
        time_base: seconds a tick.
        rate: frames a second, on average.
        turn: degrees, counter-clockwise, by which players turn the stored picture.
        colour: how its numbers mean colours.
        pixel_shape: width of a pixel over its height.
        expected: frames, as the file says; None if it does not.
        notes: a sentence for each thing that is converted.
        is_film: FFmpeg reads it.
        interlaced: each frame holds two half pictures.
        files: of a folder, in their order.
    """

    path: Path
    time_base: Fraction
    rate: Fraction
    turn: int = 0
    colour: Colour = Colour()
    pixel_shape: Fraction = Fraction(1)
    expected: int | None = None
    notes: tuple[str, ...] = ()
    is_film: bool = False
    interlaced: bool = False
    files: tuple[Path, ...] = ()

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in the order of their times; what is damaged is passed over."""
        if self.files:
            found = _folder_frames(self)
        else:
            found = self.film_frames() if self.is_film else _animation_frames(self.path)
        size, latest, number = None, None, 0
        for number, frame in enumerate(found, start=1):
            size = size or frame.pixels.shape
            if frame.pixels.shape != size:
                raise VideoError(
                    f"{self.path} changes its size at frame {number}, from {size[1]} x {size[0]} "
                    f"to {frame.pixels.shape[1]} x {frame.pixels.shape[0]}: cut it there"
                )
            time = frame.time if latest is None else max(frame.time, latest + 1)
            latest = time
            yield replace(frame, number=number - 1, time=time)
        if not number:
            raise VideoError(f"{self.path} holds no frame that can be read")

    @property
    def seconds(self) -> float:
        """The length, as the file says; 0 if it does not."""
        if self.expected:
            return float(self.expected / self.rate)
        with opened(self.path) as container:
            return (container.duration or 0) / 1e6

    def frame_at(self, second: float) -> Frame:
        """Return the frame that is shown at a second, or the last; its number may be wrong."""
        ticks = round(second / self.time_base)
        latest = None
        for frame in self.film_frames(ticks) if self.is_film and ticks else self.frames():
            if latest and frame.time > ticks:
                break
            latest = frame
        if latest is None:
            raise VideoError(f"{self.path} holds no frame at {second:g} s that can be read")
        return latest

    def film_frames(self, start: int | None = None) -> Iterator[Frame]:
        """Yield the frames of a film as FFmpeg gives them, times unchecked.

        Args:
            start: a time in ticks that is to be among them; None begins with the first.
        """
        with opened(self.path) as container:
            stream = picture_stream(container, self.path)
            stream.thread_type = "AUTO"
            if start is not None:
                container.seek(start, stream=stream)
            decoded = _decoded(container, stream, self.path)
            plain = ((frame, frame.pts) for frame in decoded)
            found = _whole_pictures(decoded, stream) if self.interlaced else plain
            for number, (frame, time) in enumerate(found):
                if time is None:  # raw streams have no clock
                    time = round(number / self.rate / self.time_base)
                words = self.colour.words(frame.height)
                rgb = frame.reformat(
                    format="rgb24",
                    interpolation="BICUBIC",
                    **{f"src_{key}": word for key, word in words.items()},
                ).to_ndarray()
                yield Frame(number, time, frame.duration or 0, upright(rgb, self.turn))


def open_clip(path: str | Path, rate: Fraction | None = None) -> Clip:
    """Look at a video.

    Args:
        path: a film, an animated GIF or WebP, or a folder of pictures of one size.
        rate: frames a second of a folder; None is 25.
    """
    path = Path(path)
    if path.is_dir():
        files = [f for f in path.iterdir() if f.suffix.lower() in FRAME_SUFFIXES and f.is_file()]
        if not files:
            raise VideoError(f"the folder {path} holds no pictures ({', '.join(FRAME_SUFFIXES)})")
        files.sort(key=_counting)
        rate = rate or DEFAULT_RATE
        return Clip(
            path=path, time_base=1 / rate, rate=rate, expected=len(files), files=tuple(files)
        )
    if not path.is_file():
        raise VideoError(f"there is no file {path}")
    try:
        with path.open("rb") as file, open_picture(file) as picture:
            check_frame(path, *picture.size)
            count = getattr(picture, "n_frames", 1)
            picture.load()  # WebP tells the length then
            lengths = picture.info.get("duration", 0)
    except UnidentifiedImageError:
        return _open_film(path)
    except DAMAGED as error:
        raise VideoError(f"{path} cannot be read: {error}") from error
    if count == 1:
        raise VideoError(f"{path} is a single picture: `sfe edit` is for those")
    rate = Fraction(1000, round(lengths) or 100).limit_denominator(1000)
    return Clip(path=path, time_base=MILLISECOND, rate=rate, expected=count)


def check_frame(path: Path, width: int, height: int) -> None:
    """Raise VideoError if frames are larger than MAX_FRAME_PIXELS: each takes 30 bytes a pixel."""
    if width * height > MAX_FRAME_PIXELS:
        raise VideoError(
            f"{path} has frames of {width} x {height} pixels, more than "
            f"{MAX_FRAME_PIXELS / 1e6:.0f} megapixels: make it smaller first"
        )


def pyav() -> Any:
    """Return the package `av`."""
    if find_spec("av") is None:
        raise DependencyError(
            'video needs PyAV, run `pip install "stylefeatureeditor[video]"`; GIF, WebP and '
            "folders of pictures are read without it, but not written"
        )
    import av

    return av


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Give the block an open film, as `av.open` does."""
    av = pyav()
    try:
        # without a scheme: "a:b.mp4" would be an address
        with av.open(str(path.absolute()), options={"format_whitelist": CONTAINERS}) as container:
            yield container
    except av.FFmpegError as error:
        raise VideoError(f"{path} cannot be read as a video: {error.strerror}") from error


def picture_stream(container: Any, path: Path) -> Any:
    """Return the first stream of moving pictures; a cover is none."""
    cover = 1 << 10  # AV_DISPOSITION_ATTACHED_PIC
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VideoError(f"{path} holds no moving pictures, only {kinds}")
    if streams[0].codec_context is None:
        raise VideoError(f"{path} holds pictures of a codec that FFmpeg does not know")
    return streams[0]


def _open_film(path: Path) -> Clip:
    with opened(path) as container:
        stream = picture_stream(container, path)
        stream.thread_type = "AUTO"
        check_frame(path, stream.width, stream.height)
        first = next(_decoded(container, stream, path, quiet=True), None)
        if first is None:
            raise VideoError(f"{path} holds no frame that can be read")
        context, notes = stream.codec_context, []
        colour = Colour(*(getattr(context, name) for name in _COLOUR_NAMES))
        if colour.transfer in HDR:
            raise VideoError(
                f"{path} is HDR ({HDR[colour.transfer]}), and edits are made in ordinary colours: "
                "convert it to BT.709 first"
            )
        parts = first.format.components
        if max(part.bits for part in parts) > 8:
            notes.append(f"{path}: {parts[0].bits} bits a colour become 8")
        if any(part.is_alpha for part in parts):
            notes.append(f"{path}: transparency is dropped")
        if first.interlaced_frame:
            notes.append(f"{path}: interlaced; its half pictures become whole ones")
        return Clip(
            path=path,
            time_base=Fraction(stream.time_base),
            rate=Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_RATE),
            turn=round(first.rotation / 90) * 90 % 360,
            colour=colour,
            pixel_shape=Fraction(stream.sample_aspect_ratio or 1),
            expected=stream.frames or None,
            notes=tuple(notes),
            is_film=True,
            interlaced=first.interlaced_frame,
        )


_COLOUR_NAMES = ("color_range", "color_primaries", "color_trc", "colorspace")


def upright(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Return (H, W, 3) stored pixels as they are shown, turned counter-clockwise by degrees."""
    return np.ascontiguousarray(np.rot90(pixels, turn // 90))


def _decoded(container: Any, stream: Any, path: Path, *, quiet: bool = False) -> Iterator[Any]:
    """Frames of a stream; packets that are damaged are counted and passed over."""
    av = pyav()
    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            yield from packet.decode()
        except av.InvalidDataError:
            damaged += 1
    if damaged and not quiet:
        logger.warning("%s: %d damaged parts are left out", path, damaged)


def _whole_pictures(frames: Iterator[Any], stream: Any) -> Iterator[tuple[Any, int | None]]:
    """Frames of interlaced video as progressive ones of the same number, and their times."""
    graph = pyav().filter.Graph()
    nodes = graph.add_buffer(template=stream), graph.add("bwdif", "mode=send_frame")
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    times: deque[int | None] = deque()

    def ready() -> Iterator[tuple[Any, int | None]]:
        av = pyav()
        with suppress(av.BlockingIOError, av.EOFError):
            while True:
                yield graph.pull(), times.popleft()

    for frame in frames:
        times.append(frame.pts)
        graph.push(frame)
        yield from ready()
    graph.push(None)
    yield from ready()


def _animation_frames(path: Path) -> Iterator[Frame]:
    time = 0
    try:
        with path.open("rb") as file, open_picture(file) as picture:
            for number in range(getattr(picture, "n_frames", 1)):
                picture.seek(number)
                check_frame(path, *picture.size)  # a frame of a GIF may be larger than the first
                pixels = np.asarray(on_white(picture.convert("RGBA")).convert("RGB"))
                length = round(picture.info.get("duration", 0)) or 100  # as browsers show it
                yield Frame(number, time, length, pixels)
                time += length
    except DAMAGED as error:
        if not time:
            raise VideoError(f"{path} cannot be read: {error}") from error
        logger.warning("%s: damaged after %d frames; what follows is left out", path, number)


def _folder_frames(clip: Clip) -> Iterator[Frame]:
    number = 0
    try:
        for number, file in enumerate(clip.files):
            yield Frame(number, number, 1, visible(read_photo(file)))
    except PhotoError as error:
        raise VideoError(f"frame {number + 1} cannot be used: {error}") from error


def _counting(file: Path) -> list[tuple[int, str]]:
    """Sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", file.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
