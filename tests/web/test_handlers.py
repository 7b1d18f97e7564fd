"""What the page is told."""

from __future__ import annotations

import io
import shlex
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from page_pictures import png
from stylefeatureeditor import save_inversion
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.photo.session_file import load_session
from stylefeatureeditor.web import handlers as page
from stylefeatureeditor.web.handlers import ACTS, Handlers
from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.session import Session
from stylefeatureeditor.web.visit import Sessions

ME = "0" * 32


@pytest.fixture
def handlers(both, portrait):
    """The handlers of a page on which one visitor has opened the portrait."""
    made = Handlers(Sessions(both, Limits()), may_download=False)
    state = made.open(ME, portrait.read_bytes(), {"name": "../me.png"})
    assert (state["sentence"], state["photo"]["name"]) == ("", "me.png")
    return made


def test_a_step_changes_the_photo_and_a_mistake_changes_nothing(handlers):
    state = handlers.do(ME, {"act": "move", "edits": {"smile": 2}})
    assert (state["sentence"], state["edits"], state["steps"]) == ("", {"smile": 2.0}, ["Smile +2"])
    assert "-e smile=2" in state["command"]
    assert "Editor.from_pretrained" in state["python"]
    for wrong in ({"smile": "much"}, {"smile": 10**400}, {"nothing": 1}):
        state = handlers.do(ME, {"act": "move", "edits": wrong})
        assert state["sentence"]
        assert state["edits"] == {"smile": 2.0}
    state = handlers.do(ME, {"act": "go", "steps": -1})
    assert (state["sentence"], state["edits"], state["step"]) == ("", {}, 0)


@pytest.mark.parametrize("act", ["turn", "everywhere", "model"])
def test_a_step_that_cannot_be_drawn_leaves_every_photo_as_it_was(
    handlers, both, pixels, monkeypatch, act
):
    handlers.open(ME, png(pixels[:, ::-1]), {"name": "two.png"})
    handlers.do(ME, {"act": "move", "edits": {"smile": 2}})
    kept = ("opened", "small", "model", "settings", "past", "future")

    def everything() -> list:
        with handlers.sessions.use(ME) as visit:
            photos = [{**vars(one), "opened": id(one.opened)} for one in visit.photos]
            return [visit.model, *([photo[name] for name in kept] for photo in photos)]

    before = everything()
    with monkeypatch.context() as broken:
        broken.setattr(Session, "draw", None)
        state = handlers.do(ME, {"act": act, "model": both.names()[1]})
    assert state["sentence"] == page.BUG
    assert everything() == before
    assert handlers.do(ME, {"act": "show"})["edits"] == {"smile": 2.0}


def test_pictures_that_the_page_has_are_not_sent_again(handlers):
    state = handlers.do(ME, {"act": "show"})
    assert state["photo"]["before"].startswith("data:image/jpeg")
    known = "|".join([state["photo"]["key"], state["photos"][0]["key"]])
    state = handlers.do(ME, {"act": "move", "edits": {"smile": 2}, "known": known})
    assert "before" not in state["photo"]
    assert "small" not in state["photos"][0]
    assert state["photo"]["after"].startswith("data:image/jpeg")


@pytest.mark.parametrize("act", sorted(ACTS))
@pytest.mark.parametrize("value", [None, [], {}, "x", -1, 10**400])
def test_whatever_is_sent_is_answered_in_a_sentence(handlers, act, value, caplog):
    keys = ("photo", "face", "edits", "mask", "png", "blend", "steps", "box", "model")
    if act == "sample":
        return
    state = handlers.do(ME, {"act": act, **dict.fromkeys(keys, value)})
    assert isinstance(state["sentence"], str)
    assert caplog.text == ""


def test_drafts_strips_and_small_pictures(handlers):
    assert handlers.draft(ME, {"edits": {"age": 1.0}})["after"].startswith("data:image/jpeg")
    assert handlers.prepare(ME, {})["pace"] == "live"
    assert handlers.strip(ME, {"name": "smile"})["picture"].startswith("data:image/jpeg")
    assert handlers.picture(ME, {"name": "smile"})["picture"].startswith("data:image/jpeg")
    assert "choose an edit first" in handlers.strip(ME, {})["sentence"]


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_a_photo_is_saved_in_the_form_that_was_asked_for(handlers, form, pixels):
    handlers.do(ME, {"act": "move", "edits": {"smile": 2}})
    name, content = handlers.save(ME, {"kind": "photo", "form": form, "quality": 80})
    assert name == f"me_edited.{'jpg' if form == 'jpeg' else form}"
    picture = Image.open(io.BytesIO(content))
    assert (picture.format, picture.size) == (form.upper(), pixels.shape[1::-1])
    _, pair = handlers.save(ME, {"kind": "compare", "form": form})
    assert Image.open(io.BytesIO(pair)).size == (520, 240)


def test_what_cannot_be_saved_is_told(handlers):
    for sent in ({"kind": "moving"}, {"kind": "compare"}):
        assert "move a slider first" in handlers.save(ME, sent)["sentence"]
    for wrong in ({"form": "exe"}, {"quality": 1000}, {"form": []}):
        assert "jpeg, png or webp" in handlers.save(ME, {"kind": "photo", **wrong})["sentence"]


def test_the_moving_picture_runs_forth_and_back(handlers):
    handlers.do(ME, {"act": "move", "edits": {"smile": 2}})
    name, content = handlers.save(ME, {"kind": "moving"})
    assert name == "me_edited.gif"
    assert Image.open(io.BytesIO(content)).n_frames > 9


def test_the_edit_grows_as_a_film_where_pyav_is(handlers, tmp_path, monkeypatch):
    av = pytest.importorskip("av", reason="the extra `video` brings it")
    handlers.do(ME, {"act": "move", "edits": {"smile": 2}})
    name, content = handlers.save(ME, {"kind": "moving-film"})
    (tmp_path / name).write_bytes(content)
    with av.open(str(tmp_path / "me_edited.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == 8
    still = np.abs(frames[0].astype(int) - frames[6]).mean()  # it rests at both ends
    assert still < 2 < np.abs(frames[0].astype(int) - frames[15]).max()
    monkeypatch.setitem(sys.modules, "av", None)
    assert "[video]" in handlers.save(ME, {"kind": "moving-film"})["sentence"]


def test_all_photos_come_in_one_zip(handlers, pixels):
    state = handlers.open(ME, png(pixels[:, ::-1]), {"name": "me.png"})
    for index, photo in enumerate(state["photos"]):
        sent = {"photo": photo["number"], "first": index == 0, "form": "png"}
        assert handlers.make(ME, sent)["number"]
    name, content = handlers.save(ME, {"kind": "zip"})
    assert name == "photos_edited.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["me_edited.png", "2_me_edited.png"]


def test_a_zip_stays_within_its_bound_and_is_never_half_a_zip(both, pixels):
    content = png(pixels)
    handlers = Handlers(Sessions(both, Limits(memory_bytes=9 * len(content))), may_download=False)
    for name in ("a.png", "b.png", "c.png"):
        state = handlers.open(ME, content, {"name": name})
    answers = [
        handlers.make(ME, {"photo": photo["number"], "first": index == 0})
        for index, photo in enumerate(state["photos"])
    ]
    assert "sentence" not in answers[0]
    assert "too large for one file" in next(a["sentence"] for a in answers if "sentence" in a)
    for sentence in (handlers.make(ME, {"photo": 1}), handlers.save(ME, {"kind": "zip"})):
        assert "download them again" in sentence["sentence"]


def test_saved_work_opens_again_as_it_was(handlers):
    handlers.do(ME, {"act": "move", "edits": {"smile": 2}})
    name, content = handlers.save(ME, {"kind": "session"})
    assert name == "me.sfe"
    state = handlers.open("1" * 32, content, {"name": name})
    assert (state["sentence"], state["edits"]) == ("", {"smile": 2.0})


def test_the_command_names_the_file_that_is_saved(handlers, pixels):
    handlers.open(ME, png(pixels[:, ::-1]), {"name": "two.png", "take": "1"})
    handlers.do(ME, {"act": "turn"})
    state = handlers.do(ME, {"act": "move", "edits": {"smile": 2}})
    name, content = handlers.save(ME, {"kind": "session"})
    assert shlex.split(state["command"])[2] == name
    assert shlex.split(state["command"])[-1] == "two_edited.png"  # the only photo that is edited
    assert "session.photos[1]" in state["python"]
    assert load_session(content).photos[1].name == "two.png"


def test_an_inversion_file_is_left_out_of_a_session(handlers, both, portrait, tmp_path):
    file = save_inversion(both.editor(both.first()).invert(portrait), tmp_path / "a.safetensors")
    state = handlers.open(ME, file.read_bytes(), {"name": "a.safetensors"})
    assert [photo["inversion"] for photo in state["photos"]] == [False, True]
    name, content = handlers.save(ME, {"kind": "session"})
    assert (name, len(load_session(content).photos)) == ("me.sfe", 1)
    handlers.do(ME, {"act": "close", "photo": state["photos"][0]["number"]})
    assert "saved file already" in handlers.save(ME, {"kind": "session"})["sentence"]


def test_a_phones_photo_opens_or_its_reader_is_named(handlers, pixels, monkeypatch):
    heif = pytest.importorskip("pillow_heif", reason="the extra `app` brings it")
    buffer = io.BytesIO()
    heif.from_pillow(Image.fromarray(pixels)).save(buffer, quality=90)
    state = handlers.open(ME, buffer.getvalue(), {"name": "IMG_1.HEIC", "take": "1"})
    assert (state["sentence"], state["photo"]["name"]) == ("", "IMG_1.HEIC")
    monkeypatch.setattr("stylefeatureeditor.photo.image.importlib.util.find_spec", lambda _: None)
    state = handlers.open(ME, buffer.getvalue(), {"name": "IMG_2.HEIC"})
    assert state["sentence"].startswith("IMG_2.HEIC is a HEIC picture")


def test_a_page_that_outlives_the_program_takes_its_answers_and_its_photos(handlers, both, pixels):
    before = handlers.do(ME, {"act": "show"})
    known = "|".join([before["photo"]["key"], before["photos"][0]["key"]])
    time.sleep(0.01)
    anew = Handlers(Sessions(both, Limits()), may_download=False)
    state = anew.open(ME, png(pixels[::2, ::2]), {"name": "other.png", "known": known})
    assert state["number"] > before["number"]
    assert state["photo"]["before"]
    assert state["photos"][0]["small"]


def test_a_download_that_fails_is_told_once(both, monkeypatch):
    tried = []

    def pull(name, _report):
        tried.append(name)
        raise ConfigError("no network")

    monkeypatch.setattr(page, "pull_model", pull)
    monkeypatch.setattr(page, "published_models", lambda: {"faces": "free"})
    monkeypatch.setattr(page.threading, "Thread", AtOnce)
    handlers = Handlers(Sessions(both, Limits()), may_download=True)
    for times in (1, 2):
        assert handlers.pull(ME, {"name": "faces"})["sentence"] == "no network"
        assert tried == ["faces"] * times


class AtOnce:
    """A thread that runs before the next line."""

    def __init__(self, target, args, **_):
        self.start = lambda: target(*args)


def test_a_bug_is_a_sentence_too(handlers, monkeypatch, caplog):
    def broken(_visit, _sent):
        raise ZeroDivisionError

    monkeypatch.setitem(page.ACTS, "show", broken)
    assert handlers.do(ME, {"act": "show"})["sentence"] == page.BUG
    assert "ZeroDivisionError" in caplog.text


def test_models_are_downloaded_on_the_own_machine_alone(handlers):
    assert "on the machine that serves" in handlers.pull(ME, {"name": "ffhq"})["sentence"]
