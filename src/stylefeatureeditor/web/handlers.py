"""What the page does when a visitor acts: a session changes, and the page is told.

Every step holds the machine alone (`Sessions.use`). A mistake becomes a sentence on the page and
leaves the settings as they were; a bug is logged and becomes a sentence too.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylefeatureeditor.errors import PhotoError, SfeError
from stylefeatureeditor.web.brush import read_painted
from stylefeatureeditor.web.models import model_label
from stylefeatureeditor.web.samples import SAMPLE_NAME, sample_pixels
from stylefeatureeditor.web.settings import Subject, as_command, as_python
from stylefeatureeditor.web.view import (
    DRAFT_SIDE,
    FINAL_SIDE,
    data_url,
    panel_message,
    viewer_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stylefeatureeditor.web.session import Session
    from stylefeatureeditor.web.sessions import Sessions

logger = logging.getLogger(__name__)
BUG = "something went wrong that should not have; what it was stands in the terminal"
FIRST = "# move a slider first\n"


@dataclass(frozen=True)
class Event:
    """What a part of the page reports.

    Attributes:
        visitor: the secret that the visitor's page made up.
        data: what came with it; anything, as far as we know.
    """

    visitor: str
    data: dict[str, Any]

    @staticmethod
    def of(request: gr.Request, event: gr.EventData | None = None) -> Event:
        """Return the event of a request."""
        data = event._data if event is not None else {}
        return Event(str(request.session_hash), data if isinstance(data, dict) else {})


class Handlers:
    """The page's reactions.

    Args:
        sessions: the visitors.
        uploads: the folder into which gradio puts what is uploaded; nothing else is opened.
        downloads: a folder for files on their way to a visitor.
    """

    def __init__(self, sessions: Sessions, uploads: Path, downloads: Path) -> None:
        self.sessions, self.uploads, self.downloads = sessions, uploads, downloads
        self._numbers = itertools.count(1)

    def load(self, request: gr.Request) -> list[Any]:
        """Show a fresh page; the model is read now, so that the first photo need not wait."""

        def act(session: Session) -> None:
            _ = session.editor

        return self._step(Event.of(request), act, panel=True)

    def close(self, request: gr.Request) -> None:
        """Forget a visitor who has left."""
        visitor = str(request.session_hash)
        self.sessions.close(visitor)
        shutil.rmtree(self._folder(visitor), ignore_errors=True)

    def open_file(self, aligned: bool, request: gr.Request, event: gr.EventData) -> list[Any]:  # noqa: FBT001
        """Open what was uploaded; the uploaded file is gone afterwards."""
        told = Event.of(request, event)
        name = Path(str(told.data.get("name", ""))).name[:100] or "photo"

        def act(session: Session) -> None:
            path = Path(str(told.data.get("path", ""))).resolve()
            if not (path.is_relative_to(self.uploads.resolve()) and path.is_file()):
                raise PhotoError(f"{name} did not arrive: open it again")
            try:
                session.open(path, name, aligned=aligned)
            finally:
                path.unlink(missing_ok=True)

        return self._step(told, act, panel=True)

    def open_sample(self, request: gr.Request) -> list[Any]:
        """Open the sample photo."""
        return self._step(
            Event.of(request),
            lambda session: session.open(sample_pixels(), SAMPLE_NAME),
            panel=True,
        )

    def pick_face(self, request: gr.Request, event: gr.EventData) -> list[Any]:
        """Edit another face."""
        told = Event.of(request, event)
        return self._step(told, lambda session: session.change(face=told.data.get("face")))

    def paint(self, request: gr.Request, event: gr.EventData) -> list[Any]:
        """Take a painted mask; painting turns it on."""
        told = Event.of(request, event)

        def act(session: Session) -> None:
            png = read_painted(str(told.data.get("png", "")))
            session.change(painted=png, mask="painted" if png else "none")

        return self._step(told, act, mask=True)

    def prepare(self, request: gr.Request) -> None:
        """Get ready for the first moving slider, now that the visitor sees the photo."""
        with self.sessions.use(str(request.session_hash)) as session:
            try:
                session.prepare()
            except Exception as error:  # noqa: BLE001
                self._complaint(session, error)  # the slider itself will say it on the page

    def drag(self, request: gr.Request, event: gr.EventData) -> dict[str, Any]:
        """Draw while a slider moves; the step is not remembered."""
        told = Event.of(request, event)
        with self.sessions.use(told.visitor) as session:
            try:
                drawing = session.draw(DRAFT_SIDE, _edits(told))
                return viewer_message(session, next(self._numbers), drawing, draft=True)
            except Exception as error:  # noqa: BLE001
                return self._complaint(session, error)

    def settle(self, request: gr.Request, event: gr.EventData) -> list[Any]:
        """Take the sliders' positions as a step."""
        told = Event.of(request, event)
        return self._step(told, lambda session: session.change(edits=_edits(told)))

    def undo(self, request: gr.Request) -> list[Any]:
        """Go back a step."""
        return self._step(Event.of(request), lambda session: session.undo(), panel=True)

    def redo(self, request: gr.Request) -> list[Any]:
        """Take an undo back."""
        return self._step(Event.of(request), lambda session: session.redo(), panel=True)

    def reset(self, request: gr.Request) -> list[Any]:
        """Set every slider to 0."""
        return self._step(Event.of(request), lambda session: session.change(edits={}), panel=True)

    def choose_mask(self, mask: str, request: gr.Request) -> list[Any]:
        """Let edits act elsewhere."""
        return self._step(Event.of(request), lambda session: session.change(mask=mask))

    def choose_blend(self, blend: str, request: gr.Request) -> list[Any]:
        """Bring the crop back another way."""
        return self._step(Event.of(request), lambda session: session.change(blend=blend or None))

    def choose_model(self, model: str, request: gr.Request) -> list[Any]:
        """Take another model."""
        return self._step(
            Event.of(request), lambda session: session.choose_model(model), panel=True
        )

    def strip(self, name: str | None, request: gr.Request) -> tuple[str, dict[str, Any]]:
        """Return the strip of a direction as HTML, and a message for the viewer."""
        with self.sessions.use(str(request.session_hash)) as session:
            try:
                picture = session.strip(name)
            except Exception as error:  # noqa: BLE001
                return "", self._complaint(session, error)
            url = data_url(picture)
            html = f'<img class="sfe-strip" alt="The face with several strengths" src="{url}">'
            return html, viewer_message(session, next(self._numbers), None)

    def make_photo(self, request: gr.Request) -> tuple[str | None, dict[str, Any]]:
        """Return the file of the edited photo, and a message for the viewer."""
        return self._file(request, lambda session, folder: session.save_photo(folder))

    def make_inversion(self, request: gr.Request) -> tuple[str | None, dict[str, Any]]:
        """Return the inversion file, and a message for the viewer."""
        return self._file(request, lambda session, folder: session.save_inversion(folder))

    def make_mask(self, request: gr.Request) -> tuple[str | None, dict[str, Any]]:
        """Return the file of the painted mask, and a message for the viewer."""
        return self._file(request, lambda session, folder: session.save_mask(folder))

    def _file(
        self, request: gr.Request, save: Callable[[Session, Path], Path]
    ) -> tuple[str | None, dict[str, Any]]:
        visitor = str(request.session_hash)
        with self.sessions.use(visitor) as session:
            try:
                folder = self._folder(visitor)
                shutil.rmtree(folder, ignore_errors=True)  # gradio has its own copy of the last
                folder.mkdir(parents=True)
                path = save(session, folder)
                return str(path), viewer_message(session, next(self._numbers), None)
            except Exception as error:  # noqa: BLE001
                return None, self._complaint(session, error)

    def _folder(self, visitor: str) -> Path:
        return self.downloads / "".join(sign for sign in visitor if sign.isalnum())[:64]

    def _step(
        self,
        told: Event,
        act: Callable[[Session], None],
        *,
        panel: bool = False,
        mask: bool = False,
    ) -> list[Any]:
        """Let an action change the session; return values for the outputs of `page.py`.

        Args:
            told: whose session.
            act: changes it.
            panel: whether it may move sliders and other controls.
            mask: whether it may switch the mask.
        """
        with self.sessions.use(told.visitor) as session:
            before = session.settings, session.past, session.future
            drawing = None
            try:
                act(session)
                if session.opened is not None:
                    drawing = session.draw(FINAL_SIDE)
                elif session.forgotten:
                    session.inversion(1)  # says why nothing can be shown
                viewer = viewer_message(session, next(self._numbers), drawing)
            except Exception as error:  # noqa: BLE001
                session.settings, session.past, session.future = before
                viewer, panel = self._complaint(session, error), True
            return [viewer, *self._controls(session, panel=panel, mask=mask)]

    def _controls(self, session: Session, *, panel: bool, mask: bool) -> list[Any]:
        """Values of all outputs but the viewer.

        A control that the step did not move is left alone: the visitor may be moving it by now.
        """
        settings, opened = session.settings, session.opened
        models = [(model_label(name), name) for name in self.sessions.models.names()]
        command = python = FIRST
        if opened is not None and settings.edits:
            subject = Subject(
                photo=opened.name,
                model=session.model,
                aligned=opened.aligned,
                editor=type(session.editor).__name__,
            )
            command, python = as_command(settings, subject), as_python(settings, subject)
        return [
            self._panel(session) if panel else gr.skip(),
            settings.mask if panel or mask else gr.skip(),
            (settings.blend or "") if panel else gr.skip(),
            command,
            python,
            gr.Button(interactive=bool(session.past)),
            gr.Button(interactive=bool(session.future)),
            gr.Button(interactive=bool(settings.edits)),
            gr.Button(interactive=opened is not None),
            gr.Button(interactive=opened is not None),
            gr.Dropdown(choices=_names(session)) if panel else gr.skip(),
            gr.Dropdown(choices=models, value=session.model or None) if panel else gr.skip(),
        ]

    def _panel(self, session: Session) -> Any:
        try:
            return panel_message(session, next(self._numbers))
        except SfeError:  # there is no model: the viewer says so
            return gr.skip()

    def _complaint(self, session: Session, error: Exception) -> dict[str, Any]:
        """The viewer's message for an error."""
        if not isinstance(error, SfeError):
            logger.error("the page met a bug", exc_info=error)
        message = viewer_message(session, next(self._numbers), None)
        message["sentence"] = str(error) if isinstance(error, SfeError) else BUG
        return message


def _edits(told: Event) -> dict[str, float]:
    edits = told.data.get("edits")
    return edits if isinstance(edits, dict) else {}


def _names(session: Session) -> list[tuple[str, str]]:
    """Titles and names of the directions."""
    try:
        sliders = [s for group in panel_message(session, 0)["groups"] for s in group["sliders"]]
    except SfeError:
        return []
    return [(slider["label"], slider["name"]) for slider in sliders]
