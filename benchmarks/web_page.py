"""The web page in a real browser: from a slider's event to the picture on the screen."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import ROOT, summary
from benchmarks.processes import save_model

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
MOVES = 12  # of each kind that are timed, after two that are not
WAIT = 120_000  # ms
SLIDER = ".sfe-row input[type=range]"
# Resolves to milliseconds, once the picture that answers the event has been decoded and drawn.
MOVE = """([event, strength]) => new Promise((done) => {
    const slider = document.querySelector(".sfe-row input[type=range]"), start = performance.now();
    document.addEventListener("sfe:drawn", () => document.querySelector(".sfe-after").decode().then(
        () => requestAnimationFrame(() => done(performance.now() - start))), {once: true});
    slider.value = String(strength);
    slider.dispatchEvent(new Event(event));
})"""


def missing() -> str | None:
    """Return what this machine lacks; None if the page can be timed."""
    for package in ("gradio", "playwright", "skimage", "dlib"):
        if importlib.util.find_spec(package) is None:
            return f"no {package}: `make test-app` installs what the page needs"
    return None if Path(CHROMIUM).exists() else f"no {CHROMIUM}: install Chromium or set CHROMIUM"


def web_rows(device: str) -> Iterator[dict[str, Any]]:
    """Yield rows of the report: the built-in model's, then a random one's at 1024 px."""
    yield from model_rows("faces", device)
    with tempfile.TemporaryDirectory() as name:
        yield from model_rows(str(save_model(1024, Path(name, "random-1024"))), device)


def model_rows(model: str, device: str) -> Iterator[dict[str, Any]]:
    """Yield rows of one model, a name or a folder."""
    from playwright.sync_api import sync_playwright

    with _page_of(model, device) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.goto(address)
        page.get_by_role("button", name="Try a sample").click()
        page.wait_for_selector(f"{SLIDER}:enabled")
        page.wait_for_selector(".sfe-viewer[aria-busy=false]")
        slider = page.locator(SLIDER).first
        ends = [float(slider.get_attribute(end)) for end in ("min", "max")]
        for event, name in (("input", "while it moves"), ("change", "after it is let go")):
            samples = []
            for number in range(MOVES + 2):
                strength = ends[number % 2] * (1 - number / (2 * MOVES))
                samples.append(page.evaluate(MOVE, [event, strength]) / 1000)
            yield {"name": f"{Path(model).name}, {name}", **asdict(summary(samples[2:]))}
        browser.close()


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
