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

from browser_page import after, move, open_file, picture, settled

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("notes.txt", "notes.txt is not a picture"),
        ("cut.png", "cut.png is damaged or cut short"),
        ("huge.png", "huge.png has 64 megapixels"),
        ("old.safetensors", "old.safetensors"),
        ("old.sfe", "old.sfe is damaged, or no session"),
    ],
)
def test_a_mistake_is_one_sentence_and_the_page_goes_on(visit, photos, tmp_path, name, says):
    path = tmp_path / name
    if name == "huge.png":
        Image.new("1", (8000, 8000)).save(path)
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


def test_of_several_files_the_good_ones_open_and_the_others_are_named(visit, photos, tmp_path):
    (tmp_path / "notes.txt").write_text("buy milk")
    page = visit()
    open_file(page, photos / "portrait.png", tmp_path / "notes.txt", photos / "mirrored.png")
    assert page.locator(".sfe-film li").count() == 2
    assert "notes.txt is not a picture" in page.get_by_role("alert").inner_text()


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
    open_file(visit(), photos / "portrait.png")
    asked = ["/etc/passwd", str(ROOT / "pyproject.toml"), str(server.log), "../../../../etc/passwd"]
    for name in (*asked, "serve.py", "http://example.org/"):
        quoted = urllib.parse.quote(name, safe="/:")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{server.address}/{quoted}", timeout=60)
        assert refused.value.code in (403, 404)
    foreign = urllib.request.Request(server.address, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(foreign, timeout=60)


def test_another_sites_page_can_send_nothing(chromium, server):
    """A page of another origin asks for every step, without waiting for the browser's leave."""
    script = """async ([address, what]) => {
        const asked = {method: "POST", mode: "no-cors", body: "x".repeat(1000)};
        await fetch(address + "/" + what, asked).catch(() => 0);
        return await fetch(address + "/" + what, {method: "POST", headers: {"x-visitor":
            "0".repeat(32)}, body: "{}"}).then(() => "came through", () => "refused");
    }"""
    context = chromium.new_context()
    page, seen = context.new_page(), []
    page.route("http://evil.example/*", lambda route: route.fulfill(body="<p>hello"))
    page.on("response", lambda answer: seen.append((answer.url, answer.status)))
    page.goto("http://evil.example/")
    for what in ("open", "do"):
        assert page.evaluate(script, [server.address, what]) == "refused"
    context.close()
    own = [status for url, status in seen if url.startswith(server.address)]
    assert set(own) <= {403}


def test_a_full_page_says_so_and_can_be_asked_again(visit, photos):
    page = visit()
    open_file(page, photos / "portrait.png")
    busy = {"sentence": "many people use this page just now, so this step was not done"}
    full = [True]

    def answer(route):
        if full[0]:
            return route.fulfill(status=503, json={**busy, "again": True})
        return route.continue_()

    page.route("**/do", answer)
    page.route("**/draft", answer)
    page.expect_error = True
    page.locator("#sfe-smile").fill("2")
    page.get_by_role("button", name="Try again").wait_for()
    assert "Many people use this page" in page.get_by_role("alert").inner_text()
    assert page.locator(".sfe-viewer").get_attribute("aria-busy") == "false"
    full[0] = False
    after(page, lambda: page.get_by_role("button", name="Try again").click())
    assert page.locator("#sfe-smile").input_value() == "2"
    assert not page.locator(".sfe-sentence").is_visible()


def test_a_program_that_was_stopped_is_told_and_so_is_one_that_began_anew(visit, photos):
    page = visit()
    open_file(page, photos / "portrait.png")
    page.route("**/do", lambda route: route.abort())
    page.expect_error = True
    page.locator("#sfe-smile").fill("2")
    page.get_by_role("button", name="Try again").wait_for()
    assert "does not answer" in page.get_by_role("alert").inner_text()
    assert page.locator(".sfe-viewer").get_attribute("aria-busy") == "false"
    page.unroute("**/do")
    empty = {
        "photos": [],
        "photo": None,
        "number": 10**15,
        "sentence": "",
        "models": [],
        "model": "",
    }
    page.route("**/do", lambda route: route.fulfill(json=empty))
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("no longer in the program's memory").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 768, 1280, 1920, 2560])
def test_the_page_uses_the_room_it_has(visit, photos, width: int, scheme: str):
    height = {390: 844, 1920: 1080, 2560: 1440}.get(width, 800)
    page = visit(
        viewport={"width": width, "height": height}, has_touch=width < 800, color_scheme=scheme
    )
    welcome = page.locator(".sfe-welcome").bounding_box()
    assert welcome["x"] + welcome["width"] / 2 == pytest.approx(width / 2, abs=1)
    open_file(page, photos / "portrait.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = {
        part: page.locator(part).bounding_box()
        for part in (".sfe-frame", "#sfe-smile", "#sfe-save-photo", "#sfe-undo", ".sfe-panel")
    }
    for box in boxes.values():
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    if width < 800:
        page.mouse.wheel(0, 4000)  # the last sliders: photo, Undo and Download are still there
        for part in (".sfe-frame", "#sfe-undo", "#sfe-save-photo"):
            box = page.locator(part).bounding_box()
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= height
    else:
        frame, panel = boxes[".sfe-frame"], boxes[".sfe-panel"]
        assert panel["x"] + panel["width"] == pytest.approx(width, abs=1)
        assert frame["width"] + panel["width"] > width - 60
        assert frame["height"] > height - 250
    page.locator("#sfe-save-photo").evaluate("button => button.disabled = true")
    assert contrast(page, "#sfe-save-photo") > 2.5


def contrast(page, selector: str) -> float:
    """How much a button's words stand out from it (WCAG)."""
    script = """node => ["color", "backgroundColor"].map((name) => {
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.fillStyle = getComputedStyle(node)[name];
        canvas.fillRect(0, 0, 1, 1);
        return Array.from(canvas.getImageData(0, 0, 1, 1).data).slice(0, 3);
    })"""
    light = []
    for colour in page.locator(selector).evaluate(script):
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        light.append(float(np.dot(linear, (0.2126, 0.7152, 0.0722))) + 0.05)
    return max(light) / min(light)


def test_the_dark_page_is_dark(visit):
    dark, light = visit(color_scheme="dark"), visit(color_scheme="light")
    script = """() => getComputedStyle(document.body).backgroundColor
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
        "mask": lambda: masks.nth(rng.randrange(2)).dispatch_event("click"),
        "open": lambda: open_file(page, photos / "two.png"),
        "select": lambda: tiles.nth(rng.randrange(tiles.count())).click(),
        "close": lambda: tiles.count() > 4 and page.locator(".sfe-close").last.click(force=True),
    }
    masks = page.locator("#sfe-mask input")
    tiles = page.locator(".sfe-film li > button:first-child")
    acts[rng.choices(list(acts), weights=[8, 2, 2, 2, 1, 1, 2, 1, 1, 2])[0]]()


def test_a_monkey_leaves_no_traceback_and_takes_no_memory(visit, photos, server, record_property):
    rng = random.Random(6)
    pages = [visit(), visit()]
    for page in pages:
        page.on("dialog", lambda dialog: dialog.accept())
        open_file(page, photos / "two.png")
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
