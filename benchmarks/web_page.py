"""The web page in a real browser: from a drop or a slider's event to the picture on the screen."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.inference import edit_again
from benchmarks.measure import ROOT, seconds_of, summary
from benchmarks.processes import save_model
from benchmarks.report import EDIT_ROW

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
MOVES = 12  # of each kind that are timed, after two that are not
EDITS = 6  # of the network alone, before and after the page's own
WAIT = 120_000  # ms
DROPS = 5  # that are timed, after one that is not
SLIDER = ".sfe-row input[type=range]"
# Resolves to milliseconds, once the picture that answers the event has been decoded and drawn.
MOVE = """([event, strength]) => new Promise((done) => {
    const slider = document.querySelector(".sfe-row input[type=range]"), start = performance.now();
    document.addEventListener("sfe:drawn", () => document.querySelector(".sfe-after").decode().then(
        () => requestAnimationFrame(() => done(performance.now() - start))), {once: true});
    slider.value = String(strength);
    slider.dispatchEvent(new Event(event));
})"""


# Resolves to milliseconds, once the photo that was dropped is on the screen and can be edited.
DROP = """(bytes) => new Promise((done) => {
    const carried = new DataTransfer(), start = performance.now();
    carried.items.add(new File([new Uint8Array(bytes)], "photo.jpg", {type: "image/jpeg"}));
    document.addEventListener("sfe:drawn", () => document.querySelector(".sfe-before").decode()
        .then(() => requestAnimationFrame(() => done(performance.now() - start))), {once: true});
    document.querySelector(".sfe-viewer").dispatchEvent(
        new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
})"""


def missing() -> str | None:
    """Return what this machine lacks; None if the page can be timed."""
    for package in ("uvicorn", "playwright", "skimage", "dlib"):
        if importlib.util.find_spec(package) is None:
            return f"no {package}: `make test-app` installs what the page needs"
    return None if Path(CHROMIUM).exists() else f"no {CHROMIUM}: install Chromium or set CHROMIUM"


def web_rows(device: str) -> Iterator[dict[str, Any]]:
    """Yield rows of the report: the built-in model's, then a random one's at 1024 px.

    The machine's speed drifts from minute to minute, so the edit that the page is held against is
    timed around it.
    """
    yield from model_rows("faces", device)
    edits = _edits_alone(1024, device)
    with tempfile.TemporaryDirectory() as name:
        yield from model_rows(str(save_model(1024, Path(name, "random-1024"))), device)
    edits += _edits_alone(1024, device)
    yield {"name": EDIT_ROW, **asdict(summary(edits))}


def model_rows(model: str, device: str) -> Iterator[dict[str, Any]]:
    """Yield rows of one model, a name or a folder."""
    with _opened(model, device) as page:
        _try_sample(page)
        samples = []
        for _ in range(DROPS + 1):
            samples.append(page.evaluate(DROP, dropped()) / 1000)
            page.wait_for_selector(".sfe-viewer[aria-busy=false]")
        yield {"name": f"{Path(model).name}, drop to picture", **asdict(summary(samples[1:]))}
        slider = page.locator(SLIDER).first
        ends = [float(slider.get_attribute(end)) for end in ("min", "max")]
        for event, name in (("input", "while it moves"), ("change", "after it is let go")):
            samples = []
            for number in range(MOVES + 2):
                strength = ends[number % 2] * (1 - number / (2 * MOVES))
                samples.append(page.evaluate(MOVE, [event, strength]) / 1000)
            yield {"name": f"{Path(model).name}, {name}", **asdict(summary(samples[2:]))}


def first_rows(device: str) -> dict[str, float]:
    """Return seconds until the built-in model's first picture is there, and its first slider's."""
    with _opened("faces", device) as page:
        start = time.perf_counter()
        _try_sample(page)
        first = time.perf_counter() - start
        slider = page.evaluate(MOVE, ["change", 1.0]) / 1000
    return {"first picture of the page": first, "its first slider": slider}


@contextmanager
def _opened(model: str, device: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with _page_of(model, device) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.goto(address)
        page.get_by_role("button", name="Try a sample").wait_for()
        yield page
        browser.close()


def _try_sample(page: Any) -> None:
    """Wait until the sample photo can be edited."""
    page.get_by_role("button", name="Try a sample").click()
    page.wait_for_selector(f"{SLIDER}:enabled")
    page.wait_for_selector(".sfe-viewer[aria-busy=false]")


def dropped() -> list[int]:
    """Return the bytes of a JPEG of 12 megapixels with a face."""
    from PIL import Image
    from skimage.data import astronaut

    buffer = io.BytesIO()
    Image.fromarray(astronaut()).resize((3464, 3464)).save(buffer, "JPEG", quality=85)
    return list(buffer.getvalue())


def _edits_alone(size: int, device: str) -> list[float]:
    with torch.no_grad():
        work = edit_again(size, device)
        work()
        return [seconds_of(work) for _ in range(EDITS)]


@contextmanager
def _page_of(model: str, device: str) -> Iterator[str]:
    """Serve the page in a process of its own; give its address."""
    command = [sys.executable, "-m", "stylefeatureeditor", "app", "--model", model]
    with subprocess.Popen(
        [*command, "--device", device], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        try:
            if not line:
                raise RuntimeError(f"sfe app ended with {process.wait()} before it served a page")
            yield line.split()[0]
        finally:
            process.terminate()
