"""What tests do on the page: open, move, wait, look."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path


def number(page) -> int:
    """Number of the last answer that the page has shown."""
    return int(page.locator(".sfe-viewer").get_attribute("data-number") or 0)


def settled(page) -> None:
    """Wait until nothing is under way."""
    page.wait_for_timeout(80)
    page.wait_for_selector(".sfe-viewer[aria-busy=false]")


def after(page, act) -> None:
    """Do something, and wait until the page has been told the outcome."""
    last = number(page)
    act()
    page.wait_for_function(
        "last => Number(document.querySelector('.sfe-viewer').dataset.number) > last", arg=last
    )
    settled(page)


def open_file(page, *paths: Path) -> None:
    """Open files as the button does."""
    after(page, lambda: page.set_input_files(".sfe-file", [str(path) for path in paths]))
    page.wait_for_function("() => !document.querySelector('.sfe-arriving')")
    settled(page)


def unfold(page, title: str) -> None:
    """Open one of the closed parts."""
    page.locator("summary", has_text=title).click()


def choose_model(page, name: str) -> None:
    """Take another model."""
    unfold(page, "Details")
    after(page, lambda: page.locator("#sfe-model").select_option(label=name))


def choose(page, label: str) -> None:
    """Take one of several choices."""
    after(page, lambda: page.get_by_label(label).check())


def move(page, name: str, strength: float) -> None:
    """Put a slider somewhere and let it go."""
    after(page, lambda: page.locator(f"#sfe-{name}").fill(str(strength)))


def save(page, button: str, path: Path) -> Path:
    """Press a button that saves; return the file, in the folder `path`."""
    with page.expect_download() as download:
        page.locator(button).click()
    file = path / download.value.suggested_filename
    download.value.save_as(file)
    settled(page)
    return file


def picture(page, part: str = "after") -> np.ndarray:
    """Pixels of one of the pictures, (H, W, 3)."""
    source = page.locator(f".sfe-{part}").get_attribute("src")
    content = base64.b64decode(source.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def shot(locator) -> np.ndarray:
    """Pixels as the screen shows them."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)
