"""One visitor's page, from photo to download."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
import zipfile
from functools import partial

import numpy as np
import pytest
from PIL import Image

from browser_page import (
    after,
    choose,
    choose_model,
    move,
    open_file,
    picture,
    save,
    settled,
    shot,
    unfold,
)
from stylefeatureeditor import load_session

expect = pytest.importorskip("playwright.sync_api", reason="`make test-app` installs it").expect


@pytest.fixture
def page(visit, photos):
    """A page with the portrait open."""
    page = visit(viewport={"width": 1280, "height": 900})
    open_file(page, photos / "portrait.png")
    return page


@pytest.fixture
def two(visit, photos):
    """A page with a photo of two faces."""
    page = visit(viewport={"width": 1280, "height": 900})
    open_file(page, photos / "two.png")
    return page


def changed(page) -> list[bool]:
    """Which half of two.png is changed."""
    change = np.abs(picture(page) - picture(page, "before")).max(axis=-1) > 60
    return [bool(half.sum() > 300) for half in np.split(change, 2, axis=1)]


def sfe(folder, words: list[str]) -> None:
    run = [sys.executable, "-m", "stylefeatureeditor", *words, "--device", "cpu"]
    subprocess.run(run, cwd=folder, check=True, timeout=300, capture_output=True)


def same(one, other) -> bool:
    """Whether two files show the same picture; the order of sums in a batch may differ."""
    ours, theirs = (
        np.asarray(Image.open(path).convert("RGB")).astype(int) for path in (one, other)
    )
    return bool(np.abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 1e-3)


def test_the_picture_follows_a_dragged_slider(page):
    first = picture(page, "before")
    box = page.locator("#sfe-smile").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    last = first
    for part in (0.1, 0.25, 0.4):  # of the slider; pictures come while the button is down
        after(page, partial(page.mouse.move, middle[0] + part * box["width"], middle[1]))
        assert not np.array_equal(picture(page), last)
        last = picture(page)
    after(page, page.mouse.up)
    assert float(page.locator("#sfe-smile").input_value()) == pytest.approx(2.5, abs=0.2)
    change = np.abs(picture(page) - first).max(axis=-1)
    assert (change > 40).sum() > 1000
    assert change[:3].max() < 40  # the border of the photo is not the face's: JPEG at most


def test_the_line_parts_before_and_after(page):
    move(page, "smile", 3)
    for part in ("line", "tag-before", "tag-after", "busy"):
        page.locator(f".sfe-{part}").evaluate("node => node.style.visibility = 'hidden'")
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
    line.fill("0")
    button = page.locator("#sfe-original").bounding_box()
    page.mouse.move(button["x"] + 9, button["y"] + 9)
    page.mouse.down()
    assert np.abs(shot(stage) - original).mean() < 1
    page.mouse.up()
    assert np.abs(shot(stage) - edited).mean() < 1


def test_the_photo_is_looked_at_closely(page):
    def shown() -> tuple[float, float]:  # its width, and where its middle lies in the frame
        return tuple(
            page.locator(".sfe-frame").evaluate(
                """frame => {
                    const image = frame.querySelector(".sfe-after").getBoundingClientRect();
                    const box = frame.getBoundingClientRect();
                    return [image.width, image.left + image.width / 2 - box.left - box.width / 2];
                }"""
            )
        )

    whole, _ = shown()
    for clicks, times in ((1, 1.5), (9, 8)):  # 8 is as near as it goes
        for _ in range(clicks):
            page.get_by_role("button", name="Zoom in").click()
        width, middle = shown()
        assert width == pytest.approx(times * whole, rel=0.02)
        assert middle == pytest.approx(0, abs=1)
    page.get_by_role("button", name="Zoom out").click()
    assert shown()[0] == pytest.approx(8 / 1.5 * whole, rel=0.02)
    page.get_by_role("button", name="Whole photo").click()
    assert shown()[0] == pytest.approx(whole, rel=0.02)
    frame = page.locator(".sfe-frame").bounding_box()
    page.mouse.move(frame["x"] + frame["width"] * 0.6, frame["y"] + frame["height"] / 2)
    page.mouse.wheel(0, -400)
    page.wait_for_selector(".sfe-near")
    width, middle = shown()
    assert width > 2 * whole
    assert middle < -10  # what lies under the pointer stays there
    page.mouse.move(frame["x"] + 20, frame["y"] + 20)
    page.mouse.down()
    page.mouse.move(frame["x"] + 60, frame["y"] + 20, steps=4)
    page.mouse.up()
    assert shown()[1] == pytest.approx(middle + 40, abs=2)


@pytest.mark.parametrize("model", ["other", "faces"])
def test_the_download_is_what_the_shown_command_writes(page, photos, tmp_path, model: str):
    choose_model(page, model)
    move(page, "smile", 2)
    move(page, "age", -1.5)
    unfold(page, "Where edits act")
    choose(page, "Only the face")
    downloaded = save(page, "#sfe-save-photo", tmp_path)
    assert downloaded.name == "portrait_edited.png"
    words = shlex.split(page.locator("#sfe-command").input_value())
    folder = tmp_path / "command"
    folder.mkdir()
    (folder / "portrait.png").write_bytes((photos / "portrait.png").read_bytes())
    sfe(folder, words[1:])
    assert same(downloaded, folder / "portrait_edited.png")


def test_what_cannot_be_done_yet_is_not_offered(visit, photos):
    page = visit()
    reset, *saves = (
        page.locator(f"#sfe-{name}") for name in ("reset-all", "save-photo", "save-session")
    )
    for button in (reset, *saves):
        expect(button).to_be_disabled()
    open_file(page, photos / "portrait.png")
    for button in saves:
        expect(button).to_be_enabled()
    expect(reset).to_be_disabled()
    move(page, "smile", 2)
    expect(reset).to_be_enabled()


def test_saved_work_opens_as_it_was_here_and_in_the_terminal(two, tmp_path):
    move(two, "smile", 3)
    after(two, two.locator(".sfe-badge").nth(1).click)
    unfold(two, "Where edits act")
    choose(two, "Only the face")
    move(two, "age", -3)
    shown = picture(two)
    file = save(two, "#sfe-save-session", tmp_path)
    assert file.name == "two.sfe"
    assert len(load_session(file).photos) == 1
    downloaded = save(two, "#sfe-save-photo", tmp_path)
    two.once("dialog", lambda dialog: dialog.accept())
    after(two, lambda: two.get_by_label("Close two.png").click(force=True))
    open_file(two, file)
    assert np.array_equal(picture(two), shown)
    assert two.locator("#sfe-age").input_value() == "-3"  # of the face that was in hand
    model = load_session(file).model
    sfe(tmp_path, ["edit", "two.sfe", "--model", model, "-o", "again.png"])
    assert same(downloaded, tmp_path / "again.png")


def test_what_was_painted_is_all_that_changes(page):
    unfold(page, "Details")
    choose(page, "Put the drawn face in whole")
    move(page, "smile", 3)
    everywhere = picture(page)
    page.get_by_role("button", name="Paint").click()
    box = page.locator(".sfe-stage").bounding_box()
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
    unfold(page, "Where edits act")
    choose(page, "Face, hair and what is close")
    assert np.abs(picture(page) - everywhere).mean() < 1
    choose(page, "Where I paint")
    after(page, page.get_by_role("button", name="Clear").click)
    assert page.get_by_label("Face, hair and what is close").is_checked()


def test_each_face_keeps_its_own_edits(two):
    move(two, "smile", 3)
    first = changed(two)
    assert sorted(first) == [False, True]
    badges = two.locator(".sfe-badge")
    assert badges.count() == 2
    after(two, badges.nth(1).click)
    assert two.locator("#sfe-smile").input_value() == "0"
    assert changed(two) == first
    move(two, "smile", -3)
    assert changed(two) == [True, True]
    after(two, badges.nth(0).click)
    assert two.locator("#sfe-smile").input_value() == "3"
    after(two, lambda: two.get_by_role("button", name="All faces").click())
    assert two.get_by_label("Smile, strength").get_attribute("placeholder") == "mixed"
    move(two, "smile", 0)
    assert changed(two) == [False, False]


def test_steps_are_undone_by_button_by_keyboard_and_from_the_list(page):
    start = picture(page, "before")
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
    unfold(page, "Steps")
    names = page.locator(".sfe-history button")
    assert names.all_inner_texts() == [
        "The photo as it came",
        "Smile +0.1",
        "Smile +0.2",
        "Smile +0.3",
    ]
    after(page, names.nth(3).click)
    assert float(page.locator("#sfe-smile").input_value()) == pytest.approx(0.3)
    after(page, page.get_by_label("Reset Smile").click)
    assert np.array_equal(picture(page), start)


def test_another_model_draws_another_picture(page):
    move(page, "smile", 3)
    first = picture(page)
    choose_model(page, "other")
    assert page.locator("#sfe-smile").input_value() == "3"
    assert not np.array_equal(picture(page), first)


def test_one_edit_from_end_to_end_is_that_of_the_slider_that_was_moved(page):
    move(page, "age", 1)
    unfold(page, "One edit from end to end")
    assert page.locator("#sfe-strip-of").input_value() == "age"
    page.locator("#sfe-show-strip").click()
    image = page.wait_for_selector("#sfe-end-to-end img")
    assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") > 6 * 32


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


def test_three_photos_line_up_and_leave_in_one_zip(visit, photos, tmp_path):
    page = visit()
    open_file(page, *(photos / f"{name}.png" for name in ("portrait", "mirrored", "two")))
    tiles = page.locator(".sfe-film li > button:first-child")
    assert tiles.count() == 3
    assert tiles.nth(0).get_attribute("aria-current") == "true"
    move(page, "smile", 3)
    after(page, tiles.nth(1).click)
    assert page.locator("#sfe-smile").input_value() == "0"  # a photo starts clean
    page.locator("#sfe-last-look").click()
    expect(page.locator("#sfe-smile")).to_have_value("3")
    after(page, lambda: page.get_by_role("button", name="Same edits on all photos").click())
    assert page.locator(".sfe-edited").count() == 3
    page.locator("#sfe-download-options").click()
    page.get_by_label("All photos, in one zip").check()
    file = save(page, ".sfe-go", tmp_path)
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [f"{n}_edited.png" for n in ("portrait", "mirrored", "two")]
    after(
        page,
        lambda: (
            page.once("dialog", lambda d: d.accept())
            or page.get_by_label("Close two").click(force=True)
        ),
    )
    assert tiles.count() == 2


def test_downloads_come_in_the_form_that_was_chosen(page, tmp_path):
    move(page, "smile", 3)
    page.locator("#sfe-download-options").click()
    for kind, form, name, size in (
        ("The photo", "WebP", "portrait_edited.webp", (260, 240)),
        ("Before and after", "JPEG", "portrait_before_after.jpeg", (520, 240)),
        ("The edit growing, a moving GIF", None, "portrait_edited.gif", (260, 240)),
    ):
        if not page.locator("#sfe-download").is_visible():
            page.locator("#sfe-download-options").click()
        page.locator("#sfe-download").get_by_label(kind).check()
        if form:
            page.locator(".sfe-forms").get_by_text(form).click()
        file = save(page, ".sfe-go", tmp_path)
        assert file.name == name
        assert Image.open(io.BytesIO(file.read_bytes())).size == size


def test_a_photo_without_a_face_is_turned_and_pointed_at(visit, photos):
    page = visit(viewport={"width": 1280, "height": 900})
    open_file(page, photos / "wall.png")
    assert "No face was found" in page.locator(".sfe-warning").inner_text()
    expect(page.locator("#sfe-smile")).to_be_disabled()
    page.get_by_role("button", name="The face is here").click()
    box = page.locator(".sfe-stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.7, steps=4)
    after(page, page.mouse.up)
    expect(page.locator("#sfe-smile")).to_be_enabled()
    move(page, "smile", 3)
    page.once("dialog", lambda dialog: dialog.accept())
    after(page, page.get_by_role("button", name="Turn", exact=True).click)
    expect(page.locator("#sfe-smile")).to_be_disabled()


def test_a_reload_loses_nothing(page):
    move(page, "smile", 3)
    shown = picture(page)
    page.reload()
    page.wait_for_selector("#sfe-smile:enabled")
    settled(page)
    assert page.locator("#sfe-smile").input_value() == "3"
    assert np.array_equal(picture(page), shown)


def test_directions_show_what_they_do_and_looks_are_kept(page):
    page.wait_for_selector("#sfe-smile")
    page.wait_for_function("() => document.querySelectorAll('.sfe-there').length === 2")
    move(page, "smile", 2)
    unfold(page, "Looks")
    assert page.locator(".sfe-look-text").input_value() == "smile=2"
    page.once("dialog", lambda dialog: dialog.accept("Happy"))
    page.get_by_role("button", name="Keep this look").click()
    page.locator(".sfe-look-text").fill("Age=-1.5, tail=3")
    after(page, page.get_by_role("button", name="Apply the text").click)
    page.get_by_text("This model knows no edit called tail.").wait_for()
    values = [page.locator(f"#sfe-{name}").input_value() for name in ("smile", "age")]
    assert values == ["0", "-1.5"]
    after(page, page.get_by_role("button", name="Happy", exact=True).click)
    assert page.locator("#sfe-smile").input_value() == "2"


def test_strengths_that_pass_while_a_picture_is_drawn_are_skipped(page):
    """The hand moves faster than pictures come: the newest strength is drawn next."""
    asked = []
    page.on("request", lambda request: asked.append(request.post_data_json))
    after(
        page,
        lambda: page.locator("#sfe-smile").evaluate(
            """slider => {
                for (const strength of [0.5, 1, 1.5, 2, 2.5]) {
                    slider.value = strength;
                    slider.dispatchEvent(new Event("input"));
                }
            }"""
        ),
    )
    draft = picture(page)
    sent = [body["edits"]["smile"] for body in asked if body and "edits" in body]
    assert sent == [0.5, 2.5]
    page.locator("#sfe-smile").dispatch_event("change")
    settled(page)
    final, before = picture(page), picture(page, "before")
    assert np.abs(draft - final).mean() < np.abs(draft - before).mean()


def test_a_camera_without_a_face_is_told(visit):
    page = visit(permissions=["camera"])
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the picture").wait_for()
    after(page, lambda: page.get_by_role("button", name="Take the picture").click())
    assert "No face was found" in page.locator(".sfe-warning").inner_text()
    assert not page.locator(".sfe-dialog").is_visible()
