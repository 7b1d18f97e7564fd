"""What the page is told, with a stand-in for gradio where it is not installed."""

from __future__ import annotations

import importlib
import sys
import types
from dataclasses import dataclass
from typing import Any, get_type_hints

import pytest

from stylefeatureeditor.web.opened import Limits
from stylefeatureeditor.web.session import Session
from stylefeatureeditor.web.sessions import Sessions


@dataclass
class Request:
    session_hash: str = "visitor"


@dataclass
class EventData:
    _data: Any = None


@pytest.fixture
def module(monkeypatch):
    """The handlers, with the little of gradio that they name."""
    gradio = types.ModuleType("gradio")
    gradio.Request, gradio.EventData, gradio.skip = Request, EventData, lambda: "as it was"
    gradio.Button = gradio.Dropdown = lambda **values: values
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    monkeypatch.delitem(sys.modules, "stylefeatureeditor.web.handlers", raising=False)
    yield importlib.import_module("stylefeatureeditor.web.handlers")
    sys.modules.pop("stylefeatureeditor.web.handlers")


@pytest.fixture
def handlers(module, both, tmp_path, portrait):
    made = module.Handlers(Sessions(both, Limits()), tmp_path, tmp_path / "downloads")
    sent = EventData({"path": str(portrait), "name": "me.png"})
    viewer, panel, *_ = made.open_file(False, Request(), sent)
    assert (viewer["sentence"], viewer["name"], panel["ready"]) == ("", "me.png", True)
    assert not portrait.exists()  # what was uploaded does not stay
    return made


def test_a_step_changes_the_session_and_a_mistake_changes_nothing(handlers, module):
    settle = handlers.step(lambda session, sent: session.change(edits=module.strengths(sent)))
    viewer, panel, mask, _, command, python, undo, *_ = settle(
        Request(), EventData({"edits": {"smile": 2}})
    )
    assert (viewer["sentence"], panel, mask) == ("", "as it was", "as it was")
    assert "-e smile=2" in command
    assert "Editor.from_pretrained" in python
    assert undo == {"interactive": True}
    viewer, panel, *_ = settle(Request(), EventData({"edits": {"smile": "much"}}))
    assert viewer["sentence"] == "smile: a strength must be a number"
    assert panel["edits"] == {"smile": 2.0}
    viewer, panel, *_ = handlers.step(lambda session, _: session.undo(), panel=True)(
        Request(), EventData()
    )
    assert (viewer["sentence"], panel["edits"]) == ("", {})


def test_a_control_sends_its_value_and_painting_turns_the_mask_on(handlers, module):
    viewer, *_ = handlers.choose(lambda session, word: session.change(mask=word))("face", Request())
    assert viewer["mask"] == "face"
    viewer, _, mask, *_ = handlers.step(module.paint, mask=True)(Request(), EventData({"png": ""}))
    assert (viewer["mask"], mask) == ("none", "none")


def test_drafts_strips_and_files(handlers):
    drawn = handlers.drag(Request(), EventData({"edits": {"age": 1.0}}))
    assert drawn["draft"]
    assert drawn["after"].startswith("data:image/jpeg")
    html, message = handlers.strip("smile", Request())
    assert 'src="data:image/jpeg' in html
    assert message["sentence"] == ""
    assert handlers.strip(None, Request())[0] == ""
    path, message = handlers.make(Session.save_photo)(Request())
    assert path.endswith("me_edited.png")
    assert message["sentence"] == ""
    path, message = handlers.make(Session.save_mask)(Request())
    assert path is None
    assert "nothing is painted" in message["sentence"]
    handlers.close(Request())
    assert not (handlers.downloads / "visitor").exists()


def test_a_bug_is_a_sentence_too(handlers, module, caplog):
    def broken(_session, _sent):
        raise ZeroDivisionError

    viewer, *_ = handlers.step(broken)(Request(), EventData())
    assert viewer["sentence"] == module.BUG
    assert "ZeroDivisionError" in caplog.text
    handlers.prepare(Request())


def test_a_file_outside_the_uploads_is_not_opened(handlers, tmp_path):
    sent = EventData({"path": str(tmp_path.parent), "name": "../me.png"})
    viewer, *_ = handlers.open_file(False, Request(), sent)
    assert viewer["sentence"] == "me.png did not arrive: open it again"


def test_gradio_can_read_what_the_handlers_ask_for(handlers):
    """A parameter gets a request or an event by its type; gradio must be able to read that."""
    made = (
        handlers.step(lambda *_: None),
        handlers.choose(lambda *_: None),
        handlers.make(Session.save_photo),
    )
    for handler in (*made, handlers.drag, handlers.strip, handlers.load, handlers.open_file):
        assert Request in get_type_hints(handler).values()
