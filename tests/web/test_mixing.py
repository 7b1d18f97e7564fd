"""What one photo of a visitor takes from another."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from page_pictures import png
from stylefeatureeditor.directions.mix import strength_like, toward
from stylefeatureeditor.web.handlers import Handlers
from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.visit import Sessions

ME = "0" * 32


@pytest.fixture
def page(both, pixels):
    """The handlers of a page with two portraits, and the number of the second."""
    handlers = Handlers(Sessions(both, Limits()), may_download=False)
    handlers.open(ME, png(pixels), {"name": "a.png"})
    state = handlers.open(ME, png(pixels[:, ::-1] // 2), {"name": "b.png"})
    return handlers, state["photos"][1]["number"]


@pytest.fixture
def inversions(both, pixels):
    editor = both.editor(both.first())
    return editor, editor.invert(pixels), editor.invert(np.ascontiguousarray(pixels[:, ::-1] // 2))


def test_style_vectors_of_the_other_photo_are_taken(page, inversions):
    handlers, other = page
    editor, a, b = inversions
    name, content = handlers.save(ME, {"kind": "mix", "photo": other, "take": "0:4"})
    ours = editor.edit(a, {toward(a, b, (0, 4)): 1.0}).photo
    assert name == "a_mixed.png"
    assert np.abs(np.asarray(Image.open(io.BytesIO(content))).astype(int) - ours).max() <= 1
    shown = handlers.mix(ME, {"photo": other, "take": "0:4"})
    assert shown["picture"].startswith("data:image/jpeg")
    assert shown["command"].startswith("sfe mix a.png b.png --layers 0:4 --model")


def test_the_way_has_five_pictures(page, both):
    handlers, other = page
    _, content = handlers.save(ME, {"kind": "mix", "photo": other, "take": "way"})
    assert Image.open(io.BytesIO(content)).width >= 5 * both.editor(both.first()).size


def test_an_attribute_of_the_other_photo_moves_its_slider(page, inversions):
    handlers, other = page
    editor, a, b = inversions
    state = handlers.do(ME, {"act": "like", "photo": other, "name": "smile"})
    strength = strength_like(a, b, editor.direction("smile"))
    assert state["edits"]["smile"] == pytest.approx(strength, abs=1e-3)
    assert state["step"] == 1


def test_what_cannot_be_mixed_is_told(page):
    handlers, other = page
    assert "a mix takes" in handlers.mix(ME, {"photo": other, "take": "all"})["sentence"]
    assert "8 style vectors" in handlers.mix(ME, {"photo": other, "take": "8:"})["sentence"]
    assert "not open any more" in handlers.mix(ME, {"photo": 1, "take": "way"})["sentence"]
    wall = handlers.open(ME, png(np.zeros((90, 90, 3), np.uint8)), {"name": "wall.png"})
    number = wall["photos"][2]["number"]
    assert (
        "wall.png shows no face" in handlers.mix(ME, {"photo": number, "take": "way"})["sentence"]
    )
