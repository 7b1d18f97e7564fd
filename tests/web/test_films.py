"""Films on the page: opened, made between the steps of others, bounded, and gone in the end."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time

import av
import numpy as np
import pytest
from PIL import Image

from moving_face import Pose, draw, frames, write_film
from page_pictures import png
from stylefeatureeditor.errors import DirectionError, FaceError, MaskError
from stylefeatureeditor.video.editing import edit_video
from stylefeatureeditor.video.reading import open_clip
from stylefeatureeditor.web.films import Films, Turns, is_clip
from stylefeatureeditor.web.handlers import Handlers
from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.visit import Sessions

ME, OTHER = "0" * 32, "1" * 32
SMILE = {"act": "move", "edits": {"smile": 2}}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The file of half a second of a swaying face, with sound."""
    path = tmp_path_factory.mktemp("films") / "sway.mp4"
    write_film(path, frames(0.5), sound="aac")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the folders of temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def handlers(both, clip, place):
    """The handlers of a page on which one visitor has opened the clip."""
    del place
    made = Handlers(Sessions(both, Limits()), may_download=False)
    state = made.open(ME, clip.read_bytes(), {"name": "sway.mp4"})
    assert (state["sentence"], state["photos"][0]["film"]) == ("", True)
    yield made
    made.sessions.films.close()


def number(handlers) -> int:
    return handlers.do(ME, {"act": "show"})["photos"][0]["number"]


def finished(handlers, visitor: str = ME, photo: int | None = None) -> dict:
    """Wait until a film is made, or is not; return what was told last."""
    photo = photo or handlers.do(visitor, {"act": "show"})["photos"][0]["number"]
    for _ in range(2000):
        told = handlers.film(visitor, {"photo": photo})
        if told.get("sentence") or told["stage"] in ("", "ready"):
            return told
        time.sleep(0.02)
    raise AssertionError(told)


def test_a_film_is_what_edit_video_makes_and_a_second_one_finds_no_faces_again(
    handlers, both, clip, tmp_path, monkeypatch
):
    state = handlers.do(ME, SMILE)
    assert "sfe video sway.mp4 -e smile=2 --batch-size 1" in state["command"]
    assert "edit_video(editor, 'sway.mp4', {'smile': 2.0}" in state["python"]
    photo = state["photos"][0]["number"]
    assert "not made yet" in handlers.save(ME, {"kind": "film"})["sentence"]
    assert handlers.film(ME, {"photo": photo, "do": "start"})["stage"] != ""
    assert "being made already" in handlers.film(ME, {"photo": photo, "do": "start"})["sentence"]
    assert finished(handlers)["stage"] == "ready"
    name, made = handlers.save(ME, {"kind": "film"})
    ours = edit_video(
        both.editor(both.first()), clip, {"smile": 2.0}, tmp_path / "same.mp4", batch_size=1
    )
    assert (name, made.read_bytes()) == ("sway_edited.mp4", ours.read_bytes())
    monkeypatch.setattr("stylefeatureeditor.web.films.scan", None)
    handlers.film(ME, {"photo": photo, "do": "start"})
    assert finished(handlers)["stage"] == "ready"


def test_another_frame_keeps_the_edits_and_their_steps(handlers, clip):
    before = handlers.do(ME, SMILE)
    state = handlers.do(ME, {"act": "frame", "second": 0.3})
    assert (state["edits"], state["step"]) == ({"smile": 2.0}, 1)
    assert state["clip"]["second"] == pytest.approx(0.28, abs=0.03)
    assert state["photo"]["key"] != before["photo"]["key"]
    with handlers.sessions.use(ME) as visit:
        shown = visit.photo.photo.pixels
    seventh = list(open_clip(clip).frames())[round(25 * state["clip"]["second"])].pixels
    assert np.array_equal(shown, seventh)
    for wrong in (None, "x", -1, 10**400):
        assert handlers.do(ME, {"act": "frame", "second": wrong})["sentence"]
    assert handlers.do(ME, {"act": "frame", "second": 99})["clip"]["second"] >= 0.44  # the last


def test_others_are_served_while_a_film_is_made_and_a_cancelled_one_ends(handlers, pixels):
    photo = handlers.do(ME, SMILE)["photos"][0]["number"]
    handlers.film(ME, {"photo": photo, "do": "start"})
    state = handlers.open(OTHER, png(pixels), {"name": "me.png"})
    assert state["sentence"] == ""
    assert handlers.film(ME, {"photo": photo})["stage"] not in ("", "ready")
    assert handlers.film(ME, {"photo": photo, "do": "cancel"})["stage"] == ""
    handlers.film(ME, {"photo": photo, "do": "start"})  # the stopped one does not disturb it
    assert finished(handlers)["stage"] == "ready"


def test_who_waits_is_next():
    turns, order, inside = Turns(), [], threading.Event()

    def step() -> None:
        inside.set()
        with turns.turn():
            order.append("step")

    thread = threading.Thread(target=step)
    with turns.turn():
        thread.start()
        inside.wait()
        time.sleep(0.05)
    with turns.turn():
        order.append("film")
    thread.join()
    assert order == ["step", "film"]


def test_the_face_in_hand_is_edited_whatever_its_number_in_the_clip(both, place):
    films = place / "two.mp4"
    parts = np.linspace(0, 1, 15)  # the left one shrinks, the right one grows
    pictures = [draw([Pose(60, 90, 0.5 - 0.2 * t), Pose(185, 90, 0.42 + 0.2 * t)]) for t in parts]
    write_film(films, pictures)
    handlers = Handlers(Sessions(both, Limits()), may_download=False)
    state = handlers.open(ME, films.read_bytes(), {"name": "two.mp4"})
    lefts = [min(x for x, _ in quad) for quad in state["photo"]["faces"]]
    assert len(lefts) == 2
    assert lefts[0] < lefts[1]  # number 1 of the first frame stands left, of the clip right
    state = handlers.do(ME, SMILE)
    handlers.film(ME, {"photo": state["photos"][0]["number"], "do": "start"})
    assert finished(handlers)["stage"] == "ready"
    _, made = handlers.save(ME, {"kind": "film"})
    changes = [
        np.abs(a.pixels.astype(int) - b.pixels).max(axis=-1) > 40
        for a, b in zip(open_clip(films).frames(), open_clip(made).frames(), strict=True)
    ]
    left, right = np.split(np.stack(changes), 2, axis=2)
    assert left.sum() > 20 * max(1, right.sum())
    handlers.sessions.films.close()


def test_what_a_film_cannot_take_is_told(handlers):
    photo = number(handlers)
    start = {"photo": photo, "do": "start"}
    assert "move a slider first" in handlers.film(ME, start)["sentence"]
    handlers.do(ME, SMILE)
    assert "a film cannot be turned" in handlers.do(ME, {"act": "turn"})["sentence"]
    assert "is a film" in handlers.save(ME, {"kind": "session"})["sentence"]
    with handlers.sessions.use(ME) as visit:
        session = visit.photo
        session.change(mask="painted")
        with pytest.raises(MaskError, match="paint does not"):
            session.order()
        session.change(mask="none", edits={})
        with pytest.raises(DirectionError):
            session.order()
        faces = session.opened.landmarks
        session.opened = session.opened.__class__(
            **{**vars(session.opened), "landmarks": (*faces, faces[0] + 40)}
        )
        session.change(edits={"smile": 1.0})
        session.pick(2)
        session.change(edits={"age": 1.0})
        with pytest.raises(FaceError, match="All faces"):
            session.order()


HOSTILE = {
    "notes.mp4": (lambda _: b"buy milk\n" * 50, "notes.mp4 cannot be read as a video"),
    "empty.mov": (lambda _: b"", "empty.mov cannot be read as a video"),
    "cut.mp4": (lambda clip: clip.read_bytes()[:2000], "cut.mp4"),
    "list.mp4": (lambda _: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "list.mp4 cannot be read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_no_film_is_one_sentence_and_leaves_nothing(both, clip, place, name):
    make, says = HOSTILE[name]
    handlers = Handlers(Sessions(both, Limits()), may_download=False)
    sentence = handlers.open(ME, make(clip), {"name": name})["sentence"]
    assert says in sentence
    assert "/" not in sentence
    assert not [path for path in place.rglob("*") if path.name.startswith("clip")]
    handlers.sessions.films.close()
    assert not list(place.iterdir())


def test_a_film_without_pictures_and_one_without_a_face_say_so(both, place):
    handlers = Handlers(Sessions(both, Limits()), may_download=False)
    sound, nobody = place / "a.mp4", place / "b.mp4"
    with av.open(str(sound), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    write_film(nobody, [draw([])] * 5)
    said = handlers.open(ME, sound.read_bytes(), {"name": "a.mp4"})["sentence"]
    assert "a.mp4 holds no moving pictures, only audio" in said
    state = handlers.open(ME, nobody.read_bytes(), {"name": "b.mp4"})
    assert "No face was found in this frame" in state["photo"]["sentence"]
    handlers.sessions.films.close()


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"film_frames": 5}, "more frames than the 5"),
        ({"film_pixels": 1000}, "frames of 240 x 180"),
        ({"disk_bytes": 4000}, "no room for sway.mp4"),
    ],
)
def test_a_film_over_a_limit_is_refused(both, clip, place, limits, says):
    handlers = Handlers(Sessions(both, Limits(**limits)), may_download=False)
    assert says in handlers.open(ME, clip.read_bytes(), {"name": "sway.mp4"})["sentence"]
    assert not list(place.rglob("clip*"))
    handlers.sessions.films.close()


def test_work_that_takes_too_much_room_is_ended(handlers):
    photo = handlers.do(ME, SMILE)["photos"][0]["number"]
    with handlers.sessions.use(ME) as visit:
        film = visit.photo.film
        film.limits = Limits(disk_bytes=4 * film.bytes() + 8000)
    told = handlers.film(ME, {"photo": photo, "do": "start"})
    if "sentence" not in told:  # it may have ended already
        told = finished(handlers, photo=photo)
    assert "takes more room" in told["sentence"]


def test_the_films_of_a_visitor_are_bounded_together(handlers, clip):
    for name in ("b.mp4", "c.mp4", "d.mp4", "e.mp4"):
        handlers.open(ME, clip.read_bytes(), {"name": name})
    with handlers.sessions.use(ME) as visit:
        visit.photo.film.limits = Limits(disk_bytes=4 * visit.disk_bytes())
        photo = visit.photo.number
    handlers.do(ME, SMILE)
    told = handlers.film(ME, {"photo": photo, "do": "start"})
    if "sentence" not in told:  # it may have ended already
        told = finished(handlers, photo=photo)
    assert "takes more room" in told["sentence"]


def test_faces_found_in_a_film_are_counted_and_let_go(handlers):
    photo = handlers.do(ME, SMILE)["photos"][0]["number"]
    handlers.film(ME, {"photo": photo, "do": "start"})
    finished(handlers)
    with handlers.sessions.use(ME) as visit:
        film, before = visit.photo.film, visit.photo.bytes()
        assert film.scan_bytes() > 0
        size = film.scan_bytes()
        film.order = object()  # while a film is made, its faces stay
        visit.photo.forget_pixels()
        assert film.scan_bytes() == size
        film.order = None
        visit.photo.forget_pixels()
        assert film.scan_bytes() == 0
        assert visit.photo.bytes() <= before - size


def test_clips_go_with_their_photo_their_visitor_and_the_page(both, clip, place):
    content = clip.read_bytes()
    sessions = Sessions(both, Limits(sessions=1, disk_bytes=1 << 30))
    for visitor in (ME, OTHER):  # the second one takes the place of the first
        with sessions.use(visitor) as visit:
            visit.open(content, "a.mp4")
            visit.open(content, "b.mp4")
            visit.close(visit.photos[0].number)
        assert len(list(place.rglob("clip.mp4"))) == 1
    sessions.films.close()
    assert not list(place.iterdir())


def test_idle_visitors_make_room_on_the_disk(both, clip, place):
    content = clip.read_bytes()
    sessions = Sessions(both, Limits(disk_bytes=5 * len(content)))
    for visitor in map(str, range(8)):
        with sessions.use(visitor * 32) as visit:
            visit.open(content, "a.mp4")
    assert len(list(place.rglob("clip.mp4"))) == 5
    sessions.films.close()


def test_what_a_killed_program_left_goes_when_the_next_one_starts(both, place, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(place))
    code = (
        "import os, signal\n"
        "from stylefeatureeditor.web.films import Films\n"
        "films = Films(None)\n"
        "(films.place() / 'clip.mp4').write_text('x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(place.rglob("clip.mp4"))) == 1
    alive = Films(both)
    (alive.place() / "clip.mp4").write_text("y")
    assert not [path for path in place.rglob("clip.mp4") if path.read_text() == "x"]
    Films(both)  # a third one leaves the second alone
    assert [path.read_text() for path in place.rglob("clip.mp4")] == ["y"]
    alive.close()
    assert not list(place.iterdir())


def test_a_gif_that_moves_is_a_film_and_a_still_one_a_photo(tmp_path):
    still = Image.new("RGB", (60, 60))
    still.save(tmp_path / "still.gif")
    still.save(tmp_path / "moves.gif", save_all=True, append_images=[Image.new("RGB", (60, 60), 9)])
    assert is_clip((tmp_path / "moves.gif").read_bytes(), "moves.gif")
    assert not is_clip((tmp_path / "still.gif").read_bytes(), "still.gif")
    assert not is_clip(b"milk", "notes.gif")
    assert is_clip(b"", "IMG_1.MOV")
    assert not is_clip(b"", "IMG_1.JPG")


def test_a_frame_beyond_the_start_is_found_by_seeking(tmp_path):
    path = tmp_path / "long.mp4"
    write_film(path, list(frames(1)), options={"g": "5"})
    clip = open_clip(path)
    whole = {frame.time: frame.pixels for frame in clip.frames()}
    for second in (0.0, 0.37, 0.95, 5.0):
        frame = clip.frame_at(second)
        assert frame.time == max(t for t in whole if t * clip.time_base <= second)
        assert np.array_equal(frame.pixels, whole[frame.time])
    assert clip.seconds == pytest.approx(1)


def test_a_lost_clip_is_a_sentence(handlers):
    with handlers.sessions.use(ME) as visit:
        visit.photo.film.path.unlink()
    sentence = handlers.do(ME, {"act": "frame", "second": 0.2})["sentence"]
    assert sentence.startswith("sway.mp4 cannot be read")
