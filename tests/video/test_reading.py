"""Videos as they come: times, turns, colours, formats."""

from __future__ import annotations

import logging
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from moving_face import write_film
from stylefeatureeditor.errors import VideoError
from stylefeatureeditor.video import reading
from stylefeatureeditor.video.reading import open_clip

RED, BLUE = (200, 40, 30), (30, 60, 190)
CODES = {"709": (1, 1, 1, 1), "601": (1, 6, 6, 6), "full": (2, 1, 1, 1), "untagged": None}


def ramps(count=4, size=(64, 48)):
    """Frames that differ: a red one turns blue, with a bright corner at the top left."""
    made = []
    for number in range(count):
        share = number / max(1, count - 1)
        frame = np.empty((size[1], size[0], 3), np.uint8)
        frame[:] = np.array(RED) * (1 - share) + np.array(BLUE) * share
        frame[:12, :12] = 235
        made.append(frame)
    return made


def read(path, **options):
    return list(open_clip(path, **options).frames())


@pytest.mark.parametrize("tags", CODES)
def test_colours_come_back_as_they_were_written(tmp_path, tags):
    path = tmp_path / "film.mp4"
    write_film(path, ramps(), colour=CODES[tags], format="yuv444p")
    for frame, pixels in zip(read(path), ramps(), strict=True):
        assert np.abs(frame.pixels.astype(int) - pixels)[16:, 16:].max() <= 6


def test_times_of_a_variable_rate_are_kept(tmp_path):
    path, times = tmp_path / "film.mp4", [0, 4000, 5000, 23000, 23100]
    write_film(path, ramps(5), times=times, time_base=Fraction(1, 90000))
    clip = open_clip(path)
    assert [frame.time * clip.time_base for frame in clip.frames()] == [
        Fraction(time, 90000) for time in times
    ]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_frames_are_upright_whatever_the_tag_says(tmp_path, turn):
    path = tmp_path / "film.mp4"
    stored = [np.rot90(pixels, -turn // 90) for pixels in ramps()]
    write_film(path, [np.ascontiguousarray(pixels) for pixels in stored], turn=turn)
    assert open_clip(path).turn == turn
    pixels = read(path)[0].pixels
    assert pixels.shape == (48, 64, 3)
    assert pixels[4, 4].min() > 200 > pixels[40, 60].max() - 30


def test_ten_bits_are_brought_to_eight_with_a_word(tmp_path):
    path = tmp_path / "film.mp4"
    write_film(path, ramps(), codec="libx265", format="yuv420p10le")
    clip = open_clip(path)
    assert "10 bits a colour become 8" in clip.notes[0]
    assert np.abs(next(clip.frames()).pixels[40, 60].astype(int) - RED).max() <= 8


def test_interlaced_frames_keep_their_number_and_times(tmp_path):
    path = tmp_path / "film.mkv"
    write_film(path, ramps(6), options={"flags": "+ilme+ildct", "x264-params": "interlaced=1"})
    clip = open_clip(path)
    assert "interlaced" in clip.notes[0]
    seconds = [float(frame.time * clip.time_base) for frame in clip.frames()]
    assert seconds == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2])


def test_a_raw_stream_gets_its_clock_from_the_rate(tmp_path):
    path = tmp_path / "film.h264"
    write_film(path, ramps(3))
    clip = open_clip(path)
    times = [frame.time for frame in clip.frames()]
    assert len(times) == 3
    assert times == sorted(set(times))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_keep_the_length_of_each_frame(tmp_path, suffix):
    path = tmp_path / f"film{suffix}"
    first, *others = map(Image.fromarray, ramps())
    first.save(path, save_all=True, append_images=others, duration=[40, 200, 80, 120])
    found = read(path)
    assert [frame.time for frame in found] == [0, 40, 240, 320]
    assert found[-1].length == 120
    assert np.abs(found[0].pixels[40, 60].astype(int) - RED).max() < 24


def test_a_folder_is_read_in_counting_order(tmp_path):
    for number, pixels in zip((1, 2, 10), ramps(3), strict=True):
        Image.fromarray(pixels).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    clip = open_clip(tmp_path, Fraction(10))
    for frame, pixels in zip(clip.frames(), ramps(3), strict=True):
        assert np.array_equal(frame.pixels, pixels)
    assert [float(f.time * clip.time_base) for f in clip.frames()] == [0, 0.1, 0.2]


def test_damage_in_the_middle_is_passed_over_with_a_word(tmp_path, caplog):
    path = tmp_path / "film.mkv"
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
    write_film(path, list(noise), options={"g": "5"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        found = read(path)
    assert 10 < len(found) <= 40


def test_frames_of_several_sizes_are_refused(tmp_path):
    for number, side in enumerate((32, 48)):
        Image.new("RGB", (side, 32)).save(tmp_path / f"{number}.png")
    with pytest.raises(VideoError, match="changes its size at frame 2, from 32 x 32 to 48 x 32"):
        read(tmp_path)


def test_an_animation_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "in.gif"
    frames = [Image.new("RGB", (60, 60), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert sum(1 for _ in open_clip(path).frames()) == 2
    monkeypatch.setattr(reading, "MAX_FRAME_PIXELS", 3599)
    with pytest.raises(VideoError, match="has frames of 60 x 60 pixels, more than"):
        open_clip(path)
