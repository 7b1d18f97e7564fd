"""What reaches the page, with requests as a server passes them on."""

import asyncio
import json
import socket
import threading
import urllib.error
import urllib.request

import pytest

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.serve import (
    BUSY,
    LOOPBACK,
    STEP_BYTES,
    Guard,
    Queue,
    Refused,
    page_app,
    serving,
)

pytest.importorskip("starlette", reason="the page is an extra")
ME = (b"x-visitor", b"0" * 32)


def ask(app, path, *parts: bytes, headers=(), host="127.0.0.1:7860", method="POST"):
    """Return status, headers and body; `parts` are what the body arrives in."""
    sent: list[dict] = []
    arriving = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
        for index, part in enumerate(parts or (b"",))
    ]

    async def receive():
        return arriving.pop(0) if arriving else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "path": path,
        "method": method,
        "query_string": b"name=a.png",
        "headers": [(b"host", host.encode()), *headers],
    }
    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), body


async def plain(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


@pytest.fixture
def app(both):
    return page_app(both, Limits(upload_bytes=5000), LOOPBACK)


def test_every_answer_forbids_other_machines():
    status, headers, _ = ask(Guard(plain, LOOPBACK), "/")
    assert status == 200
    assert headers[b"content-security-policy"].startswith(b"default-src 'self'")


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:7860", 200), ("[::1]:7860", 200), ("127.0.0.1", 200), ("a.example:7860", 403)],
)
def test_a_local_page_answers_to_local_names_only(host: str, status: int):
    assert ask(Guard(plain, LOOPBACK), "/", host=host)[0] == status
    assert ask(Guard(plain), "/", host=host)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([(b"origin", b"http://127.0.0.1:7860")], 200),
        ([(b"origin", b"http://evil.example")], 403),
        ([(b"origin", b"http://127.0.0.1:9999")], 403),
        ([(b"origin", b"null")], 403),
        ([(b"origin", b"http://[::1")], 403),
        ([(b"sec-fetch-site", b"same-origin"), (b"origin", b"https://behind.a.proxy")], 200),
        ([(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"no-cors")], 403),
        ([(b"sec-fetch-site", b"same-site"), (b"sec-fetch-mode", b"cors")], 403),
        ([(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate")], 403),
    ],
)
def test_what_another_site_sends_for_a_visitor_is_refused(headers, status):
    assert ask(Guard(plain, LOOPBACK), "/open", b"a photo", headers=headers)[0] == status


def test_a_link_may_come_from_anywhere():
    link = [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate")]
    assert ask(Guard(plain, LOOPBACK), "/", headers=link, method="GET")[0] == 200


@pytest.mark.parametrize("secret", [b"", b"-", b"a/b", b"../" * 10, b"g" * 32, b"0" * 33])
def test_a_visitor_is_known_by_a_long_secret_alone(app, secret):
    status, _, body = ask(app, "/do", b"{}", headers=[(b"x-visitor", secret)])
    assert status == 400
    assert b"does not come from our page" in body


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"act": ' + b"9" * 5000 + b"}"]
)
def test_what_is_no_step_is_refused(app, body):
    status, _, answer = ask(app, "/do", body, headers=[ME])
    assert status == 400
    assert json.loads(answer)["sentence"]


@pytest.mark.parametrize("told", [b"6000", b"9" * 30, "²".encode("latin-1"), b"-1", b""])
def test_an_upload_has_a_bound_whatever_it_says_of_itself(app, told):
    headers = [ME, (b"content-length", told)]
    status, _, body = ask(app, "/open", *[b"x" * 1000] * 6, headers=headers)
    assert status == 413
    assert b"larger than 0.005 MB" in body


def test_uploads_together_have_a_bound_and_leave_nothing():
    queue = Queue(Limits(upload_bytes=100))

    class Request:
        headers: dict = {}  # noqa: RUF012

        def __init__(self, *parts, error=None):
            self.parts, self.error = parts, error

        async def stream(self):
            for part in self.parts:
                yield part
            if self.error:
                raise self.error

    async def upload(*parts, error=None):
        return await queue.body(Request(*parts, error=error), 100)

    with pytest.raises(ConnectionError):
        asyncio.run(upload(b"x" * 90, error=ConnectionError()))
    assert queue._arriving == 0
    queue._arriving = 200 + STEP_BYTES - 50
    with pytest.raises(Refused, match=BUSY):
        asyncio.run(upload(b"x" * 90))
    assert queue._arriving == 150 + STEP_BYTES


def test_a_full_page_refuses_in_a_sentence_that_offers_another_try(both):
    app = page_app(both, Limits(waiting=1), LOOPBACK)
    release, answers = threading.Event(), []

    async def together():
        from stylefeatureeditor.web.handlers import Handlers

        slow = Handlers.do
        try:
            Handlers.do = lambda *_: {"slow": release.wait(20)}
            first = asyncio.create_task(one())
            await asyncio.sleep(0.05)
            await one()
            release.set()
            await first
        finally:
            Handlers.do = slow

    async def one():
        parts = [{"type": "http.request", "body": b"{}", "more_body": False}]

        async def receive():
            return parts.pop(0)

        async def send(message):
            answers.append(message)

        headers = [(b"host", b"localhost"), ME]
        scope = {"type": "http", "path": "/do", "method": "POST", "headers": headers}
        await app({**scope, "query_string": b""}, receive, send)

    asyncio.run(together())
    assert [m["status"] for m in answers if "status" in m] == [503, 200]
    assert json.loads(answers[1]["body"]) == {"sentence": BUSY, "again": True}


def test_the_page_is_served_and_nothing_else(both):
    with serving(both) as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert b"sfe-viewer" in answer.read()
        for path in ("/../serve.py", "/serve.py", "/etc/passwd", "/do"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(address + path, timeout=10)
            assert refused.value.code in (404, 405)


def test_a_taken_port_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {port}"),
            serving(None, port=port),
        ):
            pass
