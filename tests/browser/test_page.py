"""One visitor's page, from photo to download."""

from __future__ import annotations

import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from browser_page import (
    after,
    choose_model,
    move,
    number,
    open_file,
    picture,
    settled,
    shot,
    unfold,
)
from stylefeatureeditor import load_inversion


@pytest.fixture
def page(visit, photos):
    """A page with the portrait open."""
    page = visit(viewport={"width": 1280, "height": 900})
    open_file(page, photos / "portrait.png")
    return page


def test_the_picture_follows_a_dragged_slider(page):
    first, last = picture(page), number(page)
    assert (
        np.array_equal(first, picture(page, "before"))
        or np.abs(first - picture(page, "before")).mean() < 60
    )
    box = page.locator("#sfe-smile").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    seen = set()
    for step in range(1, 13):
        page.mouse.move(middle[0] + step * box["width"] / 30, middle[1])
        page.wait_for_timeout(150)
        seen.add(number(page))
    assert len(seen - {last}) >= 2  # pictures came while the button was down
    after(page, page.mouse.up)
    assert float(page.locator("#sfe-smile").input_value()) == pytest.approx(2.4, abs=0.2)
    change = np.abs(picture(page) - first).max(axis=-1)
    assert (change > 40).sum() > 1000
    assert change[:3].max() < 40  # the border of the photo is not the face's: JPEG at most


def test_the_line_parts_before_and_after(page):
    move(page, "smile", 3)
    page.add_style_tag(
        content=".sfe-faces, .sfe-line, .sfe-tag { visibility: hidden } "
        ".sfe-compare:focus-visible { outline: none !important }"
    )
    stage, line = page.locator(".sfe-stage"), page.locator(".sfe-compare")
    line.focus()
    page.keyboard.press("Home")
    edited = shot(stage)
    page.keyboard.press("End")
    original = shot(stage)
    assert (np.abs(edited - original).max(axis=-1) > 40).sum() > 1000
    line.fill("50")
    half, middle = shot(stage), edited.shape[1] // 2
    assert np.abs(half[:, : middle - 3] - original[:, : middle - 3]).mean() < 1
    assert np.abs(half[:, middle + 3 :] - edited[:, middle + 3 :]).mean() < 1


def test_the_photo_is_looked_at_closely(page):
    def shown() -> tuple[float, float]:  # its width, and what lies in the middle of the frame
        return tuple(
            page.locator(".sfe-scroll").evaluate(
                "box => [box.querySelector('.sfe-after').getBoundingClientRect().width,"
                " (box.scrollLeft + box.clientWidth / 2) / box.scrollWidth]"
            )
        )

    whole, _ = shown()
    for clicks, times in ((1, 1.5), (9, 8)):  # 8 is as near as it goes
        for _ in range(clicks):
            page.get_by_role("button", name="Zoom in").click()
        width, middle = shown()
        assert width == pytest.approx(times * whole, rel=0.02)
        assert middle == pytest.approx(0.5, abs=0.01)
    page.get_by_role("button", name="Zoom out").click()
    assert shown()[0] == pytest.approx(8 / 1.5 * whole, rel=0.02)
    page.get_by_role("button", name="Whole photo").click()
    assert shown()[0] == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize("model", ["other", "faces"])
def test_the_download_is_what_the_shown_command_writes(page, photos, tmp_path, model: str):
    choose_model(page, model)
    move(page, "smile", 2)
    move(page, "age", -1.5)
    unfold(page, "Where edits act")
    after(page, lambda: page.get_by_label("On the face").check())
    with page.expect_download() as download:
        page.locator("#sfe-save-photo").click()
    assert download.value.suggested_filename == "portrait_edited.png"
    downloaded = tmp_path / "downloaded.png"
    download.value.save_as(downloaded)

    unfold(page, "The same in a terminal")
    words = shlex.split(page.locator("#sfe-command .cm-content").inner_text())
    assert words[0] == "sfe"
    (tmp_path / "portrait.png").write_bytes((photos / "portrait.png").read_bytes())
    run = [sys.executable, "-m", "stylefeatureeditor", *words[1:], "--device", "cpu"]
    subprocess.run(run, cwd=tmp_path, check=True, timeout=120, capture_output=True)
    ours, theirs = (
        np.asarray(Image.open(tmp_path / name)).astype(int)
        for name in ("downloaded.png", "portrait_edited.png")
    )
    assert np.abs(ours - theirs).max() <= 1  # the order of sums in a batch may differ
    assert (ours != theirs).mean() < 1e-3


def test_what_cannot_be_done_yet_is_not_offered(visit, photos):
    from playwright.sync_api import expect

    page = visit()
    reset, *saves = (
        page.locator(f"#sfe-{name}") for name in ("reset-all", "save-photo", "save-inversion")
    )
    for button in (reset, *saves):
        expect(button).to_be_disabled()
    open_file(page, photos / "portrait.png")
    for button in saves:
        expect(button).to_be_enabled()
    expect(reset).to_be_disabled()
    move(page, "smile", 2)
    expect(reset).to_be_enabled()


def test_an_inversion_goes_out_and_comes_back(page, tmp_path):
    move(page, "smile", 2)
    shown = picture(page)
    with page.expect_download() as download:
        page.locator("#sfe-save-inversion").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert len(load_inversion(file)) == 1
    after(page, lambda: page.locator("#sfe-reset-all").click())
    open_file(page, file)
    move(page, "smile", 2)
    assert np.abs(picture(page) - shown).mean() < 2


def test_what_was_painted_is_all_that_changes(page):
    unfold(page, "Where edits act")
    after(page, lambda: page.get_by_label("Put the whole crop in").check())
    move(page, "smile", 3)
    everywhere = picture(page)
    page.get_by_role("button", name="Paint").click()
    box = page.locator(".sfe-canvas").bounding_box()
    x, y = box["x"] + box["width"] * 0.35, box["y"] + box["height"] * 0.4
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + box["height"] * 0.25, steps=5)
    after(page, page.mouse.up)
    painted, before = picture(page), picture(page, "before")
    right = slice(round(before.shape[1] * 0.55), None)
    assert np.abs(painted[:, right] - before[:, right]).mean() < 2
    assert np.abs(everywhere[:, right] - before[:, right]).mean() > 10
    assert np.abs(painted - before).mean() > 1
    after(page, lambda: page.get_by_label("Everywhere").check())
    assert np.abs(picture(page) - everywhere).mean() < 2


def test_the_other_face_is_a_click_away(visit, photos):
    page = visit()
    open_file(page, photos / "two.png")
    move(page, "smile", 3)
    badges = page.locator(".sfe-badge")
    assert badges.count() == 2

    def changed() -> list[bool]:
        change = np.abs(picture(page) - picture(page, "before")).max(axis=-1) > 60
        return [bool(half.sum() > 300) for half in np.split(change, 2, axis=1)]

    first = changed()
    assert sorted(first) == [False, True]
    after(page, badges.nth(1).click)
    assert changed() == first[::-1]
    after(page, lambda: page.get_by_role("button", name="All faces").click())
    assert changed() == [True, True]


def test_steps_are_undone_by_button_and_by_keyboard(page):
    start = picture(page)
    page.locator("#sfe-smile").focus()
    for _ in range(3):
        after(page, lambda: page.keyboard.press("ArrowRight"))
    settled(page)
    assert float(page.locator("#sfe-smile").input_value()) == pytest.approx(0.3)
    assert not np.array_equal(picture(page), start)
    after(page, lambda: page.locator("#sfe-undo").click())
    assert float(page.locator("#sfe-smile").input_value()) == pytest.approx(0.2)
    after(page, lambda: page.keyboard.press("Control+z"))
    assert float(page.locator("#sfe-smile").input_value()) == pytest.approx(0.1)
    after(page, lambda: page.keyboard.press("Control+Shift+Z"))
    assert float(page.locator("#sfe-smile").input_value()) == pytest.approx(0.2)
    after(page, lambda: page.get_by_label("Reset Smile").click())
    assert np.array_equal(picture(page), start)


def test_another_model_draws_another_picture(page):
    move(page, "smile", 2)
    tiny = picture(page)
    choose_model(page, "other")
    assert "model other" in page.locator(".sfe-status").inner_text()
    assert np.abs(picture(page) - tiny).mean() > 1


def test_a_strip_shows_a_direction_from_end_to_end(page):
    unfold(page, "One edit in steps")
    page.locator("#sfe-show-strip").click()
    page.get_by_text("Choose an edit first").wait_for()
    page.locator("#sfe-strip-of input").click()
    page.get_by_role("option", name="Age").click()
    page.locator("#sfe-show-strip").click()
    image = page.wait_for_selector("#sfe-strip img")
    assert image.evaluate("i => i.naturalWidth") > 8 * 32


@pytest.mark.parametrize("how", ["drop", "paste", "sample"])
def test_a_photo_comes_in_by(visit, photos, how: str):
    page = visit()
    content = list((photos / "portrait.png").read_bytes())
    script = """([bytes, how]) => {
        const file = new File([new Uint8Array(bytes)], "portrait.png", {type: "image/png"});
        const carried = new DataTransfer();
        carried.items.add(file);
        const where = how === "drop" ? document.querySelector(".sfe-welcome") : document.body;
        where.dispatchEvent(how === "drop"
            ? new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true})
            : new ClipboardEvent("paste", {clipboardData: carried, bubbles: true}));
    }"""
    if how == "sample":
        after(page, lambda: page.get_by_role("button", name="Try a sample").click())
    else:
        after(page, lambda: page.evaluate(script, [content, how]))
    assert page.locator(".sfe-work").is_visible()


def test_a_slider_of_the_builtin_model_has_its_picture_within_half_a_second(page, record_property):
    choose_model(page, "faces")
    script = """() => new Promise((done) => {
        const slider = document.querySelector("#sfe-smile"), start = performance.now();
        document.addEventListener("sfe:drawn", () => {
            const image = document.querySelector(".sfe-after");
            image.decode().then(() => done(performance.now() - start));
        }, {once: true});
        slider.value = String(3 * Math.random());
        slider.dispatchEvent(new Event("input"));
    })"""
    times = []
    for _ in range(12):
        times.append(page.evaluate(script))
        settled(page)
    record_property("milliseconds", times)
    assert np.median(times) < 500, times


def test_a_camera_without_a_face_is_told(visit):
    page = visit(permissions=["camera"])
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the picture").wait_for()
    after(page, lambda: page.get_by_role("button", name="Take the picture").click())
    assert "No face was found in camera.png" in page.get_by_role("alert").inner_text()
    assert not page.locator(".sfe-dialog").is_visible()
