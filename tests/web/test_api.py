"""`sfe serve` over a real connection: the right photo, and a sentence for everything else."""

import asyncio
import json
import re
import struct
import threading
import time
import urllib.error
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from page_pictures import png
from stylefeatureeditor.errors import PhotoError
from stylefeatureeditor.photo.image import to_uint8
from stylefeatureeditor.web import api
from stylefeatureeditor.web.api import (
    FIELDS,
    REFUSALS,
    Service,
    api_app,
    openapi,
    read_form,
    read_words,
)
from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.serve import LOOPBACK, Refused, listening
from stylefeatureeditor.web.view import encoded
from tiny import tiny_editor, tiny_photos

pytest.importorskip("starlette", reason="serving is an extra")
KIND = "multipart/form-data; boundary=xyz"
LIMITS = Limits(upload_bytes=300_000, photo_pixels=500_000, waiting=3)
EDITS = "smile=2,age=-1"


def form(**fields: "bytes | str") -> bytes:
    parts = []
    for name, content in fields.items():
        file = '; filename="a.png"' if name == "photo" else ""
        head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + (content.encode() if isinstance(content, str) else content))
    return b"\r\n".join([*parts, b"--xyz--\r\n"])


def ask(address: str, body: bytes | None = None, kind: str = KIND, **headers: str):
    """Return status, headers and body of an answer; with a body, POST."""
    request = urllib.request.Request(address, body, {"Content-Type": kind, **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def refusal(address: str, body: bytes, kind: str = KIND) -> tuple[int, str]:
    status, _, answer = ask(f"{address}/edit", body, kind)
    return status, json.loads(answer)["error"]


@pytest.fixture(scope="module")
def editor():
    return tiny_editor()


@pytest.fixture(scope="module")
def service(editor):
    return Service(editor, LIMITS, "tiny")


@pytest.fixture(scope="module")
def address(service):
    with listening(lambda: api_app(service, LOOPBACK), "127.0.0.1", 0) as found:
        yield found


@pytest.fixture(scope="module")
def crops():
    """Aligned photos that differ, which need no detector."""
    return [png(pixels) for pixels in to_uint8(tiny_photos(6))]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_the_picture_is_the_editors_to_the_byte(address, editor, portrait, kind):
    body = form(photo=portrait.read_bytes(), edits=EDITS, mask="face", format=kind)
    status, headers, picture = ask(f"{address}/edit", body)
    assert (status, headers["content-type"]) == (200, f"image/{kind}")
    result = editor.edit(portrait, {"smile": 2.0, "age": -1.0}, mask="face")
    assert picture == encoded(result.photo, kind, 92)


@pytest.mark.parametrize(("word", "face"), [("all", "all"), ("2", 2), ("", "largest")])
def test_the_faces_that_are_asked_for_are_edited(address, editor, pixels, word, face):
    photo = png(np.concatenate([pixels, pixels[:, ::-1]], axis=1))
    status, _, picture = ask(f"{address}/edit", form(photo=photo, edits="grin=3", face=word))
    assert status == 200
    assert picture == encoded(editor.edit(photo, {"smile": 3.0}, face=face).photo, "png", 92)


def test_requests_at_a_time_are_not_mixed(address, service, editor, crops):
    service.limits = service.queue.limits = Limits(waiting=32)
    bodies = [
        form(photo=crop, edits=f"smile={by}", aligned="1") for crop in crops for by in (-2, 0.5, 3)
    ]
    with ThreadPoolExecutor(8) as threads:
        pictures = [*threads.map(lambda body: ask(f"{address}/edit", body)[2], bodies)]
    service.limits = service.queue.limits = LIMITS
    assert len(set(pictures)) == len(pictures)
    assert pictures == [
        encoded(editor.edit(crop, {"smile": by}, aligned=True).photo, "png", 92)
        for crop in crops
        for by in (-2, 0.5, 3)
    ]


def test_a_full_queue_says_when_to_come_again(address, service, crops, monkeypatch):
    release, begun = threading.Event(), threading.Semaphore(0)

    def slow(*_):
        begun.release()
        assert release.wait(30)
        return b"done"

    monkeypatch.setattr(api, "edited", slow)
    service.edits, service.seconds = 2, 8.0  # of 4 s each: a full queue takes 12
    body = form(photo=crops[0], edits=EDITS, aligned="1")
    with ThreadPoolExecutor(LIMITS.waiting) as threads:
        accepted = [threads.submit(ask, f"{address}/edit", body) for _ in range(LIMITS.waiting)]
        assert begun.acquire(timeout=30)
        while service.queue.waiting < LIMITS.waiting:
            threading.Event().wait(0.01)
        status, headers, answer = ask(f"{address}/edit", body)
        metrics = ask(f"{address}/metrics")[2].decode()
        release.set()
    assert (status, headers["retry-after"]) == (429, "12")
    assert json.loads(answer) == {"error": "the queue is full: try again in 12 s"}
    assert f"sfe_queue_length {LIMITS.waiting}\n" in metrics
    assert [each.result()[::2] for each in accepted] == [(200, b"done")] * LIMITS.waiting
    assert service.queue.waiting == 0


GREY = png(np.full((90, 90, 3), 128, np.uint8))


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims so many pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return GREY[:12] + head + struct.pack(">I", zlib.crc32(head)) + GREY[33:]


@pytest.mark.parametrize(
    ("photo", "sentence"),
    [
        (b"", "is empty"),
        (b"<svg/>", "not a picture"),
        (b"\r\n--xyw\r\n\r\n--", "not a picture"),
        (bomb(60_000, 60_000), "60000 x 60000"),
        (bomb(1000, 501), "1000 x 501"),
        (GREY[:-30], "damaged|cut|read"),
        (GREY, "no face was found"),
    ],
    ids=["empty", "svg", "boundaries", "bomb", "large", "cut", "faceless"],
)
@pytest.mark.parametrize("face", ["largest", "all"])
def test_a_photo_that_cannot_be_edited_is_refused_in_a_sentence(address, photo, sentence, face):
    status, said = refusal(address, form(photo=photo, edits=EDITS, face=face))
    assert status == 422
    assert re.search(sentence, said)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"edits": ""}, "edits must be NAME=STRENGTH"),
        ({"edits": "smile"}, "got 'smile'"),
        ({"edits": "smile=nan"}, "got 'smile=nan'"),
        ({"edits": "smile=1e999"}, "finite number"),
        ({"edits": "smile=99999"}, "at most 10000"),
        ({"edits": "smile=1,smile=2"}, "given twice"),
        ({"edits": "smlie=1"}, "did you mean smile"),
        ({"edits": "x" * 1001}, "longer than 1000 bytes"),
        ({"edits": b"\xff=1"}, "unknown direction"),
        ({"face": "0"}, "face must be largest, all, or a number"),
        ({"face": "3", "aligned": "0"}, "face 3 was asked for|no face"),
        ({"mask": "/etc/passwd"}, "mask must be"),
        ({"mask": "mask.png"}, "mask must be"),
        ({"mask": "hair+"}, "mask must be"),
        ({"mask": "hair"}, "face parser"),
        ({"aligned": "yes"}, "aligned must be"),
        ({"format": "gif"}, "format must be of the answer: jpeg, webp, png"),
        ({"quality": "9"}, "the fields of the form are photo, edits"),
    ],
)
def test_a_field_that_cannot_be_used_is_told(
    address, crops, fields, sentence, monkeypatch, tmp_path
):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path))
    body = form(**{"photo": crops[0], "edits": EDITS, "aligned": "1", **fields})
    status, said = refusal(address, body)
    assert status == 422
    assert re.search(sentence, said)


@pytest.mark.parametrize("missing", ["photo", "edits"])
def test_a_form_needs_a_photo_and_edits(address, crops, missing):
    fields = {"photo": crops[0], "edits": EDITS}
    fields.pop(missing)
    assert refusal(address, form(**fields)) == (
        422,
        f"the field {missing} is missing: {FIELDS[missing]['description']}",
    )


def test_what_is_no_form_is_refused(address, crops):
    body = form(photo=crops[0], edits=EDITS)
    assert refusal(address, b"{}", "application/json")[0] == 415
    assert refusal(address, body, "multipart/form-data")[0] == 415
    assert refusal(address, body[:-20])[0] == 400
    twice = body.replace(b"--xyz--", b"") + form(edits=EDITS)
    assert "at most once" in refusal(address, twice)[1]
    assert ask(f"{address}/edit")[0] == 405


def test_a_photo_that_is_too_large_is_refused(address):
    status, said = refusal(address, form(photo=b"x" * 400_001, edits=EDITS))
    assert (status, said) == (413, "the file is larger than 0.4 MB: make it smaller first")


def test_many_edits_with_a_bad_end_are_refused_at_once():
    start = time.process_time()
    with pytest.raises(Refused):
        read_words({"photo": b"", "edits": b"a=1111," * 140 + b"b"})
    assert time.process_time() - start < 1


def test_a_picture_that_webp_cannot_hold_is_refused():
    with pytest.raises(PhotoError, match="no webp file can hold this picture"):
        encoded(Image.new("L", (16384, 1)), "webp", 90)


@given(st.binary(max_size=300), st.integers(0, 200))
def test_no_bytes_make_a_form_a_bug(noise, at):
    sound = form(photo=b"p", edits=EDITS)
    body = sound[:at] + noise + sound[at + len(noise) :]
    try:
        assert set(read_form(body, KIND)) <= set(FIELDS)
    except Refused as error:
        assert error.status in REFUSALS  # noqa: PT017


@pytest.mark.parametrize(
    "boundary",
    [
        "",
        ";",
        "boundary",
        "boundary=",
        "boundary=\xe9",
        "boundary*=a'b'%ff",
        "boundary*=idna''x%FF",
        '"\n\n',
    ],
)
def test_no_boundary_is_a_bug(boundary):
    with pytest.raises(Refused):
        read_form(b"--a\r\n", f"multipart/form-data; {boundary}")


def test_a_form_that_stands_still_does_not_stay(service, monkeypatch):
    monkeypatch.setattr(api, "ARRIVAL_SECONDS", 0.05)
    sent = []

    async def still():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", KIND.encode())]
    scope = {"type": "http", "path": "/edit", "method": "POST", "headers": headers}
    asyncio.run(api_app(service)({**scope, "query_string": b""}, still, send))
    assert sent[0]["status"] == 408


def test_a_bug_is_told_as_one_and_the_next_request_is_answered(address, crops, monkeypatch, caplog):
    body = form(photo=crops[0], edits=EDITS, aligned="1")
    with monkeypatch.context() as patched:
        patched.setattr(api, "edited", lambda *_: 1 // 0)
        assert refusal(address, body) == (500, api.BUG)
    assert "ZeroDivisionError" in caplog.text
    assert ask(f"{address}/edit", body)[0] == 200


def test_another_sites_page_cannot_edit(address, crops):
    body = form(photo=crops[0], edits=EDITS, aligned="1")
    assert ask(f"{address}/edit", body, Origin="http://evil.example")[0] == 403


def test_health_and_metrics_say_how_it_goes(editor, crops):
    own = Service(editor, LIMITS, "tiny")
    with listening(lambda: api_app(own), "127.0.0.1", 0) as address:
        assert json.loads(ask(f"{address}/health")[2])["model"] == "tiny"
        ask(f"{address}/edit", form(photo=crops[0], edits=EDITS, aligned="1"))
        refusal(address, b"{}", "application/json")
        lines = ask(f"{address}/metrics")[2].decode().splitlines()
    assert 'sfe_requests_total{status="200"} 1' in lines
    assert 'sfe_requests_total{status="415"} 1' in lines
    assert "sfe_edit_seconds_count 1" in lines
    (seconds,) = (line.split()[1] for line in lines if line.startswith("sfe_edit_seconds_sum"))
    assert float(seconds) > 0
    assert all(re.fullmatch(r'# .+|[a-z_]+(\{[a-z]+="\d+"\})? [\d.]+', line) for line in lines)


def test_the_description_is_what_is_checked(address):
    told = json.loads(ask(f"{address}/openapi.json")[2])
    assert told == openapi()
    post = told["paths"]["/edit"]["post"]
    schema = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["required"] == ["photo", "edits"]
    assert set(schema["properties"]) == set(FIELDS)
    for field in schema["properties"].values():
        if "default" in field:
            assert re.search(field["pattern"], field["default"])
    assert set(post["responses"]) == {"200", *map(str, REFUSALS)}
