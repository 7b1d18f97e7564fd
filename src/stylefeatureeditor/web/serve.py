"""Serving the page: on this machine, with nothing served but the page and a visitor's own pictures.

Photos live in memory; an inversion file is on the disk while it is read, a film while it is open.
One step is done at a time; so many may wait, and the next is refused in a sentence. A page says who
it is by a secret of its own, in a header that no foreign page can send.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from asyncio import CancelledError, get_running_loop
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stylefeatureeditor.errors import ConfigError, DependencyError
from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.opened import has_sample
from stylefeatureeditor.web.visit import Sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request

    from stylefeatureeditor.web.handlers import Handlers
    from stylefeatureeditor.web.loaded_models import Models

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORTS = range(7860, 7960)
# A browser that keeps to this asks no other machine for anything.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/photo.js": ("photo.js", "text/javascript"),
    "/panel.js": ("panel.js", "text/javascript"),
    "/film.js": ("film.js", "text/javascript"),
}
STEPS = (
    *("do", "open", "draft", "prepare", "picture", "strip", "mix", "film", "save", "make", "pull"),
)
SECRET = re.compile(r"[0-9a-f]{32}")
STEP_BYTES = 8_000_000  # of a request that is no upload
BUSY = "many people use this page just now, so this step was not done"
WAY = 'serving needs starlette and uvicorn: run `pip install "stylefeatureeditor[app]"`'


class Guard:
    """Adds the policy to every answer, and refuses what another page sent for the visitor.

    Args:
        app: what answers.
        hosts: names under which the page may be asked for; empty for any. Another name means that
            a foreign page in the visitor's browser is behind it.
    """

    def __init__(self, app: Asgi, hosts: Sequence[str] = ()) -> None:
        self.app, self.hosts = app, tuple(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        host = headers.get("host", "")
        name = host.rsplit(":", 1)[0].strip("[]")
        if (self.hosts and name not in self.hosts) or _is_foreign(scope["method"], headers, host):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"not served here"})
            return

        async def send_with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message["headers"] = [*message.get("headers", []), policy]
            await send(message)

        await self.app(scope, receive, send_with_policy)


def _is_foreign(method: str, headers: dict[str, str], host: str) -> bool:
    """Whether a browser says that another site's page asks; it says so by one of two headers."""
    if "sec-fetch-site" in headers:  # a click on a link may come from anywhere
        is_link = method in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        return headers["sec-fetch-site"] not in ("same-origin", "none") and not is_link
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != host


class Queue:
    """The way to the machine: one thread, so many steps waiting, so many bytes arriving."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._thread = ThreadPoolExecutor(1, "steps")  # memory of one thread is used again
        self._arriving = 0
        self.waiting = 0

    def close(self) -> None:
        """Let go of the steps that wait."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def check(self) -> None:
        """Raise `Refused` if no further step may wait."""
        if self.waiting >= self.limits.waiting:
            raise Refused(503, BUSY)

    async def run(self, step: Callable[..., Any], *words: Any) -> Any:
        """Do a step when its turn comes; return what it returns."""
        self.check()
        self.waiting += 1
        try:
            return await get_running_loop().run_in_executor(self._thread, step, *words)
        finally:
            self.waiting -= 1

    async def body(self, request: Request, limit: int) -> bytes:
        """What is sent, in memory; what is cut off leaves nothing behind."""
        told = request.headers.get("content-length", "0")
        too_large = f"the file is larger than {limit / 1e6:g} MB: make it smaller first"
        if told.isascii() and told.isdecimal() and int(told[:20]) > limit:
            raise Refused(413, too_large)
        parts, size = [], 0
        try:
            async for part in request.stream():
                size += len(part)
                self._arriving += len(part)
                if size > limit:
                    raise Refused(413, too_large)
                if self._arriving > 2 * self.limits.upload_bytes + STEP_BYTES:
                    raise Refused(503, BUSY)
                parts.append(part)
        finally:
            self._arriving -= size
        return b"".join(parts)


class Work:
    """What becomes of a page's steps."""

    def __init__(self, handlers: Handlers, limits: Limits) -> None:
        self.handlers, self.limits = handlers, limits
        self.queue = Queue(limits)

    async def answer(self, request: Request) -> Any:
        """Do what a page asks by POST."""
        from starlette.responses import FileResponse, JSONResponse, Response

        try:
            made = await self._made(request)
        except Refused as error:
            again = {"again": True} if error.status == 503 else {}
            return JSONResponse({"sentence": str(error), **again}, error.status)
        if isinstance(made, dict):
            return JSONResponse(made)
        name, content = made
        named = {"x-name": quote(name), "cache-control": "no-store"}
        if isinstance(content, Path):
            return FileResponse(content, headers=named, media_type="application/octet-stream")
        return Response(content, media_type="application/octet-stream", headers=named)

    async def _made(self, request: Request) -> Any:
        visitor, what = request.headers.get("x-visitor", ""), request.url.path.strip("/")
        if not SECRET.fullmatch(visitor):
            raise Refused(400, "this request does not come from our page")
        upload = what == "open"
        limit = self.limits.upload_bytes if upload else STEP_BYTES
        body = await self.queue.body(request, limit)
        try:
            sent = dict(request.query_params) if upload else json.loads(body)
        except (ValueError, RecursionError):
            sent = None
        if not isinstance(sent, dict):
            raise Refused(400, "the page sent something that is no step")
        words = (visitor, body, sent) if upload else (visitor, sent)
        return await self.queue.run(getattr(self.handlers, what), *words)


class Refused(Exception):  # noqa: N818
    """Why a request is not done: a status of HTTP, and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def page_app(
    models: Models, limits: Limits, hosts: Sequence[str] = (), *, may_download: bool = False
) -> Starlette:
    """Return the page as an ASGI application."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response
    from starlette.routing import Route

    from stylefeatureeditor.web.handlers import Handlers

    sessions = Sessions(models, limits)
    work = Work(Handlers(sessions, may_download=may_download), limits)
    told = {
        "bytes": limits.upload_bytes,
        "pixels": limits.photo_pixels,
        "sample": has_sample(),
        "video": find_spec("av") is not None,
    }

    async def file(request: Request) -> Any:
        name, kind = FILES[request.url.path]
        content = files("stylefeatureeditor.web").joinpath(name).read_text("utf-8")
        content = content.replace("{{limits}}", json.dumps(told).replace('"', "&quot;"))
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    async def answer(request: Request) -> Any:
        try:
            return await work.answer(request)
        except (ClientDisconnect, CancelledError):  # the page was closed, or the program ends
            return Response(status_code=400)

    routes = [Route(path, file) for path in FILES]
    routes += [Route(f"/{what}", answer, methods=["POST"]) for what in STEPS]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts)])

    def close() -> None:
        sessions.films.close()
        work.queue.close()

    app.state.close = close
    return app


@contextmanager
def serving(
    models: Models,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    limits: Limits | None = None,
) -> Iterator[str]:
    """Serve the page while the block runs; give it the address."""

    def app() -> Starlette:
        may_download = host in LOOPBACK
        return page_app(models, limits or Limits(), allowed(host), may_download=may_download)

    with listening(app, host, port) as address:
        yield address


def allowed(host: str) -> tuple[str, ...]:
    """Names under which what listens on an address may be asked for; none means any."""
    return LOOPBACK if host in LOOPBACK else ()


@contextmanager
def listening(make: Callable[[], Starlette], host: str, port: int | None) -> Iterator[str]:
    """Serve an application while the block runs; give it the address.

    Raises:
        DependencyError: the extra `app` is not installed.
        ConfigError: the port is taken; None takes a free one of PORTS.
    """
    try:
        import uvicorn

        app = make()
    except ImportError as error:
        raise DependencyError(WAY) from error
    listener = _listen(host, port)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        listener.close()
        app.state.close()


def _listen(host: str, port: int | None) -> socket.socket:
    for number in PORTS if port is None else (port,):
        try:
            family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0][0]
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, number))
            listener.listen()  # at once: a second page could still bind here
        except (OSError, OverflowError) as error:  # noqa: PERF203
            reason = error
        else:
            return listener
    raise ConfigError(f"sfe cannot listen on {host} port {port or PORTS[0]}: {reason}")
