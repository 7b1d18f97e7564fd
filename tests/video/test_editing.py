"""Whole videos: what comes out beside the face, what an interruption costs, what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from PIL import Image

from faulty import no_room_beyond
from moving_face import draw, frames, swaying, write_film
from stylefeatureeditor.errors import SfeError
from stylefeatureeditor.video import editing, writing
from stylefeatureeditor.video.editing import edit_video
from stylefeatureeditor.video.reading import open_clip

TESTS = Path(__file__).parents[1]
EDIT = {"smile": 2.0}


def times(path):
    clip = open_clip(path)
    return [float(frame.time * clip.time_base) for frame in clip.frames()]


def sound(path):
    with av.open(str(path)) as container:
        packets = container.demux(audio=0)
        return [(p.pts * p.time_base, bytes(p)) for p in packets if p.size]


def subtitles(path):
    with av.open(str(path)) as container:
        packets = container.demux(subtitles=0)
        return [(bytes(p), float(p.pts * p.time_base)) for p in packets if p.size]


def level(path):
    return [frame.pixels.astype(float) for frame in open_clip(path).frames()]


@pytest.fixture(scope="module")
def edited(editor, film, tmp_path_factory):
    path = tmp_path_factory.mktemp("edited") / "out.mp4"
    return edit_video(editor, film, EDIT, path, segment_seconds=0.4)


def test_frames_times_and_sound_are_the_sources(film, edited):
    assert times(edited) == times(film)
    assert sound(edited) == sound(film)
    assert not list(edited.parent.glob(".*"))


def test_the_face_changes_and_the_rest_stays_above_40_db(film, edited):
    y, x = np.mgrid[:180, :240]
    errors, inside = [], []
    for number, (before, after) in enumerate(zip(level(film), level(edited), strict=True)):
        pose = swaying(number / 25)
        far = np.hypot(x - pose.x, y - pose.y) > 95
        errors.append(np.square(before - after)[far].mean())
        inside.append(np.abs(before - after)[~far].mean())
    assert 10 * np.log10(255**2 / np.mean(errors)) > 40
    assert np.mean(inside) > 2


def test_phone_clips_keep_turn_tags_and_variable_rate(editor, tmp_path):
    source, out = tmp_path / "in.mov", tmp_path / "out.mov"
    pictures = [np.ascontiguousarray(np.rot90(pixels, -1)) for pixels in frames(0.4)]
    ticks = np.cumsum([0, 20, 20, 45, 15, 20, 20, 30, 20, 20]).tolist()
    write_film(
        source,
        pictures,
        codec="libx265",
        times=ticks,
        time_base=Fraction(1, 600),
        turn=90,
        colour=(1, 1, 1, 1),
        sound="aac",
    )
    edit_video(editor, source, EDIT, out)
    assert times(out) == times(source)
    clips = [open_clip(path) for path in (source, out)]
    assert clips[0].turn == clips[1].turn == 90
    assert clips[0].colour == clips[1].colour
    assert next(clips[1].frames()).pixels.shape == (180, 240, 3)
    assert sound(out) == sound(source)


def test_subtitles_chapters_and_title_are_copied(editor, film, tmp_path):
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,200 --> 00:00:00,500\nhello\n\n")
    with av.open(str(film)) as old, av.open(str(words)) as text, av.open(str(source), "w") as new:
        made = {s: new.add_stream_from_template(s) for s in (*old.streams, *text.streams)}
        new.metadata["title"] = "A face"
        new.set_chapters(
            [{"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {}}]
        )
        for packet in (*old.demux(), *text.demux()):
            if packet.size:
                packet.stream = made[packet.stream]
                new.mux(packet)
    edit_video(editor, source, EDIT, out)
    with av.open(str(out)) as container:
        assert container.metadata["title"] == "A face"
        assert [c["end"] * c["time_base"] for c in container.chapters()] == [0.5]
    assert subtitles(out) == subtitles(source)
    assert [words for words, _ in subtitles(out)] == [b"hello"]
    assert times(out) == times(source)


@pytest.mark.parametrize("codec", ["pcm_s16le"])
def test_sound_that_an_mp4_cannot_hold_everywhere_becomes_aac(editor, tmp_path, codec, caplog):
    source, out = tmp_path / "in.mkv", tmp_path / "out.mp4"
    write_film(source, frames(0.4), sound=codec)
    edit_video(editor, source, EDIT, out)
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    assert "becomes aac" in caplog.text


@pytest.mark.parametrize("name", ["out.gif", "out.webp", "frames", "out.mkv", "out.webm"])
def test_every_kind_comes_out_with_all_its_frames(editor, tmp_path, name):
    source, out = tmp_path / "in", tmp_path / name
    source.mkdir()
    for number, pixels in enumerate(frames(0.24)):
        Image.fromarray(pixels[:179, :239]).save(source / f"{number}.png")
    edit_video(editor, source, EDIT, out)
    before, after = open_clip(source), open_clip(out)
    assert [f.time * before.time_base for f in before.frames()] == pytest.approx(
        [f.time * after.time_base for f in after.frames()], abs=0.006
    )
    pixels = [np.asarray(next(clip.frames()).pixels, float) for clip in (before, after)]
    shape = pixels[1].shape
    assert shape == ((180, 240, 3) if name in ("out.mkv", "out.webm") else (179, 239, 3))
    corner = np.abs(pixels[0][:20, :20] - pixels[1][:20, :20]).mean()
    assert corner < 6
    if name == "frames":
        assert corner == 0


def test_a_run_that_is_killed_goes_on_and_its_segments_are_the_same(
    editor, film, tmp_path, monkeypatch
):
    kept = {}
    whole = editing.finish

    def keep(segments, *rest):
        kept.update({path.name: path.read_bytes() for path in segments})
        whole(segments, *rest)

    monkeypatch.setattr(editing, "finish", keep)
    edit_video(editor, film, EDIT, tmp_path / "whole.mp4", segment_seconds=0.32)
    uninterrupted = dict(kept)
    assert len(uninterrupted) == 4
    child = os.fork()
    if child == 0:
        write = editing.write_segment

        def killed(path, *rest):
            if path.name.startswith("00002"):
                os.kill(os.getpid(), signal.SIGKILL)
            write(path, *rest)

        editing.write_segment = killed
        try:
            edit_video(editor, film, EDIT, tmp_path / "killed.mp4", segment_seconds=0.32)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = tmp_path / ".killed.mp4.unfinished"
    assert {path.name for path in left.glob("*.nut")} == {"00000.nut", "00001.nut"}
    assert not (tmp_path / "killed.mp4").exists()
    monkeypatch.setattr(editing, "scan", None)  # is not run again
    edit_video(editor, film, EDIT, tmp_path / "killed.mp4", segment_seconds=0.32)
    assert kept == uninterrupted
    assert times(tmp_path / "killed.mp4") == times(film)
    assert not left.exists()


def test_other_settings_draw_again_and_keep_the_scan(editor, film, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(editing, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            edit_video(editor, film, EDIT, tmp_path / "out.mp4")
    folder = tmp_path / ".out.mp4.unfinished"
    before = next(folder.glob("*.nut")).stat().st_mtime_ns
    monkeypatch.setattr(editing, "scan", None)
    with monkeypatch.context() as patch:
        patch.setattr(editing, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            edit_video(editor, film, {"smile": -2.0}, tmp_path / "out.mp4")
    assert next(folder.glob("*.nut")).stat().st_mtime_ns != before


def test_a_preview_shows_frames_before_and_after(editor, film, tmp_path):
    out = edit_video(editor, film, EDIT, tmp_path / "strip.png", preview=3)
    with Image.open(out) as picture:
        assert picture.width > 3 * 96
    assert [path.name for path in tmp_path.iterdir()] == ["strip.png"]


def test_progress_names_its_stages(editor, film, tmp_path):
    told = []
    edit_video(editor, film, EDIT, tmp_path / "o.mp4", progress=lambda *step: told.append(step))
    assert told[0] == ("finding faces", 1, 30)
    assert ("editing", 30, 30) in told
    assert told[-1][0] == "joining"


# --- what is refused ---


def _truncated(folder, film):
    path = folder / "cut.mp4"
    path.write_bytes(film.read_bytes()[:-2000])
    return path


def _bytes(content):
    def make(folder, _):
        path = folder / "in.mp4"
        path.write_bytes(content)
        return path

    return make


def _made(**options):
    def make(folder, _):
        path = folder / "in.mkv"
        write_film(path, list(frames(0.2)), **options)
        return path

    return make


def _sound_only(folder, _):
    path = folder / "in.m4a"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 16000, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _nobody(folder, _):
    path = folder / "in.mp4"
    write_film(path, [draw([])] * 5)
    return path


def _photo(folder, _):
    Image.new("RGB", (60, 60)).save(folder / "in.png")
    return folder / "in.png"


def _good(_, film):
    return film


BAD = {
    "not there": (lambda folder, _: folder / "no.mp4", {}, "there is no file"),
    "truncated": (_truncated, {}, "no moving pictures|cannot be read as a video"),
    "empty": (_bytes(b""), {}, "cannot be read as a video"),
    "text": (_bytes(b"This is a letter.\n" * 50), {}, "cannot be read as a video"),
    "noise": (_bytes(bytes(range(256)) * 9), {}, "cannot be read as a video"),
    "header only": (_bytes(b"\x00\x00\x00\x18ftypisom" + bytes(400)), {}, "cannot be read as"),
    "no pictures": (_sound_only, {}, "no moving pictures, only audio"),
    "nobody in it": (_nobody, {}, "no face was found in the video"),
    "a photo": (_photo, {}, "single picture: `sfe edit`"),
    "an empty folder": (lambda folder, _: folder, {}, "holds no pictures"),
    "HDR": (_made(colour=(1, 9, 16, 9)), {}, "HDR \\(PQ\\)"),
    "HLG": (_made(colour=(1, 9, 18, 9)), {}, "HDR \\(HLG\\)"),
    "unknown suffix": (_good, {"output": "out.avi"}, "must end in .mp4"),
    "no folder": (_good, {"output": "no/out.mp4"}, "there is no folder"),
    "onto itself": (_good, {"output": None}, "is the video itself"),
    "unknown codec": (_good, {"codec": "mpeg2"}, "codec must be one of h264, hevc, vp9"),
    "quality out of range": (_good, {"quality": 99}, "quality must be from 0 to 51"),
    "codec of a GIF": (_good, {"output": "o.gif", "codec": "h264"}, "codec and quality are for"),
    "no such face": (_good, {"face": 4}, "face 4 was asked for"),
    "unknown direction": (_good, {"edits": {"wings": 1.0}}, "wings"),
    "falling times": (_good, {"edits": {"smile": [(2.0, 1.0), (1.0, 0.0)]}}, "times .* must rise"),
    "no edits": (_good, {"edits": {}}, "nothing to edit"),
    "negative smoothing": (_good, {"steady": -1.0}, "steady must be at least 0"),
    "a crop's blend": (_good, {"blend": "none"}, "blend is feather or residual"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_is_one_sentence_and_nothing_is_left(editor, film, tmp_path, case):
    make, changes, sentence = BAD[case]
    work, place = tmp_path / "in", tmp_path / "out"
    work.mkdir()
    place.mkdir()
    source = make(work, film)
    options = {"edits": EDIT, **changes}
    output = source if options.get("output", "") is None else place / options.pop("output", "o.mp4")
    options.pop("output", None)
    before = film.read_bytes()
    with pytest.raises(SfeError, match=sentence):
        edit_video(editor, source, options.pop("edits"), output, **options)
    assert film.read_bytes() == before
    assert not [path for path in place.iterdir() if not path.name.startswith(".")]


def test_a_full_disk_is_one_sentence_and_the_work_goes_on_after_it(editor, film, tmp_path):
    out = tmp_path / "out.mp4"
    with no_room_beyond(20_000), pytest.raises(SfeError, match="cannot be written"):
        edit_video(editor, film, EDIT, out)
    assert not out.exists()
    assert times(edit_video(editor, film, EDIT, out)) == times(film)


def test_an_unwritable_folder_is_one_sentence(editor, film, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SfeError, match="cannot be written"):
        edit_video(editor, film, EDIT, tmp_path / "file" / "out.mp4")


def test_two_processes_do_not_make_one_video(editor, film, tmp_path):
    out = tmp_path / "out.mp4"
    folder = tmp_path / ".out.mp4.unfinished"
    folder.mkdir()
    program = f"""
import time
from filelock import FileLock
with FileLock({str(folder / "lock")!r}):
    print("held", flush=True)
    time.sleep(60)
"""
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(SfeError, match="is being made by another process"):
            edit_video(editor, film, EDIT, out)
    finally:
        other.kill()
        other.wait()


def test_an_interrupt_leaves_what_is_whole(editor, film, tmp_path):
    def interrupt(stage, done, _):
        if (stage, done) == ("editing", 20):
            raise KeyboardInterrupt

    out = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        edit_video(editor, film, EDIT, out, segment_seconds=0.32, progress=interrupt)
    assert not out.exists()
    assert len(list((tmp_path / ".out.mp4.unfinished").glob("[0-9]*.nut"))) == 2


@pytest.fixture
def folder_of_frames(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for number, pixels in enumerate(frames(0.16)):
        Image.fromarray(pixels).save(source / f"{number}.png")
    return source


def test_a_folder_that_is_interrupted_goes_on(editor, folder_of_frames, tmp_path, monkeypatch):
    out, save, saved = tmp_path / "out", writing.save_photo, []

    def interrupt(pixels, path):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(path)
        save(pixels, path)

    out.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(writing, "save_photo", interrupt)
        with pytest.raises(KeyboardInterrupt):
            edit_video(editor, folder_of_frames, EDIT, out)
    assert len(saved) == 2
    assert not list(out.iterdir())
    monkeypatch.setattr(editing, "scan", None)  # is not run again
    edit_video(editor, folder_of_frames, EDIT, out)
    assert sorted(path.name for path in out.iterdir()) == [f"{n}.png" for n in range(4)]
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_frames_that_differ_in_their_suffix_alone_all_come_out(editor, folder_of_frames, tmp_path):
    (folder_of_frames / "3.png").rename(folder_of_frames / "2.bmp")
    out = edit_video(editor, folder_of_frames, EDIT, tmp_path / "out")
    names = ["0.png.png", "1.png.png", "2.bmp.png", "2.png.png"]
    assert sorted(path.name for path in out.iterdir()) == names


def test_a_mask_painted_anew_and_another_engine_draw_again(
    editor, folder_of_frames, tmp_path, monkeypatch
):
    mask, out = tmp_path / "mask.png", tmp_path / "out.mp4"
    written, write = [], editing.write_segment

    def noted(path, *rest):
        written.append(path.name)
        write(path, *rest)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(editing, "write_segment", noted)
    monkeypatch.setattr(editing, "finish", stop)
    engines = ["torch float32"] * 3 + ["torch bfloat16"]
    for grey, engine, count in zip((255, 255, 90, 90), engines, (1, 1, 2, 3), strict=True):
        Image.new("L", (240, 180), grey).save(mask)
        monkeypatch.setattr(editor.method, "engine", engine)
        with pytest.raises(KeyboardInterrupt):
            edit_video(editor, folder_of_frames, EDIT, out, mask=str(mask))
        assert len(written) == count


@pytest.mark.parametrize(
    "kind", [Image.fromarray, np.copy, lambda grey: torch.from_numpy(grey / 255.0)[None, None]]
)
def test_a_mask_is_known_by_its_content(kind):
    grey = np.full((180, 240), 255, np.uint8)
    other = grey.copy()
    other[90, 120] = 0  # repr leaves the middle out
    assert editing._mask_word(kind(grey)) == editing._mask_word(kind(grey))
    assert editing._mask_word(kind(grey)) != editing._mask_word(kind(other))


def test_a_preview_shows_a_face_that_is_there_for_a_moment(editor, tmp_path):
    shown = draw([swaying(0)])
    x, y = round(swaying(0).x), round(swaying(0).y)
    empty = shown.copy()
    empty[y - 35 : y + 35, x - 35 : x + 35] = 150
    source = tmp_path / "in"
    source.mkdir()
    for number, pixels in enumerate([empty] * 15 + [shown] * 9 + [empty] * 15):
        Image.fromarray(pixels).save(source / f"{number}.png")
    out = edit_video(editor, source, EDIT, tmp_path / "strip.png", every=1, preview=2)
    assert Image.open(out).width > 2 * 96


def test_the_folder_is_emptied_while_it_is_locked(editor, folder_of_frames, tmp_path, monkeypatch):
    remove, refused = editing.shutil.rmtree, []

    def locked(folder, **options):
        with pytest.raises(Timeout), FileLock(folder / editing.LOCK, blocking=False):
            pass
        refused.append(folder)
        remove(folder, **options)

    monkeypatch.setattr(editing.shutil, "rmtree", locked)
    edit_video(editor, folder_of_frames, EDIT, tmp_path / "strip.png", preview=1)
    assert refused == [tmp_path / ".strip.png.unfinished"]
    assert not refused[0].exists()
