"""What the page does when a visitor acts: a session changes, and the page is told.

Every step holds the machine alone (`Sessions.use`). A mistake becomes a sentence on the page and
leaves the settings as they were; a bug is logged and becomes a sentence too.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylefeatureeditor.errors import PhotoError, SfeError
from stylefeatureeditor.web.brush import read_painted
from stylefeatureeditor.web.loaded_models import model_label
from stylefeatureeditor.web.session import Drawing
from stylefeatureeditor.web.settings import as_command, as_python
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

    Act = Callable[[Session, Any], object]  # given what the event brings

Message = dict[str, Any]  # for the viewer; gradio reads the handlers' annotations
logger = logging.getLogger(__name__)
BUG = "something went wrong that should not have; what it was stands in the terminal"
FIRST = "# move a slider first\n"


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

    def step(
        self, act: Act, *, panel: bool = False, mask: bool = False
    ) -> Callable[[gr.Request, gr.EventData], list[Any]]:
        """Return the handler of an event of the page's own parts or of a button.

        Args:
            act: changes the session; it is given what the part sent.
            panel: whether it may move sliders and other controls.
            mask: whether it may switch the mask.
        """

        def handle(request: gr.Request, event: gr.EventData) -> list[Any]:
            return self._step(request, act, _sent(event), panel=panel, mask=mask)

        return handle

    def choose(self, act: Act, *, panel: bool = False) -> Callable[[Any, gr.Request], list[Any]]:
        """Return the handler of a control; `act` is given its value. `panel` as in `step`."""

        def handle(value: Any, request: gr.Request) -> list[Any]:
            return self._step(request, act, value, panel=panel)

        return handle

    def load(self, request: gr.Request) -> list[Any]:
        """Show a fresh page; the model is read now, so that the first photo need not wait."""
        return self._step(request, lambda session, _: session.editor, None, panel=True)

    def close(self, request: gr.Request) -> None:
        """Forget a visitor who has left."""
        visitor = str(request.session_hash)
        self.sessions.close(visitor)
        shutil.rmtree(self._folder(visitor), ignore_errors=True)

    def open_file(self, aligned: bool, request: gr.Request, event: gr.EventData) -> list[Any]:  # noqa: FBT001
        """Open what was uploaded; the uploaded file is gone afterwards."""
        sent = _sent(event)
        name = Path(str(sent.get("name", ""))).name[:100] or "photo"

        def act(session: Session, _: object) -> None:
            path = Path(str(sent.get("path", ""))).resolve()
            if not (path.is_relative_to(self.uploads.resolve()) and path.is_file()):
                raise PhotoError(f"{name} did not arrive: open it again")
            try:
                session.open(path, name, aligned=aligned)
            finally:
                path.unlink(missing_ok=True)

        return self._step(request, act, None, panel=True)

    def prepare(self, request: gr.Request) -> None:
        """Get ready for the first moving slider, now that the visitor sees the photo."""
        with self.sessions.use(str(request.session_hash)) as session:
            self._try(session, session.prepare)  # the slider itself will say what is wrong

    def drag(self, request: gr.Request, event: gr.EventData) -> Message:
        """Draw while a slider moves; the step is not remembered."""
        with self.sessions.use(str(request.session_hash)) as session:
            edits = strengths(_sent(event))
            return self._try(session, lambda: session.draw(DRAFT_SIDE, edits), draft=True)[1]

    def strip(self, name: str | None, request: gr.Request) -> tuple[str, Message]:
        """Return the strip of a direction as HTML, and a message for the viewer."""
        with self.sessions.use(str(request.session_hash)) as session:
            picture, message = self._try(session, lambda: session.strip(name))
        if picture is None:
            return "", message
        alt = "The face with several strengths"
        return f'<img class="sfe-strip" alt="{alt}" src="{data_url(picture)}">', message

    def make(
        self, save: Callable[[Session, Path], Path]
    ) -> Callable[[gr.Request], tuple[str | None, Message]]:
        """Return the handler that gives the visitor a file, and the viewer a message.

        Args:
            save: writes it into a folder, and returns its path.
        """

        def handle(request: gr.Request) -> tuple[str | None, Message]:
            folder = self._folder(str(request.session_hash))

            def write(session: Session) -> str:
                shutil.rmtree(folder, ignore_errors=True)  # gradio has its own copy of the last
                folder.mkdir(parents=True)
                return str(save(session, folder))

            with self.sessions.use(str(request.session_hash)) as session:
                return self._try(session, lambda: write(session))

        return handle

    def _folder(self, visitor: str) -> Path:
        return self.downloads / "".join(letter for letter in visitor if letter.isalnum())[:64]

    def _try(
        self, session: Session, work: Callable[[], Any], *, draft: bool = False
    ) -> tuple[Any, Message]:
        """Return what work returns, None if it fails, and the message that shows it or says why."""
        try:
            made = work()
            drawing = made if isinstance(made, Drawing) else None
            return made, viewer_message(session, next(self._numbers), drawing, draft=draft)
        except Exception as error:  # noqa: BLE001
            return None, self._complaint(session, error)

    def _step(
        self, request: gr.Request, act: Act, sent: object, *, panel: bool, mask: bool = False
    ) -> list[Any]:
        """Let an action change the session; return values for the outputs of `page.py`."""
        with self.sessions.use(str(request.session_hash)) as session:
            before = session.settings, session.past, session.future
            drawing = None
            try:
                act(session, sent)
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
            subject: dict[str, Any]
            subject = {"photo": opened.name, "model": session.model, "aligned": opened.aligned}
            command = as_command(settings, **subject)
            python = as_python(settings, **subject, editor=type(session.editor).__name__)
        sliders, names = self._panel(session) if panel else (gr.skip(), gr.skip())
        return [
            sliders,
            settings.mask if panel or mask else gr.skip(),
            (settings.blend or "") if panel else gr.skip(),
            command,
            python,
            *(
                gr.Button(interactive=bool(can))
                for can in (session.past, session.future, settings.edits, opened, opened)
            ),
            names,
            gr.Dropdown(choices=models, value=session.model or None) if panel else gr.skip(),
        ]

    def _panel(self, session: Session) -> tuple[Any, Any]:
        """The sliders, and the same directions to choose from."""
        try:
            message = panel_message(session, next(self._numbers))
        except SfeError:  # there is no model: the viewer says so
            return gr.skip(), gr.Dropdown(choices=[])
        sliders = [slider for group in message["groups"] for slider in group["sliders"]]
        return message, gr.Dropdown(choices=[(each["label"], each["name"]) for each in sliders])

    def _complaint(self, session: Session, error: Exception) -> Message:
        """The viewer's message for an error."""
        if not isinstance(error, SfeError):
            logger.error("the page met a bug", exc_info=error)
        message = viewer_message(session, next(self._numbers), None)
        message["sentence"] = str(error) if isinstance(error, SfeError) else BUG
        return message


def strengths(sent: dict[str, Any]) -> dict[str, float]:
    """Return the edits that the sliders sent; `Session.change` checks them."""
    edits = sent.get("edits")
    return edits if isinstance(edits, dict) else {}


def paint(session: Session, sent: dict[str, Any]) -> None:
    """Take a painted mask; painting turns it on."""
    png = read_painted(str(sent.get("png", "")))
    session.change(painted=png, mask="painted" if png else "none")


def _sent(event: gr.EventData) -> dict[str, Any]:
    """What a part of the page sent: anything, as far as we know."""
    return event._data if isinstance(event._data, dict) else {}
