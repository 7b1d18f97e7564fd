import asyncio

import pytest

from stylefeatureeditor.web.serve import LOOPBACK, Guard


def answer(guard: Guard, path: str, host: str = "127.0.0.1:7860") -> tuple[int, dict]:
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": [(b"host", host.encode())]}
    asyncio.run(guard(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


async def page(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


def test_every_answer_forbids_other_machines():
    status, headers = answer(Guard(page, LOOPBACK), "/")
    assert status == 200
    assert headers[b"content-security-policy"].startswith(b"default-src 'self'")


@pytest.mark.parametrize(
    "path", ["/gradio_api/file=http://a.example/x", "/gradio_api/proxy=https://a.example", "/proxy"]
)
def test_other_machines_are_not_asked_for_a_visitor(path: str):
    assert answer(Guard(page, LOOPBACK), path)[0] == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:7860", 200), ("[::1]:7860", 200), ("127.0.0.1", 200), ("a.example:7860", 403)],
)
def test_a_local_page_answers_to_local_names_only(host: str, status: int):
    assert answer(Guard(page, LOOPBACK), "/", host)[0] == status
    assert answer(Guard(page), "/", host)[0] == 200
