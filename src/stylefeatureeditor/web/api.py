"""`sfe serve`: a photo and edits come by POST, the edited photo goes back.

One model, one thread: requests queue for it, each with what it brought and nothing else. FIELDS is
what a form may hold; it is what requests are checked by, and what /openapi.json tells.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from email import message_from_bytes, message_from_string
from math import ceil
from typing import TYPE_CHECKING, Any

from stylefeatureeditor import __version__
from stylefeatureeditor.errors import DirectionError, SfeError
from stylefeatureeditor.photo.image import read_photo
from stylefeatureeditor.web.opened import largest_faces
from stylefeatureeditor.web.serve import Guard, Queue, Refused
from stylefeatureeditor.web.view import ENCODING, FINAL_QUALITY, encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request

    from stylefeatureeditor.editor import Editor, Which
    from stylefeatureeditor.web.limits import Limits

logger = logging.getLogger(__name__)
NUMBER = r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
EDIT = rf"[^=,]+={NUMBER}"
FIELDS: dict[str, dict[str, Any]] = {  # JSON schemas; the default of a field that may be left out
    "photo": {"format": "binary", "description": "the file of a photo"},
    "edits": {
        "pattern": f"{EDIT}(,{EDIT})*",
        "description": "NAME=STRENGTH, several of them with commas between, as in smile=2,age=-1",
    },
    "face": {
        "pattern": "largest|all|[1-9][0-9]{0,3}",
        "default": "largest",
        "description": "largest, all, or a number; 1 is the largest",
    },
    "mask": {
        "pattern": r"[a-z_]+(\+[a-z_]+)*|foreground:[01]?\.[0-9]+",
        "default": "none",
        "description": "where the edit may act: none (everywhere), face, or with a face parser "
        "installed foreground, foreground:0.9, or regions as in hair+hat",
    },
    "aligned": {
        "pattern": "0|1",
        "default": "0",
        "description": "1 if the photo is an aligned crop, so that no face is searched; else 0",
    },
    "format": {
        "pattern": "|".join(ENCODING),
        "default": "png",
        "description": f"of the answer: {', '.join(ENCODING)}",
    },
}
REFUSALS = {
    400: "the form is cut off or none",
    408: "the form did not arrive in time",
    413: "the photo is too large",
    415: "not multipart/form-data",
    422: "a field or the photo cannot be used",
    429: "the queue is full; Retry-After says when to come again",
    500: "a defect of the server, which its log tells",
}
FORM_BYTES = 100_000  # of a form, beside its photo
FIELD_BYTES = 1000  # of a field that is no photo, and of the head of any
ARRIVAL_SECONDS = 60
BUG = "something went wrong that should not have; the log of the server says what"


def read_form(body: bytes, kind: str) -> dict[str, bytes]:
    """Return name -> content of the fields of a form; `kind` is its Content-Type.

    Raises:
        Refused: it is no form, or not one of FIELDS.
    """
    try:
        told = message_from_string(f"Content-Type: {kind}\n\n")
        boundary = told.get_boundary() or ""
        is_form = told.get_content_type() == "multipart/form-data" and boundary.isascii()
    except ValueError:  # of a charset that is none
        is_form, boundary = False, ""
    if not (is_form and boundary):
        raise Refused(415, "send a form, multipart/form-data with a photo and its edits")
    found: dict[str, bytes] = {}
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), len(FIELDS) + 2)
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            return found
        head, _, content = piece.partition(b"\r\n\r\n")
        try:
            name = message_from_bytes(head[:FIELD_BYTES].lstrip()).get_param(
                "name", header="content-disposition"
            )
        except ValueError:
            name = None
        if not isinstance(name, str) or name not in FIELDS or name in found:
            raise Refused(422, f"the fields of the form are {', '.join(FIELDS)}, each at most once")
        if name != "photo" and len(content) > FIELD_BYTES:
            raise Refused(422, f"the field {name} is longer than {FIELD_BYTES} bytes")
        found[name] = content
    raise Refused(400, "the form is cut off: its last boundary is missing")


def read_words(form: dict[str, bytes]) -> dict[str, str]:
    """Return the fields but the photo as text, those that were left out too.

    Raises:
        Refused: one is missing, or is not what FIELDS says.
    """
    words = {}
    for name, schema in FIELDS.items():
        if name not in form and "default" not in schema:
            raise Refused(422, f"the field {name} is missing: {schema['description']}")
        if "pattern" in schema:
            text = form.get(name, b"").decode("utf-8", "replace").strip()
            text = text or schema.get("default", "")
            if not re.fullmatch(schema["pattern"], text):
                said = f"the field {name} must be {schema['description']}"
                raise Refused(422, f"{said}; got '{text}'")
            words[name] = text
    return words


def edited(editor: Editor, limits: Limits, content: bytes, words: dict[str, str]) -> bytes:
    """Return the file of a photo with its face edited, in the format that `words` name.

    Raises:
        SfeError: the photo, a direction, the face or the mask cannot be used.
    """
    pairs = [edit.split("=") for edit in words["edits"].split(",")]
    edits = {name.strip(): float(by) for name, by in pairs}
    if len(edits) < len(pairs):
        raise DirectionError("an edit is given twice: one strength per direction")
    photo = read_photo(content, max_pixels=limits.photo_pixels)
    aligned, word = words["aligned"] == "1", words["face"]
    face: Which = int(word) if word.isdecimal() else "largest"
    if word == "all" and not aligned:
        face = largest_faces(photo, limits) or "largest"
    (result,) = editor.edit_batch([photo], edits, mask=words["mask"], face=face, aligned=aligned)
    return encoded(result.photo, words["format"], FINAL_QUALITY)


class Service:
    """The answers of one editor, and what is counted of them.

    Args:
        editor: used by one thread alone, that of the queue.
        limits: of a photo and of the queue.
        model: what /health says of the model.
    """

    def __init__(self, editor: Editor, limits: Limits, model: str) -> None:
        self.editor, self.limits, self.model = editor, limits, model
        self.queue = Queue(limits)
        self.answers: Counter[int] = Counter()
        self.edits, self.seconds = 0, 0.0

    async def edit(self, request: Request) -> Any:
        """Answer POST /edit: the picture, or {"error": a sentence}."""
        from starlette.requests import ClientDisconnect
        from starlette.responses import JSONResponse, Response

        sentence, headers = "", {}
        try:
            picture, kind = await self._picture(request)
            status = 200
        except Refused as error:
            status, sentence = error.status, str(error)
        except SfeError as error:
            status, sentence = 422, str(error)
        except asyncio.TimeoutError:
            status, sentence = 408, f"the form did not arrive within {ARRIVAL_SECONDS} seconds"
        except ClientDisconnect:
            status, sentence = 400, REFUSALS[400]
        except Exception as error:
            logger.exception("an edit met a bug", exc_info=error)
            status, sentence = 500, BUG
        if status == 503:
            wait = max(1, ceil(self.limits.waiting * self.seconds / max(1, self.edits)))
            headers = {"retry-after": str(wait)}
            status, sentence = 429, f"the queue is full: try again in {wait} s"
        self.answers[status] += 1
        if status == 200:
            return Response(picture, media_type=f"image/{kind}")
        return JSONResponse({"error": sentence}, status, headers)

    async def _picture(self, request: Request) -> tuple[bytes, str]:
        self.queue.check()  # before the photo comes, and again when it is there
        most = self.limits.upload_bytes + FORM_BYTES
        body = await asyncio.wait_for(self.queue.body(request, most), ARRIVAL_SECONDS)
        form = read_form(body, request.headers.get("content-type", ""))
        del body
        words = read_words(form)
        return await self.queue.run(self._timed, form["photo"], words), words["format"]

    def _timed(self, photo: bytes, words: dict[str, str]) -> bytes:
        start = time.perf_counter()
        picture = edited(self.editor, self.limits, photo, words)
        self.edits, self.seconds = self.edits + 1, self.seconds + time.perf_counter() - start
        return picture

    def health(self) -> dict[str, Any]:
        """Return what GET /health answers."""
        return {"status": "ok", "version": __version__, "model": self.model}

    def metrics(self) -> str:
        """Return what GET /metrics answers: Prometheus's text format."""
        counted = [
            f'sfe_requests_total{{status="{status}"}} {count}'
            for status, count in sorted(self.answers.items())
        ]
        return "\n".join([
            "# HELP sfe_requests_total Answers to POST /edit, by status; 4xx are refusals.",
            "# TYPE sfe_requests_total counter",
            *counted,
            "# HELP sfe_edit_seconds Seconds of an edit, without its wait.",
            "# TYPE sfe_edit_seconds summary",
            f"sfe_edit_seconds_sum {self.seconds:.6f}",
            f"sfe_edit_seconds_count {self.edits}",
            "# HELP sfe_queue_length Edits that run or wait; of sfe_queue_limit.",
            "# TYPE sfe_queue_length gauge",
            f"sfe_queue_length {self.queue.waiting}",
            "# TYPE sfe_queue_limit gauge",
            f"sfe_queue_limit {self.limits.waiting}\n",
        ])  # fmt: skip


def openapi() -> dict[str, Any]:
    """Return what GET /openapi.json answers."""
    fields = {
        name: {"type": "string"}
        | schema
        | ({"pattern": f"^({schema['pattern']})$"} if "pattern" in schema else {})
        for name, schema in FIELDS.items()
    }
    required = [name for name, schema in FIELDS.items() if "default" not in schema]
    form = {"type": "object", "properties": fields, "required": required}
    error = {"type": "object", "properties": {"error": {"type": "string"}}}
    refusals = {
        str(status): {"description": text, "content": {"application/json": {"schema": error}}}
        for status, text in REFUSALS.items()
    }
    picture: dict[str, Any] = {f"image/{kind}": {} for kind in ENCODING}
    post = {
        "summary": "Edit the face of a photo",
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {"200": {"description": "the edited photo", "content": picture}, **refusals},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "StyleFeatureEditor", "version": __version__},
        "paths": {
            "/edit": {"post": post},
            "/health": {"get": {"responses": {"200": {"description": "the model is loaded"}}}},
            "/metrics": {"get": {"responses": {"200": {"description": "for Prometheus"}}}},
        },
    }


def api_app(service: Service, hosts: Sequence[str] = ()) -> Starlette:
    """Return the service as an ASGI application; `hosts` as in `Guard`."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    async def health(_: Request) -> Any:
        return JSONResponse(service.health())

    async def metrics(_: Request) -> Any:
        return PlainTextResponse(service.metrics())

    async def described(_: Request) -> Any:
        return JSONResponse(openapi())

    routes = [
        Route("/edit", service.edit, methods=["POST"]),
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/openapi.json", described),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts)])
    app.state.close = service.queue.close
    return app
