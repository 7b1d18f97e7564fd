"""Faces on known ways: followed through motion, crossings, cuts and gaps, without a tremor."""

from __future__ import annotations

import numpy as np
import pytest

from moving_face import Pose, draw, swaying
from stylefeatureeditor.errors import FaceError, VideoError
from stylefeatureeditor.model import Framing
from stylefeatureeditor.photo.align import ffhq_quad
from stylefeatureeditor.photo.landmarks import find_faces
from stylefeatureeditor.video.tracks import Scan, _smoothed, gaussian, scan, smooth
from video.conftest import as_frames

FRAMING = Framing()


def centres(tracks, face=1):
    return tracks.quad[tracks.face == face].mean(axis=1)


def tremor(values):
    return np.abs(np.diff(values, n=2, axis=0)).mean()


def test_a_crop_follows_known_motion_and_trembles_less_than_frame_by_frame(
    swaying_frames, swaying_scan
):
    tracks = smooth(swaying_scan, 25, FRAMING)
    assert tracks.frame.tolist() == list(range(30))
    poses = [swaying(number / 25) for number in range(30)]
    way = np.array([(pose.x, pose.y) for pose in poses])
    apart = centres(tracks) - way
    assert np.abs(apart - apart.mean(axis=0)).max() < 2.5  # pixels, over a way of 20
    alone = [ffhq_quad(find_faces(f.pixels)[0].landmarks) for f in swaying_frames[:12]]
    assert tremor(tracks.quad[:12]) < tremor(np.stack(alone)) / 3


def test_a_size_that_grows_is_followed(swaying_scan):
    tracks = smooth(swaying_scan, 25, FRAMING)
    sides = np.hypot(*(tracks.quad[:, 3] - tracks.quad[:, 0]).T)
    zooms = np.array([swaying(number / 25).zoom for number in range(30)])
    assert np.abs(sides / zooms / (sides / zooms).mean() - 1).max() < 0.04


def test_two_faces_that_cross_keep_their_numbers():
    def poses(number):
        return [Pose(55 + 5 * number, 120, 0.5), Pose(265 - 5 * number, 115, 0.75)]

    frames = as_frames(draw(poses(number), (320, 220)) for number in range(44))
    tracks = smooth(scan(frames, 25), 25, FRAMING)
    large, small = (tracks.of(number) for number in (1, 2))
    for one, start, step in ((large, 265, -5), (small, 55, 5)):
        apart = one.quad.mean(axis=1)[:, 0] - (start + step * one.frame)
        assert np.abs(apart).max() < 25
        assert {0, 43} <= set(one.frame.tolist())
    assert len(small.frame) < len(large.frame)  # it was hidden
    with pytest.raises(FaceError, match="face 3 was asked for, but no shot shows more than 2"):
        tracks.of(3)


def test_nothing_is_smoothed_over_a_cut():
    first = [draw([Pose(70, 90)])] * 8
    other = 255 - draw([Pose(0, 0)], noise=0)
    second = [np.where(np.arange(240)[None, :, None] > 110, draw([Pose(170, 95)]), other)] * 8
    found = scan(as_frames(first + second), 25)
    assert found.cuts.tolist() == [0, 8]
    tracks = smooth(found, 25, FRAMING)
    assert tracks.frame.tolist() == list(range(16))
    assert len(set(tracks.run[:8])) == len(set(tracks.run[8:])) == 1
    assert tracks.run[7] != tracks.run[8]
    assert (tracks.weight == 1).all()
    x = centres(tracks)[:, 0]
    assert np.abs(np.diff(x[:8])).max() < 1 < 50 < x[8] - x[7]


@pytest.mark.parametrize(("hidden", "is_bridged"), [(6, True), (20, False)])
def test_a_short_gap_is_bridged_and_a_long_one_fades(hidden, is_bridged):
    shown = draw([Pose(120, 90)])
    empty = shown.copy()
    empty[60:125, 90:150] = 150
    tracks = smooth(
        scan(as_frames([shown] * 15 + [empty] * hidden + [shown] * 15), 25, every=1), 25, FRAMING
    )
    assert (15 in tracks.frame) == is_bridged
    edge = tracks.weight[tracks.frame == 14]
    assert edge == 1 if is_bridged else 0 < edge < 0.5
    assert tracks.weight[0] == tracks.weight[-1] == 1
    assert set(tracks.face) == {1}


def test_a_video_without_a_face_says_so():
    with pytest.raises(VideoError, match="no face was found in the video"):
        scan(as_frames([draw([])] * 6), 25)


def test_the_side_file_brings_back_what_was_found(swaying_scan, tmp_path):
    path = tmp_path / "scan.npz"
    swaying_scan.save(path)
    for name, value in vars(Scan.load(path)).items():
        assert np.array_equal(value, getattr(swaying_scan, name))


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_damaged_side_file_is_refused(swaying_scan, tmp_path, keep):
    path = tmp_path / "scan.npz"
    swaying_scan.save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VideoError, match="is damaged"):
        Scan.load(path)


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_a_straight_way_stays_one_up_to_its_ends(count):
    line = np.arange(count)[:, None] * np.array([2.0, -1.0]) + 5
    assert np.allclose(_smoothed(line, 3.0), line)


def test_a_gaussian_of_no_width_changes_nothing():
    assert gaussian(0).tolist() == [1]
