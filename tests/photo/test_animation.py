"""Animations are files that others open: their frames, sizes and refusals."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from stylefeatureeditor.errors import DependencyError, PhotoError
from stylefeatureeditor.photo.animation import save_animation

FRAMES = [Image.new("RGB", (31, 33), (40 * number, 90, 200)) for number in range(4)]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_every_frame_is_there(tmp_path, suffix):
    path = save_animation(FRAMES, tmp_path / f"a{suffix}")
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.size, picture.info["loop"]) == (4, (31, 33), 0)
        picture.seek(2)
        red = np.asarray(picture.convert("RGB"))[10, 10, 0]
    assert abs(int(red) - 80) <= 3


def test_an_mp4_has_even_sides_and_every_frame(tmp_path):
    av = pytest.importorskip("av")
    path = save_animation(FRAMES, tmp_path / "a.mp4")
    with av.open(str(path)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert [frame.shape for frame in frames] == [(34, 32, 3)] * 4
    assert abs(int(frames[2][10, 10, 0]) - 80) < 12


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(PhotoError, match=r"one of \.gif, \.webp, \.mp4"):
        save_animation(FRAMES, tmp_path / "a.txt")
    with pytest.raises(PhotoError, match="cannot be written"):
        save_animation(FRAMES, tmp_path / "missing" / "a.gif")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DependencyError, match=r"needs PyAV: run .*\[video\]"):
        save_animation(FRAMES, tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())
