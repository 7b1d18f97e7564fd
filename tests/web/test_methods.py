"""The page with a compared method: chosen like any model."""

from __future__ import annotations

import numpy as np
import pytest

from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.loaded_models import Models, model_label
from stylefeatureeditor.web.session import Session
from stylefeatureeditor.web.settings import as_command, as_python
from tiny_methods import tiny_method_editor


@pytest.fixture
def psp(tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path))
    tiny_method_editor("psp").save_pretrained(tmp_path / "models" / "psp")
    return "psp"


def test_a_method_on_this_machine_is_offered_and_edits_the_open_photo(model, psp, portrait):
    models = Models([model], "cpu")
    assert [model_label(name) for name in models.names()] == ["tiny", "psp"]
    session = Session(models, Limits())
    session.open(portrait.read_bytes(), "portrait.png")
    session.choose_model(psp)
    session.change(edits={"smile": 1.0}, mask="face")
    drawn = session.draw(200)
    assert drawn.result.crop.size == (64, 64)
    assert not np.array_equal(np.asarray(drawn.before), np.asarray(drawn.after))
    assert session.strip("smile").width > 6 * 64
    assert session.show_direction("smile").size == (96, 96)
    assert session.bytes() > 0


def test_what_the_page_shows_as_code_opens_the_method(psp, portrait):
    session = Session(Models([], "cpu"), Limits(), psp)
    session.open(portrait.read_bytes(), "portrait.png")
    session.change(edits={"smile": 1.0})
    subject = {"photo": "portrait.png", "model": psp}
    assert "sfe.Editor.from_pretrained('psp')" in as_python(session.settings, **subject)
    assert "--model psp" in as_command(session.settings, **subject)
    assert session.editor.method.name == "pSp"
    assert session.saved().faces[1].edits == {"smile": 1.0}  # a session fits every method
