import base64
import io
import json

import numpy as np
from PIL import Image

from colour_profiles import grey_profile, linear_profile
from page_pictures import png
from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.session import Session
from stylefeatureeditor.web.view import draft, encoded, state
from stylefeatureeditor.web.visit import Visit


def decoded(url: str) -> Image.Image:
    kind, _, content = url.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def shown(session: Session) -> dict:
    visit = Visit(session.models, Limits())
    visit.photos, visit.current = [session], session
    return state(visit, session.draw(1024), ())


def test_messages_are_plain_values(opened):
    opened.change(edits={"smile": 1.0})
    json.dumps(shown(opened))
    json.dumps(draft(opened, opened.draw(64)))


def test_the_page_gets_both_pictures_and_the_faces(two, pixels):
    two.change(edits={"smile": 1.0})
    photo = shown(two)["photo"]
    assert decoded(photo["before"]).size == (520, 240)
    before = np.asarray(decoded(photo["before"])).astype(int)
    assert np.abs(before[:, :260] - pixels).mean() < 4
    assert len(photo["faces"]) == len(photo["pictures"]) == 2
    assert all(-0.5 < part < 1.5 for face in photo["faces"] for point in face for part in point)
    assert "on cpu, model tiny" in photo["status"]


def test_faces_that_differ_are_told_apart(two):
    two.change(edits={"smile": 1.0, "age": 1.0})
    two.pick(2)
    two.change(edits={"smile": 2.0, "age": 1.0})
    two.pick("all")
    message = shown(two)
    assert (message["edits"], message["varied"]) == ({"age": 1.0}, ["smile"])


def test_pictures_of_the_page_are_in_srgb(session, pixels, tmp_path):
    light = (pixels / 255.0) ** 2.2
    path = tmp_path / "linear.png"
    linear = Image.fromarray(np.rint(light * 255).astype(np.uint8))
    linear.save(path, icc_profile=linear_profile())
    session.open(path.read_bytes(), "linear.png")
    session.change(edits={"smile": 1.0})
    photo = shown(session)["photo"]
    for name in ("before", "after"):
        picture = np.asarray(decoded(photo[name])).astype(int)
        assert np.abs(picture - pixels)[:5].mean() < 4  # above the crop
    for form in ("jpeg", "png", "webp"):  # what is saved keeps the profile instead
        saved = Image.open(io.BytesIO(encoded(session.whole(), form, 90)))
        assert saved.info["icc_profile"] == linear_profile()


def test_pictures_of_a_grey_photo_are_grey(session, pixels, tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(pixels[..., 1]).save(path, icc_profile=grey_profile(1.8))
    session.open(path.read_bytes(), "grey.png")
    session.change(edits={"smile": 2.0})
    photo = shown(session)["photo"]
    pictures = [decoded(photo[name]) for name in ("before", "after")]
    for picture in (*pictures, session.strip("smile"), session.show_direction("smile")):
        assert np.ptp(np.asarray(picture), axis=2).max() == 0


def test_a_photo_without_edits_is_sent_once(opened):
    photo = shown(opened)["photo"]
    assert photo["after"] == ""
    assert photo["before"]


def test_a_strength_out_of_range_is_warned_of(opened):
    opened.change(edits={"smile": 30.0})
    assert "outside the useful range" in shown(opened)["warning"]


def test_a_fresh_page_has_sliders_but_nothing_to_edit(both):
    message = state(Visit(both, Limits()), None, ())
    assert (message["photo"], message["photos"]) == (None, [])
    ((smile, age),) = (group["sliders"] for group in message["groups"])
    assert (smile["label"], smile["low"], smile["high"]) == ("Smile", -3.0, 3.0)
    assert age["step"] == 0.1


def test_a_hidden_colour_stays_hidden(session, pixels):
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:60] = 0
    session.open(png(np.dstack([pixels, alpha])), "cut.png")
    assert np.asarray(decoded(shown(session)["photo"]["before"]))[:50].min() > 250
