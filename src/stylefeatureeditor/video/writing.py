"""Frames into a file: segments that survive an interruption, then one video of all.

A segment is some seconds of frames. It is encoded under a temporary name and renamed when it is
whole, so that a run that is killed loses one. For a film the segments are joined as they are,
packet by packet, beside the source's sound, subtitles and chapters. GIF, WebP and folders of frames
are made from segments without loss.
"""

from __future__ import annotations

import heapq
import logging
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from stylefeatureeditor.errors import ConfigError, VideoError
from stylefeatureeditor.files import atomic_path
from stylefeatureeditor.photo.image import save_photo
from stylefeatureeditor.video.reading import opened, pyav

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stylefeatureeditor.video.reading import Clip, Frame

FILMS = (".mp4", ".mov", ".mkv", ".webm")
ANIMATIONS = (".gif", ".webp")
SEGMENT = ".nut"  # keeps any time base
# word: FFmpeg's encoder, what it is told of quality, the quality if nobody says
CODECS = {
    "h264": ("libx264", "crf", 17),
    "hevc": ("libx265", "crf", 19),
    "vp9": ("libvpx-vp9", "crf", 20),
}
LOSSLESS = ("ffv1", "bgr0")
GLOBAL_HEADER = 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: segments share one description
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is written.

    Attributes:
        path: a film, an animation, or a folder (no suffix).
        codec: of `CODECS`; None is VP9 for .webm and H.264 for others.
        quality: the encoder's CRF: smaller is better and larger; None is the codec's usual.
    """

    path: Path
    codec: str | None = None
    quality: int | None = None

    @property
    def is_film(self) -> bool:
        """Whether the segments are joined as they are."""
        return self.path.suffix.lower() in FILMS

    def check(self) -> None:
        """Refuse what cannot be written, before any work."""
        suffix = self.path.suffix.lower()
        if suffix and suffix not in (*FILMS, *ANIMATIONS):
            raise VideoError(
                f"{self.path} must end in {', '.join((*FILMS, *ANIMATIONS))}, or name a folder"
            )
        if self.codec is not None and self.codec not in CODECS:
            raise ConfigError(f"codec must be one of {', '.join(CODECS)}, got {self.codec!r}")
        if not self.is_film and (self.codec or self.quality is not None):
            raise ConfigError(f"codec and quality are for {', '.join(FILMS)}, not {self.path}")
        if suffix == ".webm" and self.codec not in (None, "vp9"):
            raise ConfigError(f"a .webm holds vp9, not {self.codec}")
        if self.quality is not None and not 0 <= self.quality <= 51:
            raise ConfigError(f"quality must be from 0 to 51, got {self.quality}")
        try:
            pyav().Codec(self._encoder()[0], "w")
        except pyav().codec.UnknownCodecError:
            raise VideoError(f"this PyAV has no encoder for {self.codec or suffix}") from None

    def _encoder(self) -> tuple[str, str, dict[str, str]]:
        """FFmpeg's encoder, its pixels, its options."""
        if not self.is_film:
            return *LOSSLESS, {}
        codec = self.codec or ("vp9" if self.path.suffix.lower() == ".webm" else "h264")
        name, dial, usual = CODECS[codec]
        options = {dial: str(usual if self.quality is None else self.quality)}
        more = {  # x264's mbtree reads memory that is not set: the same frames, other bytes
            "h264": {"mbtree": "0"},
            "hevc": {"x265-params": "log-level=none"},
            "vp9": {"b": "0", "cpu-used": "4", "row-mt": "1"},
        }
        return name, "yuv420p", {**options, **more.get(codec, {})}


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what FFmpeg and the disk complain of into one sentence."""
    try:
        yield
    except OSError as error:  # FFmpegError is one
        raise VideoError(f"{path} cannot be written: {error.strerror or error}") from error


def write_segment(path: Path, frames: Iterable[Frame], clip: Clip, target: Target) -> None:
    """Encode frames as one segment."""
    av = pyav()
    name, pixel_format, options = target._encoder()
    frames = iter(frames)
    first = next(frames)
    with atomic_path(path) as part, _writing(path), _opened_for(part, SEGMENT[1:]) as out:
        stream = out.add_stream(name, rate=clip.rate, options=options)
        stream.height, stream.width = _stored(first.pixels, clip, target).shape[:2]
        stream.pix_fmt = pixel_format
        _describe(stream.codec_context, clip, is_film=target.is_film)
        words = clip.colour.words(stream.height) if target.is_film else {}
        for frame in chain([first], frames):
            picture = av.VideoFrame.from_ndarray(_stored(frame.pixels, clip, target), "rgb24")
            picture = picture.reformat(
                format=pixel_format,
                interpolation="BICUBIC",
                **{f"dst_{key}": word for key, word in words.items()},
            )
            picture.pts, picture.time_base = frame.time, clip.time_base
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def encoded_again(frames: Iterable[Frame], clip: Clip) -> Iterator[Frame]:
    """Yield frames of a clip as its film would show them, were they encoded as films are here."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"frames{SEGMENT}"
        write_segment(path, frames, clip, Target(path=Path(folder) / "frames.mp4"))
        yield from replace(clip, path=path, files=(), interlaced=False).film_frames()


def _opened_for(path: Path, kind: str | None = None, **options: str) -> Any:
    return pyav().open(str(path), "w", format=kind, options=options)


def _stored(pixels: np.ndarray, clip: Clip, target: Target) -> np.ndarray:
    """A frame as a film's encoder takes it: turned back, with even sides."""
    if not target.is_film:
        return pixels
    pixels = np.rot90(pixels, -(clip.turn // 90) % 4)
    odd = [(0, side % 2) for side in pixels.shape[:2]]  # 4:2:0: the last row and column twice
    return np.ascontiguousarray(np.pad(pixels, (*odd, (0, 0)), mode="edge"))


def _describe(context: Any, clip: Clip, *, is_film: bool) -> None:
    context.time_base = clip.time_base
    context.flags |= GLOBAL_HEADER
    if is_film:
        colour = clip.colour
        context.color_range, context.color_primaries = colour.range, colour.primaries
        context.color_trc, context.colorspace = colour.transfer, colour.matrix
        if clip.pixel_shape not in (0, 1):
            context.sample_aspect_ratio = clip.pixel_shape


def finish(
    segments: Sequence[Path], clip: Clip, target: Target, times: np.ndarray, last_length: int
) -> None:
    """Make the video of its segments."""
    if not target.path.suffix:
        with _writing(target.path):
            _write_folder(segments, clip, target.path)
        return
    last_length = last_length or round(1 / clip.rate / clip.time_base)
    lengths = np.diff(times, append=times[-1] + last_length)
    with _writing(target.path), atomic_path(target.path) as part:
        if target.is_film:
            _join(segments, clip, part, times, lengths)
        else:
            _write_animation(segments, part, times, lengths, clip)


def _join(
    segments: Sequence[Path], clip: Clip, path: Path, times: np.ndarray, lengths: np.ndarray
) -> None:
    """Copy packets of segments and of the source's other streams, by their times."""
    quick = {"movflags": "+faststart"} if path.suffix.lower() in (".mp4", ".mov") else {}
    with ExitStack() as stack:
        # the decoder's times begin before the first frame's; moved to 0 they would move everything
        kept = {"avoid_negative_ts": "disabled"}
        out = stack.enter_context(_opened_for(path, **quick, **kept))
        first = stack.enter_context(opened(segments[0]))
        video = out.add_stream_from_template(first.streams.video[0])
        video.time_base = clip.time_base
        if clip.turn:
            video.set_display_rotation(clip.turn)
        flows = [_pictures(segments, video, clip, times, lengths)]
        if clip.is_film:
            source = stack.enter_context(opened(clip.path))
            out.metadata.update(source.metadata)
            if source.chapters():
                out.set_chapters(source.chapters())
            flows.append(_other_packets(source, _other_streams(source, out, clip.path)))
        for _, packet in heapq.merge(*flows, key=lambda pair: pair[0]):
            out.mux(packet)


def _pictures(
    segments: Sequence[Path], video: Any, clip: Clip, times: np.ndarray, lengths: np.ndarray
) -> Iterator[tuple[float, Any]]:
    """Packets of the segments and when they are decoded: the times of frames, shifted."""
    orders = [_order(path) for path in segments]
    late = max(int((np.arange(len(order)) - order).max()) for order in orders)
    number = 0
    for path, order in zip(segments, orders, strict=True):
        first = number
        with opened(path) as segment:
            for packet in segment.demux(video=0):
                if packet.size:
                    place = first + order[number - first]
                    packet.stream, packet.time_base = video, clip.time_base
                    packet.pts, packet.duration = int(times[place]), int(lengths[place])
                    early = number - late
                    packet.dts = int(times[early] if early >= 0 else times[0] + early)
                    number += 1
                    yield float(packet.dts * clip.time_base), packet


def _order(path: Path) -> np.ndarray:
    """The places in time of a segment's packets, (n,), from 0."""
    with opened(path) as segment:
        shown = [packet.pts for packet in segment.demux(video=0) if packet.size]
    return np.argsort(np.argsort(shown))


def _other_streams(source: Any, out: Any, path: Path) -> dict[Any, Any]:
    """The source's sound and subtitles -> what they become; sound may have to be encoded."""
    made: dict[Any, Any] = {}
    name = out.format.name
    for stream in source.streams:
        if stream.type == "video":  # the one that is edited, and covers
            continue
        codec = stream.codec_context and stream.codec_context.codec.canonical_name
        is_raw = str(codec).startswith("pcm") and "mov" not in name.split(",")[:1]
        if codec in out.supported_codecs and not is_raw:
            made[stream] = out.add_stream_from_template(stream)
        elif stream.type == "audio":
            better = "libopus" if name == "webm" else "aac"
            logger.warning("%s: sound in %s becomes %s", path, codec, better)
            made[stream] = out.add_stream(better, rate=stream.codec_context.sample_rate)
            layout = stream.codec_context.layout
            plain = {1: "mono", 2: "stereo"}  # PCM may not say which its channels are
            made[stream].codec_context.layout = plain.get(layout.nb_channels, layout)
        else:
            logger.warning("%s: a stream of %s (%s) is left out", path, stream.type, codec)
            continue
        made[stream].metadata.update(stream.metadata)
        made[stream].disposition = stream.disposition
    return made


def _other_packets(source: Any, made: dict[Any, Any]) -> Iterator[tuple[float, Any]]:
    """Packets for the streams that `_other_streams` made, with their times in seconds."""
    time = 0.0
    for packet in source.demux(list(made)) if made else ():
        before, stream = packet.stream, made[packet.stream]
        names = {each.codec_context.codec.canonical_name for each in (before, stream)}
        if len(names) == 1:
            packets = [packet] if packet.size else []
            packet.stream = stream
        else:  # an empty packet is the last
            packets = [p for frame in packet.decode() for p in stream.encode(frame)]
            packets += [] if packet.size else stream.encode(None)
        for each in packets:
            if each.dts is not None:
                time = max(time, float(each.dts * each.time_base))
            yield time, each


def _write_animation(
    segments: Sequence[Path], path: Path, times: np.ndarray, lengths: np.ndarray, clip: Clip
) -> None:
    """Encode a GIF, with a palette of its own for each frame, or a WebP."""
    av = pyav()
    is_gif = path.suffix.lower() == ".gif"
    options = {} if is_gif else {"quality": "90"}
    with _opened_for(path, loop="0") as out:
        name = "gif" if is_gif else "libwebp_anim"
        stream = out.add_stream(name, rate=clip.rate, options=options)
        stream.pix_fmt = "pal8" if is_gif else "yuva420p"
        stream.codec_context.time_base = clip.time_base
        for pixels, time, length in zip(_lossless(segments), times, lengths, strict=True):
            if not stream.codec_context.is_open:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame = _with_palette(frame) if is_gif else frame.reformat(format="yuva420p")
            frame.pts, frame.time_base, frame.duration = int(time), clip.time_base, int(length)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _with_palette(frame: Any) -> Any:
    graph = pyav().filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format="rgb24", time_base=Fraction(1, 1000)
    )
    split, palette = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    use, sink = graph.add("paletteuse", "new=1"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    frame.pts = 0
    graph.push(frame)
    graph.push(None)
    return graph.pull()


def _write_folder(segments: Sequence[Path], clip: Clip, folder: Path) -> None:
    """Write a PNG for each frame, called like the source's if that is a folder too."""
    names = [file.stem for file in clip.files]
    if len({name.lower() for name in names}) < len(names):  # a.png and a.jpg
        names = [file.name for file in clip.files]
    part = segments[0].with_name("frames")
    part.mkdir()
    for number, pixels in enumerate(_lossless(segments)):
        name = names[number] if names else f"frame{number + 1:06}"
        save_photo(pixels, part / f"{name}.png")
    place = folder.resolve()
    if place.exists():
        place.rmdir()  # was empty
    shutil.move(part, place)


def _lossless(segments: Sequence[Path]) -> Iterator[np.ndarray]:
    for path in segments:
        with opened(path) as segment:
            for frame in segment.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
