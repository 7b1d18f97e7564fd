"""Draw the page's pictures for the documentation: python tests/browser/pictures.py [FOLDER].

Writes to docs/pictures or FOLDER: app_desktop.jpg, app_phone.jpg, app_error.jpg, and the way of a
person through the page, app_1.jpg to app_6.jpg: three photos dropped, two faces edited differently,
saved, reloaded, gone on with, downloaded. The model is the built-in one, the photo NASA's portrait
of Eileen Collins, which is in the public domain.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from skimage.data import astronaut

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser.conftest import ARGUMENTS, CHROMIUM, Server
from browser_page import after, move, open_file, save, settled

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
SCREENS = {
    "desktop": DESKTOP,
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
    "error": {"viewport": {"width": 1280, "height": 720}, "color_scheme": "dark"},
}
EDITS = {"smile": 2.5, "makeup": 1}
QUALITY = 88  # JPEG
DRAWN = """() => Array.from(document.querySelectorAll(".sfe-row")).every((row) =>
    row.getBoundingClientRect().top > innerHeight || row.querySelector(".sfe-there"))"""
PATIENCE = 120_000  # ms


def photos(folder: Path) -> list[Path]:
    """Three photos; the second one shows two faces."""
    whole = astronaut()
    face = np.ascontiguousarray(whole[:300, 60:390])
    both = np.concatenate([face, face[:, ::-1]], axis=1)
    made = {"portrait": whole, "together": both, "mirrored": whole[:, ::-1]}
    for name, pixels in made.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in made]


def shoot(page, path: Path) -> None:
    """Write what the page shows, when its small pictures are drawn."""
    settled(page)
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    if page.locator(".sfe-row").first.is_visible():
        page.wait_for_function(DRAWN)
    page.wait_for_timeout(500)
    page.screenshot(path=path, type="jpeg", quality=QUALITY)


def draw_screens(browser, server: Server, work: Path, folder: Path) -> None:
    """Write one picture for each of SCREENS."""
    portrait = photos(work)[0]
    (work / "notes.txt").write_text("buy milk")
    for name, screen in SCREENS.items():
        page = visit(browser, server, **screen)
        open_file(page, portrait)
        for edit, strength in EDITS.items():
            move(page, edit, strength)
        if name == "error":
            open_file(page, work / "notes.txt")
        shoot(page, folder / f"app_{name}.jpg")
        page.context.close()


def film(browser, server: Server, work: Path, folder: Path) -> None:
    """Write the way of a person through the page."""
    page = visit(browser, server, **DESKTOP)
    open_file(page, *photos(work))
    shoot(page, folder / "app_1.jpg")
    after(page, page.locator(".sfe-film button").nth(2).click)
    move(page, "smile", -2.5)
    shoot(page, folder / "app_2.jpg")
    after(page, page.locator(".sfe-badge").nth(1).click)
    move(page, "makeup", 1)
    shoot(page, folder / "app_3.jpg")
    session = save(page, "#sfe-save-session", work)
    page.context.close()
    page = visit(browser, server, **DESKTOP)
    open_file(page, session)
    shoot(page, folder / "app_4.jpg")
    after(page, page.locator(".sfe-film button").nth(2).click)
    move(page, "smile", 1.5)
    shoot(page, folder / "app_5.jpg")
    page.locator("#sfe-download-options").click()
    page.get_by_label("All photos, in one zip").check()
    page.wait_for_timeout(300)
    page.screenshot(path=folder / "app_6.jpg", type="jpeg", quality=QUALITY)
    assert save(page, ".sfe-go", work).name == "photos_edited.zip"


def visit(browser, server: Server, **screen):
    """Return the page as one more visitor sees it."""
    context = browser.new_context(**screen)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(server.address)
    page.wait_for_selector(".sfe-viewer[data-number]")
    return page


if __name__ == "__main__":
    here = Path(__file__).parents[2] / "docs" / "pictures"
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    lent = Path(tempfile.mkdtemp())
    running = Server(lent, "--model", "faces")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        draw_screens(chromium, running, lent, target)
        film(chromium, running, lent, target)
        chromium.close()
    running.stop()
