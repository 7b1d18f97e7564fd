import sys
import threading
from contextlib import contextmanager

import pytest

from stylefeatureeditor.web import serve


@pytest.fixture
def served(monkeypatch):
    """Serve nothing, and press Ctrl-C at once; gives the options that came."""
    asked = {}

    @contextmanager
    def serving(models, **options):
        asked.update(options, models=models.chosen)
        yield "http://127.0.0.1:7860"
        asked["closed"] = True

    def wait(_self):
        raise KeyboardInterrupt

    monkeypatch.setattr(serve, "serving", serving)
    monkeypatch.setattr(threading.Event, "wait", wait)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return asked


def test_the_page_is_on_this_machine_alone_unless_told_otherwise(sfe, served, model):
    ran = sfe("app", "--model", model)
    assert (ran.code, ran.err) == (130, "sfe: interrupted\n")
    assert ran.out.startswith("http://127.0.0.1:7860")
    assert served["host"] == "127.0.0.1"
    assert served["models"] == (str(model),)


def test_another_host_is_warned_of(sfe, served):
    ran = sfe("app", "--host", "0.0.0.0", "--port", "8000")
    assert "warning: the page listens on 0.0.0.0" in ran.err
    assert (served["host"], served["port"]) == ("0.0.0.0", 8000)


def test_a_model_that_is_not_there_is_told_before_the_page_starts(sfe, served):
    ran = sfe("app", "--model", "nowhere")
    assert ran.code == 2
    assert "no model 'nowhere'" in ran.err
    assert not served


@pytest.mark.parametrize("package", ["uvicorn", "starlette.applications"])
def test_without_a_server_the_way_to_get_it_is_told(sfe, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    ran = sfe("app")
    assert ran.code == 2
    assert 'pip install "stylefeatureeditor[app]"' in ran.err
