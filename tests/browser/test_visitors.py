"""Mistakes, several visitors, what is never served, and a monkey."""

from __future__ import annotations

import random
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser_page import after, move, open_file, picture, settled, unfold

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("notes.txt", "notes.txt is not a picture"),
        ("cut.png", "cut.png is damaged or cut short"),
        ("huge.png", "huge.png has 64 megapixels"),
        ("wall.png", "No face was found in wall.png"),
        ("old.safetensors", "old.safetensors"),
    ],
)
def test_a_mistake_is_one_sentence_and_the_page_goes_on(visit, photos, tmp_path, name, says):
    path = tmp_path / name
    if name == "huge.png":
        Image.new("1", (8000, 8000)).save(path)
    elif name == "wall.png":
        Image.new("RGB", (200, 200), "gray").save(path)
    elif name == "cut.png":
        path.write_bytes((photos / "portrait.png").read_bytes()[:5000])
    else:
        path.write_text("buy milk")
    page = visit()
    open_file(page, path)
    sentence = page.get_by_role("alert").inner_text()
    assert says in sentence
    assert "Traceback" not in sentence
    assert "/" not in sentence.replace("and/or", "")
    open_file(page, photos / "portrait.png")
    assert page.locator(".sfe-work").is_visible()
    assert not page.locator(".sfe-sentence").is_visible()


def test_two_visitors_do_not_mix(visit, photos):
    ann, bob = visit(), visit()
    open_file(ann, photos / "portrait.png")
    open_file(bob, photos / "mirrored.png")
    move(ann, "smile", 3)
    alone = picture(ann)
    last = bob.locator("#sfe-smile")
    for strength in (-3, -1, 2, -2):  # both at once
        last.fill(str(strength))
        ann.locator("#sfe-age").fill(str(strength))
    settled(ann)
    settled(bob)
    move(ann, "age", 0)
    assert np.abs(picture(ann) - alone).mean() < 1
    assert np.abs(picture(ann, "before") - picture(bob, "before")[:, ::-1]).mean() < 3
    assert bob.locator("#sfe-age").input_value() == "0"
    after(bob, lambda: bob.locator("#sfe-reset-all").click())
    assert ann.locator("#sfe-smile").input_value() == "3"


def test_nothing_but_the_page_is_served(visit, photos, server):
    page = visit()
    uploaded = []
    page.on("response", lambda r: "/upload" in r.url and uploaded.append(r.json()[0]))
    open_file(page, photos / "portrait.png")
    (path,) = uploaded
    asked = [
        *("/etc/passwd", str(ROOT / "pyproject.toml"), str(server.log), path),
        *("../../../../etc/passwd", "http://example.org/", "https://example.org/x.png"),
    ]
    for name in asked:
        quoted = urllib.parse.quote(name, safe="/:")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{server.address}/gradio_api/file={quoted}", timeout=10)
        assert refused.value.code in (403, 404)
    foreign = urllib.request.Request(server.address, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(foreign, timeout=10)


@pytest.mark.parametrize("width", [360, 768])
def test_the_page_fits_a_narrow_screen(visit, photos, width: int):
    page = visit(viewport={"width": width, "height": 740}, has_touch=True)
    open_file(page, photos / "portrait.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in (".sfe-stage", "#sfe-smile", "#sfe-save-photo"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_the_dark_page_is_dark(visit):
    dark, light = visit(color_scheme="dark"), visit(color_scheme="light")
    script = """() => getComputedStyle(document.querySelector("gradio-app, body")).backgroundColor
        .match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0)"""
    assert dark.evaluate(script) < 200 < 600 < light.evaluate(script)


def monkey_acts(page, rng: random.Random, photos: Path) -> None:
    """Do one thing at random."""
    acts = {
        "drag": lambda: page.locator(f"#sfe-{rng.choice(['smile', 'age'])}").fill(
            str(rng.randint(-3, 3))
        ),
        "face": lambda: page.locator(".sfe-badge").nth(rng.randrange(2)).click(),
        "undo": lambda: page.locator("#sfe-undo").dispatch_event("click"),
        "redo": lambda: page.locator("#sfe-redo").dispatch_event("click"),
        "reset": lambda: page.locator("#sfe-reset-all").dispatch_event("click"),
        "line": lambda: page.locator(".sfe-compare").fill(str(rng.randint(0, 100))),
        "mask": lambda: page.locator("#sfe-mask input").nth(rng.randrange(2)).click(),
        "open": lambda: open_file(page, photos / "two.png"),
    }
    acts[rng.choices(list(acts), weights=[8, 2, 2, 2, 1, 1, 2, 1])[0]]()


def test_a_monkey_leaves_no_traceback_and_takes_no_memory(visit, photos, server, record_property):
    rng = random.Random(6)
    pages = [visit(), visit()]
    for page in pages:
        open_file(page, photos / "two.png")
        unfold(page, "Where edits act")
    sizes = []
    for step in range(200):
        page = pages[rng.randrange(2)]
        monkey_acts(page, rng, photos)
        if rng.random() < 0.4:
            settled(page)
        if step % 50 == 49:
            for one in pages:
                settled(one)
            sizes.append(server.memory())
    record_property("bytes", sizes)
    for page in pages:
        move(page, "smile", 1.5)  # still alive
    assert "Traceback" not in server.log.read_text()
    # Both photos and their inversions take less than 3 MB.
    assert sizes[-1] - sizes[0] < 60e6, sizes
