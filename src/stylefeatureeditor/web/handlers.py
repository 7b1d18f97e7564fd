"""What the page does when a visitor acts: the visit changes, and the page is told.

Every step holds the machine alone (`Sessions.use`). A mistake becomes a sentence on the page and
leaves the settings as they were; a bug is logged and becomes a sentence too.
"""

from __future__ import annotations

import base64
import binascii
import io
import itertools
import logging
import threading
import time
import zipfile
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import (
    ConfigError,
    DirectionError,
    FaceError,
    MaskError,
    PhotoError,
    SfeError,
)
from stylefeatureeditor.photo.session_file import painted_at, session_bytes
from stylefeatureeditor.web.loaded_models import published_models, pull_model
from stylefeatureeditor.web.mixing import as_much, mix_command, mixed, mixed_name
from stylefeatureeditor.web.opened import SAMPLE_NAME, sample
from stylefeatureeditor.web.settings import edited_name
from stylefeatureeditor.web.view import (
    DRAFT_QUALITY,
    DRAFT_SIDE,
    ENCODING,
    FINAL_SIDE,
    data_url,
    draft,
    encoded,
    moving,
    state,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stylefeatureeditor.web.session import Session
    from stylefeatureeditor.web.visit import Sessions, Visit

    Sent = dict[str, Any]  # anything, as far as we know
    Act = Callable[[Visit, Sent], object]

logger = logging.getLogger(__name__)
BUG = "something went wrong that should not have; the terminal says what"
MADE_ANEW = "others needed the memory that your photos were made in: download them again"
MASK_BYTES = 4_000_000
MOVING_SIDE, FRAMES = 640, 9  # of the picture that moves
MOVING = {"moving": ".gif", "moving-film": ".mp4"}


def _paint(visit: Visit, sent: Sent) -> None:
    """Take a painted mask; painting turns it on."""
    png = read_painted(str(sent.get("png", "")))
    visit.photo.change(painted=png, mask="painted" if png else "none")


def _point(visit: Visit, sent: Sent) -> None:
    box = sent.get("box")
    if not (isinstance(box, list) and len(box) == 4 and all(_is_part(edge) for edge in box)):
        raise FaceError("a face is pointed at by a box: draw it around brows, chin and cheeks")
    visit.photo.point_at((box[0], box[1], box[2], box[3]))


def _like(visit: Visit, sent: Sent) -> None:
    """Give the face in hand as much of a direction as another photo has."""
    name = str(sent.get("name"))
    strength = as_much(visit.photo, visit.find(sent.get("photo")), name)
    visit.photo.change(moved={name: strength})


def _is_part(edge: object) -> bool:
    return isinstance(edge, (int, float)) and 0 <= edge <= 1


def _edits(sent: Sent) -> dict[str, Any]:
    """The strengths that were sent; `Session.checked` checks them."""
    edits = sent.get("edits")
    return edits if isinstance(edits, dict) else {}


ACTS: dict[str, Act] = {
    "show": lambda _visit, _sent: None,
    "sample": lambda visit, _: visit.open(sample(), SAMPLE_NAME),
    "select": lambda visit, sent: visit.select(sent.get("photo")),
    "close": lambda visit, sent: visit.close(sent.get("photo")),
    "face": lambda visit, sent: visit.photo.pick(sent.get("face")),
    "move": lambda visit, sent: visit.photo.change(moved=_edits(sent)),
    "edits": lambda visit, sent: visit.photo.change(edits=_edits(sent)),
    "everywhere": lambda visit, _: visit.copy_look(),
    "mask": lambda visit, sent: visit.photo.change(mask=sent.get("mask")),
    "paint": _paint,
    "blend": lambda visit, sent: visit.photo.change(blend=sent.get("blend") or None),
    "go": lambda visit, sent: visit.photo.go(sent.get("steps")),
    "like": _like,
    "frame": lambda visit, sent: visit.photo.show_frame(sent.get("second")),
    "turn": lambda visit, _: visit.photo.turn(),
    "point": _point,
    "model": lambda visit, sent: visit.choose_model(str(sent.get("model"))),
}


class Handlers:
    """The page's reactions; `visitor` is the secret that a page made up."""

    def __init__(self, sessions: Sessions, *, may_download: bool) -> None:
        self.sessions, self.may_download = sessions, may_download
        # a page that outlives the program must take the next one's answers for newer
        self._numbers = itertools.count(time.time_ns() // 1_000_000)
        self._pulls: dict[str, Sent] = {}

    def do(self, visitor: str, sent: Sent) -> Sent:
        """Do one of ACTS, and return the state of the page."""
        act = ACTS.get(str(sent.get("act")), _unknown)
        return self._step(visitor, lambda visit: act(visit, sent), sent)

    def open(self, visitor: str, content: bytes, sent: Sent) -> Sent:
        """Open an uploaded file; return the state of the page."""
        name = PurePath(str(sent.get("name", ""))).name[-100:] or "photo"
        options = {option: sent.get(option) == "1" for option in ("aligned", "take")}
        return self._step(visitor, lambda visit: visit.open(content, name, **options), sent)

    def draft(self, visitor: str, sent: Sent) -> Sent:
        """Draw while a slider moves; the step is not remembered."""
        edits = _edits(sent)
        return self._answer(visitor, lambda v: draft(v.photo, v.photo.draw(DRAFT_SIDE, edits)))

    def prepare(self, visitor: str, _: Sent) -> Sent:
        """Get ready for the first moving slider, now that the visitor sees the photo."""
        return self._answer(visitor, lambda visit: {"pace": visit.photo.prepare()})

    def picture(self, visitor: str, sent: Sent) -> Sent:
        """Return the small picture of what a direction does to the face in hand."""
        name = str(sent.get("name"))
        return self._answer(
            visitor,
            lambda v: {"picture": data_url(v.photo.show_direction(name), DRAFT_QUALITY)},
        )

    def strip(self, visitor: str, sent: Sent) -> Sent:
        """Return a direction in steps."""
        name = str(sent.get("name") or "")
        return self._answer(visitor, lambda v: {"picture": data_url(v.photo.strip(name))})

    def save(self, visitor: str, sent: Sent) -> tuple[str, bytes | Path] | Sent:
        """Return the name of a file and its content or place, or why there is none."""
        return self._answer(visitor, lambda visit: _file(visit, sent))

    def mix(self, visitor: str, sent: Sent) -> Sent:
        """Return what the photo in hand and another make together, and its command."""

        def work(visit: Visit) -> Sent:
            a, b, take = visit.photo, visit.find(sent.get("photo")), str(sent.get("take"))
            picture = mixed(a, b, take)
            picture.thumbnail((FINAL_SIDE, FINAL_SIDE))
            return {"picture": data_url(picture), "command": mix_command(a, b, take)}

        return self._answer(visitor, work)

    def film(self, visitor: str, sent: Sent) -> Sent:
        """Have a film made, or no longer made; return how far it has come."""

        def work(visit: Visit) -> Sent:
            session, films = visit.find(sent.get("photo")), self.sessions.films
            film = session.film
            if sent.get("do") == "start":
                films.start(film, session.order())
            elif sent.get("do") == "cancel":
                film.stop()
            told = {**film.told(), "ahead": films.ahead(film)}
            if film.error is not None:
                told["sentence"] = self._sentence(film.error)
                film.error = None
            return told

        return self._answer(visitor, work)

    def make(self, visitor: str, sent: Sent) -> Sent:
        """Draw one photo for the zip that `save` gives; the first one empties it."""

        def work(visit: Visit) -> Sent:
            if sent.get("first"):
                visit.made.clear()
            elif not visit.made:
                raise PhotoError(MADE_ANEW)
            session = visit.find(sent.get("photo"))
            visit.made.append(_whole(session, sent))
            if sum(len(content) for _, content in visit.made) > visit.limits.memory_bytes // 4:
                visit.made.clear()
                raise PhotoError(
                    "all photos together are too large for one file: choose JPEG, or close some"
                )
            if session is not visit.current:
                session.forget_pixels()
            return {}

        return self._answer(visitor, work)

    def pull(self, _: str, sent: Sent) -> Sent:
        """Download a published model, or say how far it has come."""
        name = str(sent.get("name"))
        if not self.may_download:
            return {"sentence": "models are downloaded on the machine that serves this page"}
        if name in published_models() and name not in self._pulls:
            self._pulls[name] = {"file": "", "done": 0, "total": None, "ready": False}
            threading.Thread(target=self._pull, args=(name,), daemon=True).start()
        told = dict(self._pulls.get(name, {"ready": True}))
        if "sentence" in told:
            self._pulls.pop(name)  # told once; the next time it is tried anew
        return told

    def _pull(self, name: str) -> None:
        def report(file: str, done: int, total: int | None) -> None:
            self._pulls[name].update(file=file, done=done, total=total)

        try:
            pull_model(name, report)
            self._pulls[name]["ready"] = True
        except Exception as error:  # noqa: BLE001
            self._pulls[name]["sentence"] = self._sentence(error)

    def _step(self, visitor: str, act: Callable[[Visit], object], sent: Sent) -> Sent:
        """Let an action change the visit; return the state of the page."""
        known = set(str(sent.get("known", "")).split("|"))
        with self.sessions.use(visitor) as visit:
            visit.warning, sentence, drawing = "", "", None
            set_back = _set_back(visit)
            try:
                act(visit)
                drawing = visit.current.draw(FINAL_SIDE) if visit.current else None
            except Exception as error:  # noqa: BLE001
                sentence = self._sentence(error)
                set_back()
            try:
                message = state(visit, drawing, known)
            except Exception as error:  # noqa: BLE001 (no model, or one that cannot be read)
                message, sentence = {"photos": [], "photo": None}, self._sentence(error)
            if sent.get("act") == "show":
                message["offers"] = published_models() if self.may_download else {}
            return {**message, "sentence": sentence, "number": self._next()}

    def _answer(self, visitor: str, work: Callable[[Visit], Any]) -> Any:
        with self.sessions.use(visitor) as visit:
            try:
                made = work(visit)
            except Exception as error:  # noqa: BLE001
                made = {"sentence": self._sentence(error)}
        return {**made, "number": self._next()} if isinstance(made, dict) else made

    def _sentence(self, error: Exception) -> str:
        if isinstance(error, SfeError):
            return str(error)
        logger.error("the page met a bug", exc_info=error)
        return BUG

    def _next(self) -> int:
        return next(self._numbers)


def read_painted(url: str) -> bytes:
    """Return the PNG of a data URL as the brush sends it; empty for none."""
    start = "data:image/png;base64,"
    if not url:
        return b""
    if not url.startswith(start) or len(url) > MASK_BYTES:
        raise MaskError("a painted mask must be a PNG of at most 3 megabytes")
    try:
        content = base64.b64decode(url[len(start) :], validate=True)
    except binascii.Error as error:
        raise MaskError("the painted mask is not a picture that can be read") from error
    painted_at(content, 8, 8)
    return content


def _unknown(_visit: Visit, sent: Sent) -> None:
    raise ConfigError(
        f"the page asked for {str(sent.get('act'))[:50]!r}, which this page does not know"
    )


def _set_back(visit: Visit) -> Callable[[], None]:
    """What makes the photos that are open, and the model, what they are now."""
    model, names = visit.model, ("opened", "small", "model", "settings", "past", "future")
    kept = [(one, {name: getattr(one, name) for name in names}) for one in visit.photos]

    def set_back() -> None:
        for one, before in kept:
            if one.opened is not before["opened"] or one.model != before["model"]:
                one.forget_pixels()
            vars(one).update(before)
        if kept:  # a session that opens alone brings its model
            visit.model = model

    return set_back


def _file(visit: Visit, sent: Sent) -> tuple[str, bytes | Path]:
    """A file for the visitor: its name, and its content or where it lies."""
    kind = sent.get("kind")
    if kind == "session":
        saved = [session.saved() for session in visit.saveable() or [visit.photo]]
        return visit.session_name(), session_bytes(visit.model, saved)
    if kind == "zip":
        return _zip(visit)
    session = visit.photo
    if kind == "film":
        if session.film.stage != "ready":
            raise PhotoError("the film is not made yet: press “Make the film” first")
        return edited_name(session.name, f"_edited{session.film.made.suffix}"), session.film.made
    if kind == "mix":
        picture = mixed(session, visit.find(sent.get("photo")), str(sent.get("take")))
        return mixed_name(session), encoded(picture, "png", 92)
    if kind in MOVING:
        name = edited_name(session.name, f"_edited{MOVING[kind]}")
        return name, moving(session.growing(MOVING_SIDE, FRAMES), MOVING[kind])
    if kind == "compare":
        result = session.result()
        if result is None:
            raise DirectionError("move a slider first: before and after are the same")
        form, quality = _form(sent)
        name = edited_name(session.name, f"_before_after.{form}")
        return name, encoded(result.comparison(), form, quality)
    return _whole(session, sent)


def _zip(visit: Visit) -> tuple[str, bytes]:
    """The photos that `make` has drawn, once."""
    if not visit.made:
        raise PhotoError(MADE_ANEW)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (name, content) in enumerate(visit.made, start=1):
            taken = name in archive.namelist()
            archive.writestr(f"{number}_{name}" if taken else name, content)
    visit.made.clear()
    return "photos_edited.zip", buffer.getvalue()


def _whole(session: Session, sent: Sent) -> tuple[str, bytes]:
    """The edited photo as a file."""
    form, quality = _form(sent)
    name = edited_name(session.name, f"_edited.{'jpg' if form == 'jpeg' else form}")
    return name, encoded(session.whole(), form, quality)


def _form(sent: Sent) -> tuple[str, int]:
    form, quality = sent.get("form", "png"), sent.get("quality", 92)
    if str(form) not in ENCODING or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ConfigError("a photo is saved as jpeg, png or webp, with a quality from 1 to 100")
    return form, quality
