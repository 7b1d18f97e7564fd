"""A film on the page, from the clip to the download; and photos that are mixed."""

from __future__ import annotations

import av
import numpy as np
import pytest

from browser_page import after, move, open_file, save, unfold
from moving_face import frames, write_film
from stylefeatureeditor.video.reading import open_clip

expect = pytest.importorskip("playwright.sync_api", reason="`make test-app` installs it").expect


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The file of two seconds of a swaying face."""
    path = tmp_path_factory.mktemp("films") / "sway.mp4"
    write_film(path, frames(2))
    return path


@pytest.mark.parametrize("width", [390, 1280])
def test_a_film_is_made_cancelled_made_again_and_downloaded(visit, photos, clip, tmp_path, width):
    page = visit(viewport={"width": width, "height": 844})
    open_file(page, photos / "portrait.png")
    assert not page.locator(".sfe-clip").is_visible()
    open_file(page, clip)
    assert page.locator(".sfe-clip").is_visible()
    page.locator(".sfe-clip-make").click()
    expect(page.get_by_role("alert")).to_contain_text("Move a slider first")
    page.locator(".sfe-clip-at input").evaluate("node => node.value = 1")
    after(page, lambda: page.locator(".sfe-clip-at input").dispatch_event("change"))
    assert page.locator(".sfe-clip-at output").inner_text() == "1.00 s"
    move(page, "smile", 3)
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0
    page.locator(".sfe-clip-make").click()
    expect(page.locator(".sfe-clip-told")).to_contain_text("frame ")
    move(page, "age", 1)  # the page goes on meanwhile
    page.reload()
    page.wait_for_selector(".sfe-viewer[data-number]")
    page.locator(".sfe-clip-cancel").click()
    expect(page.locator(".sfe-clip-make")).to_be_visible()
    page.locator(".sfe-clip-make").click()
    expect(page.locator(".sfe-clip-save")).to_be_visible()
    made = save(page, ".sfe-clip-save", tmp_path)
    assert made.name == "sway_edited.mp4"
    pairs = zip(open_clip(clip).frames(), open_clip(made).frames(), strict=True)
    changes = [int((np.abs(a.pixels.astype(int) - b.pixels) > 60).sum()) for a, b in pairs]
    assert len(changes) == 50
    assert min(changes) > 300


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("notes.mp4", "notes.mp4 cannot be read as a video"),
        ("sound.mp4", "sound.mp4 holds no moving pictures, only audio"),
        ("cut.mp4", "cut.mp4"),
    ],
)
def test_what_is_no_film_is_one_sentence_and_the_page_goes_on(
    visit, photos, clip, tmp_path, name, says
):
    path = tmp_path / name
    if name == "sound.mp4":
        with av.open(str(path), "w") as out:
            stream = out.add_stream("aac", rate=16000)
            stream.layout = "mono"
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
            frame.sample_rate = 16000
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    else:
        path.write_bytes(clip.read_bytes()[:3000] if name == "cut.mp4" else b"buy milk\n" * 99)
    page = visit()
    open_file(page, path)
    sentence = page.get_by_role("alert").inner_text()
    assert says in sentence
    assert "/" not in sentence
    open_file(page, photos / "portrait.png")
    assert not page.locator(".sfe-sentence").is_visible()


def test_one_photo_takes_from_another(visit, photos, tmp_path):
    page = visit(viewport={"width": 1280, "height": 900})
    open_file(page, photos / "portrait.png", photos / "mirrored.png")
    unfold(page, "Mix with another photo")
    for take in ("way", "0:4"):
        page.locator("#sfe-mix-take").select_option(take)
        page.locator(".sfe-mix-show").click()
        expect(page.locator(".sfe-mixed img")).to_be_visible()
        expect(page.locator(".sfe-mix-command")).to_contain_text("sfe mix portrait.png mirrored")
        assert save(page, ".sfe-mix-save", tmp_path).name == "portrait_mixed.png"
    page.locator("#sfe-mix-take").select_option("smile")
    assert not page.locator(".sfe-mixed img").is_visible()
    after(page, page.locator(".sfe-mix-show").click)
    assert "-e smile=" in page.locator("#sfe-command").input_value()


def test_the_edit_grows_as_a_film(visit, photos, tmp_path):
    page = visit(viewport={"width": 1280, "height": 900})
    open_file(page, photos / "portrait.png")
    move(page, "smile", 3)
    page.locator("#sfe-download-options").click()
    page.get_by_label("The edit growing, a film (MP4)").check()
    assert not page.locator(".sfe-forms").is_visible()
    file = save(page, ".sfe-go", tmp_path)
    assert file.name == "portrait_edited.mp4"
    assert len(list(open_clip(file).frames())) > 9
