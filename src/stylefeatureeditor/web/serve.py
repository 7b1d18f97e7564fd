"""Serving the page: on this machine, with nothing served but the page and a visitor's own files."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import ConfigError, DependencyError
from stylefeatureeditor.web.opened import Limits
from stylefeatureeditor.web.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence

    from stylefeatureeditor.web.loaded_models import Models

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# A browser that keeps to this asks no other machine for anything.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' blob:; worker-src 'self' blob:; object-src 'none'; frame-ancestors 'self'"
)
_CLOSED = ("/gradio_api/proxy", "/proxy", "/gradio_api/file=http", "/file=http")


class Guard:
    """Adds the policy to every answer, and refuses to fetch other machines' pages for a visitor.

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
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        name = host.rsplit(":", 1)[0].strip("[]")
        if scope["path"].startswith(_CLOSED) or (self.hosts and name not in self.hosts):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"not served here"})
            return

        async def send_with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message["headers"] = [*message.get("headers", []), policy]
            await send(message)

        await self.app(scope, receive, send_with_policy)


@contextmanager
def serving(
    models: Models,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    limits: Limits | None = None,
) -> Iterator[str]:
    """Serve the page while the block runs; give it the address.

    Args:
        models: what can be chosen.
        host: address to listen on.
        port: None takes a free one from 7860 on.
        limits: bounds; None takes the defaults.

    Raises:
        DependencyError: the extra `app` is not installed.
        ConfigError: the address cannot be listened on.
    """
    limits = limits or Limits()
    folder = Path(tempfile.mkdtemp(prefix="sfe-app-")).resolve()
    # Both are read when gradio is imported or its server is made.
    os.environ.update(GRADIO_TEMP_DIR=str(folder / "uploads"), GRADIO_ANALYTICS_ENABLED="False")
    try:
        from starlette.middleware import Middleware

        from stylefeatureeditor.web.handlers import Handlers
        from stylefeatureeditor.web.page import build_page, read, theme
    except ImportError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DependencyError(
            'the page needs gradio: run `pip install "stylefeatureeditor[app]"`'
        ) from error
    is_local = host in LOOPBACK
    handlers = Handlers(Sessions(models, limits), folder / "uploads", folder / "downloads")
    page = build_page(handlers, limits, may_download=is_local)
    try:
        guard = Middleware(Guard, hosts=LOOPBACK if is_local else ())
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            max_file_size=limits.upload_bytes,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            theme=theme(),
            css=read("page.css"),
            app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None},
        )
        yield address.rstrip("/")
    except OSError as error:
        raise ConfigError(
            f"the page cannot listen on {host} port {port or '7860 and up'}: {error}"
        ) from error
    finally:
        page.close(verbose=False)
        shutil.rmtree(folder, ignore_errors=True)
