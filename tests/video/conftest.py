"""A second of a swaying face, as frames and as a film with sound, and an editor of 32 px."""

from __future__ import annotations

import pytest

from moving_face import frames, write_film
from stylefeatureeditor.video.reading import Frame, open_clip
from stylefeatureeditor.video.tracks import scan
from tiny import tiny_editor

SECONDS = 1.2  # 30 frames


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / "sway.mp4"
    write_film(path, frames(SECONDS), sound="aac")
    return path


@pytest.fixture(scope="session")
def swaying_frames(film):
    return list(open_clip(film).frames())


@pytest.fixture(scope="session")
def swaying_scan(swaying_frames):
    return scan(swaying_frames, 25)


@pytest.fixture(scope="session")
def editor():
    return tiny_editor()


def as_frames(pictures):
    """Return pictures as frames of a clip whose ticks are its frames."""
    return [Frame(number, number, 1, pixels) for number, pixels in enumerate(pictures)]
