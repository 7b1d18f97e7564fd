"""A server on this machine that sends one file, and misbehaves as a test asks it to."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`, as the test sets it to behave."""

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.cuts = []  # how many bytes the next answers send before the connection ends
        self.statuses = []  # answers before the real one
        self.ranges = True
        self.etag = '"one"'
        self.pause = 0.0  # before the body is sent
        self.kind = "application/octet-stream"
        self.shift = 0  # a server that answers another range than was asked for
        self.headers = {}  # in place of its own; None leaves one out
        self.short = 0  # bytes of a range that are sent, and promised, once; 0 for all
        self.moves = ""  # the address that answers 301 and 302 send on to
        self.drip = 0.0  # seconds after each of the first bytes
        self.requests = []  # the Range header of each request

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/model.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET, whole or from a byte on."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append(asked)
        if server.statuses:
            self.send_response(server.statuses.pop(0))
            self.send_header("Location", server.moves)
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        unchanged = self.headers.get("If-Range", server.etag) == server.etag
        partial = bool(asked) and server.ranges and unchanged
        if partial and start >= len(server.content):
            self.send_error(416)
            return
        start = start + server.shift if partial else 0
        body = server.content[start:]
        if partial and server.short:
            body, server.short = body[: server.short], 0
        self.send_response(206 if partial else 200)
        if partial:
            end, total = start + len(body) - 1, len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{end}/{total}")
        own = {"Content-Length": str(len(body)), "Content-Type": server.kind}
        for name, value in {**own, **server.headers}.items():
            if value is not None:
                self.send_header(name, value)
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        time.sleep(server.pause)
        with contextlib.suppress(OSError):
            for byte in body[:100] if server.drip else ():
                self.wfile.write(bytes([byte]))
                time.sleep(server.drip)
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """Serve a file while the block runs."""
    with Server(content) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
