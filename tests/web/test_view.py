import base64
import io
import json

import numpy as np
from PIL import Image

from colour_profiles import grey_profile, linear_profile
from stylefeatureeditor.web.view import panel_message, viewer_message


def decoded(url: str) -> Image.Image:
    kind, _, content = url.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_messages_are_plain_values(opened):
    opened.change(edits={"smile": 1.0})
    json.dumps(viewer_message(opened, 1, opened.draw(1024)))
    json.dumps(panel_message(opened, 2))


def test_the_viewer_gets_both_pictures_and_the_faces(opened, pixels):
    message = viewer_message(opened, 1, opened.draw(1024))
    assert decoded(message["before"]).size == (260, 240)
    assert np.abs(np.asarray(decoded(message["before"])).astype(int) - pixels).mean() < 4
    (face,) = message["faces"]
    assert face["chosen"]
    assert all(-0.5 < part < 1.5 for point in face["points"] for part in point)
    assert "on cpu, model tiny" in message["status"]


def test_pictures_of_the_page_are_in_srgb(session, pixels, tmp_path):
    light = (pixels / 255.0) ** 2.2
    path = tmp_path / "linear.png"
    linear = Image.fromarray(np.rint(light * 255).astype(np.uint8))
    linear.save(path, icc_profile=linear_profile())
    session.open(path, "linear.png")
    message = viewer_message(session, 1, session.draw(1024))
    for name in ("before", "after"):
        shown = np.asarray(decoded(message[name])).astype(int)
        assert np.abs(shown - pixels)[:5].mean() < 4  # above the crop


def test_pictures_of_a_grey_photo_are_grey(session, pixels, tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(pixels[..., 1]).save(path, icc_profile=grey_profile(1.8))
    session.open(path, "grey.png")
    session.change(edits={"smile": 2.0})
    message = viewer_message(session, 1, session.draw(1024))
    shown = [decoded(message[name]) for name in ("before", "after", "crop_before", "crop")]
    for picture in (*shown, session.strip("smile")):
        assert np.ptp(np.asarray(picture), axis=2).max() == 0


def test_a_draft_says_only_what_a_slider_changes(opened):
    message = viewer_message(opened, 1, opened.draw(1024), draft=True)
    assert {"after", "crop"} < set(message)
    assert not {"before", "faces", "painted"} & set(message)


def test_a_strength_out_of_range_is_warned_of(opened):
    opened.change(edits={"smile": 30.0})
    assert "outside the useful range" in viewer_message(opened, 1, opened.draw(64))["warning"]


def test_a_fresh_page_has_sliders_but_nothing_to_edit(session):
    panel = panel_message(session, 1)
    assert not panel["ready"]
    ((smile, age),) = (group["sliders"] for group in panel["groups"])
    assert (smile["label"], smile["low"], smile["high"]) == ("Smile", -3.0, 3.0)
    assert age["step"] == 0.1
    assert viewer_message(session, 1, None)["photo"] == 0
