"""`sfe app`: the web page."""

from __future__ import annotations

import os
import signal
import sys
import threading
import webbrowser
from contextlib import ExitStack
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.options import Args, Commands, add_command, add_common, flag
from stylefeatureeditor.cli.output import Progress, warn

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def add_to(commands: Commands) -> None:
    """Add `sfe app`."""
    parser = add_command(
        commands,
        "app",
        serve_page,
        text="open a page in the browser: drop a photo, drag sliders, get the photo back\n"
        "The page lives on this machine and asks no other for anything.",
        example="sfe app\nsfe app --port 8000 --model my_model --browser",
    )
    add_common(
        parser,
        "--model",
        action="append",
        default=[],
        help="a model to offer beside those on this machine; the first one is where the page "
        "starts; may be given several times",
    )
    add_common(parser, "--host")
    parser.add_argument("--port", type=int, help="a free one from 7860 on if left out")
    flag(parser, "--browser", "open the page in the browser")
    add_common(parser, "--device")


def serve_page(args: Args) -> int:
    """Run `sfe app` until it is interrupted or asked to end."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch asks Linux for large pages
    from stylefeatureeditor.photo.landmarks import get_ready

    get_ready()
    from stylefeatureeditor.web.loaded_models import Models
    from stylefeatureeditor.web.serve import serving

    page = serving(Models(args.model, args.device), host=args.host, port=args.port)
    return serve_until_stopped("the page", args.host, page, browser=args.browser)


def serve_until_stopped(
    what: str, host: str, server: AbstractContextManager[str], *, browser: bool = False
) -> int:
    """Print the address that a server gives, and keep it until the program is asked to end."""
    from stylefeatureeditor.web.serve import LOOPBACK

    if host not in LOOPBACK:
        warn(
            f"{what} listens on {host}: whoever reaches this machine can use it, without a "
            "password, and photos cross the network unencrypted"
        )
    # Ended by the system as by Ctrl-C: what the server holds goes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        with Progress(f"starting {what}"):
            address = stack.enter_context(server)
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if browser:
            webbrowser.open(address)
        threading.Event().wait()
    return 0
