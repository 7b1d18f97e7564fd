"""A real browser before a real `sfe app`. `make test-app` runs these; plain pytest skips them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from tiny import tiny_editor, tiny_model

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
WAIT = 120_000  # ms


def why_not() -> str | None:
    """Why there is nothing to test with; None if there is."""
    if os.environ.get("SFE_TEST_APP") != "1":
        return "`make test-app` runs these"
    for package in ("uvicorn", "playwright"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed; `make test-app` installs it"
    if not Path(CHROMIUM).exists():
        return f"there is no {CHROMIUM}: run `apt-get install -y chromium`, or set CHROMIUM"
    return None


def pytest_collection_modifyitems(items):
    reason = why_not()
    for item in items:
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


class Server:
    """`sfe app` in a process of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.log = folder / "log.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stylefeatureeditor", "app", "--device", "cpu", *words],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": "2",
                    "HOME": str(folder),
                    "TMPDIR": str(folder),
                },
            )
        assert self.process.stdout
        self.address = self.process.stdout.readline().split()[0]

    def memory(self) -> int:
        """Bytes that the process occupies."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> list[str]:
    """Folders of two 32 px models."""
    folder = tmp_path_factory.mktemp("models")
    tiny_editor().save_pretrained(folder / "tiny")
    tiny_editor(model=tiny_model(name="other")).save_pretrained(folder / "other")
    return [str(folder / "tiny"), str(folder / "other")]


@pytest.fixture(scope="session")
def server(models, tmp_path_factory):
    """The page of two tiny models; its log must be clean in the end."""
    running = Server(tmp_path_factory.mktemp("server"), "--model", models[0], "--model", models[1])
    yield running
    running.stop()
    assert "Traceback" not in running.log.read_text()
    assert not list(running.log.parent.glob("sfe-*"))  # visitors' files


@pytest.fixture(scope="session")
def chromium():
    """The browser."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=WAIT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, server):
    """Return a function that opens the page as one more visitor, with any options of a context.

    In the end no visitor may have seen an error in the console or asked another machine.
    """
    contexts, complaints = [], []

    def note(page, message):
        if message.type == "error" and not page.expect_error:
            complaints.append(message.text)

    def open_page(**options):
        context = chromium.new_context(**options)
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.expect_error = False  # the browser itself notes answers that are refusals
        page.on("console", lambda m: note(page, m))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((server.address, "data:", "blob:"))
                or complaints.append(f"asked for {request.url}")
            ),
        )
        page.goto(server.address)
        page.wait_for_selector(".sfe-viewer[data-number]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """A folder with portrait.png, mirrored.png, two.png of two faces, wall.png of none."""
    folder = tmp_path_factory.mktemp("photos")
    one = np.ascontiguousarray(astronaut()[:240, 95:355])
    Image.fromarray(one).save(folder / "portrait.png")
    Image.fromarray(one[:, ::-1]).save(folder / "mirrored.png")
    Image.fromarray(np.concatenate([one, one[:, ::-1]], axis=1)).save(folder / "two.png")
    Image.new("RGB", (200, 200), "gray").save(folder / "wall.png")
    return folder
