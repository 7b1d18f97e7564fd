"""Draw the page's pictures for the documentation: python tests/browser/pictures.py [FOLDER].

Writes app_desktop.jpg, app_phone.jpg and app_error.jpg to docs/pictures or FOLDER: the built-in
model, and NASA's portrait of Eileen Collins, which is in the public domain.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from skimage.data import astronaut

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser.conftest import ARGUMENTS, CHROMIUM, Server
from browser_page import move, open_file, settled

SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 860}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
    "error": {"viewport": {"width": 1280, "height": 720}, "color_scheme": "dark"},
}
EDITS = {"smile": 2.5, "makeup": 1}
QUALITY = 90  # JPEG


def draw(folder: Path) -> None:
    """Write the three pictures."""
    work = Path(tempfile.mkdtemp())
    Image.fromarray(astronaut()).save(work / "portrait.png")
    (work / "notes.txt").write_text("buy milk")
    server = Server(work, "--model", "faces")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for name, screen in SCREENS.items():
            page = browser.new_context(**screen).new_page()
            page.goto(server.address)
            page.wait_for_selector(".sfe-row")
            open_file(page, work / ("notes.txt" if name == "error" else "portrait.png"))
            if name != "error":
                for edit, strength in EDITS.items():
                    move(page, edit, strength)
            settled(page)
            page.mouse.move(0, 0)
            page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            page.wait_for_timeout(500)
            page.screenshot(path=folder / f"app_{name}.jpg", type="jpeg", quality=QUALITY)
        browser.close()
    server.stop()


if __name__ == "__main__":
    pictures = Path(__file__).parents[2] / "docs" / "pictures"
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else pictures)
