import json
import sys
import urllib.request

import pytest

from stylefeatureeditor.cli import serve


def test_a_model_is_served_until_the_program_is_asked_to_end(sfe, model, monkeypatch):
    told = []

    def ask(what, host, server):
        with server as address, urllib.request.urlopen(f"{address}/health", timeout=20) as answer:
            told.append((what, host, json.load(answer)["model"]))
        return 0

    monkeypatch.setattr(serve, "serve_until_stopped", ask)
    assert sfe("serve", "--model", model, "--port", "0").code == 0
    assert told == [("the service", "127.0.0.1", str(model))]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "nowhere"], "no model 'nowhere'"),
        (["--queue", "0"], "expected a whole number of at least 1, got '0'"),
        (["--port", "99999"], "cannot listen on 127.0.0.1 port 99999"),
    ],
)
def test_what_cannot_be_served_is_told(sfe, model, words, sentence):
    ran = sfe("serve", "--model", model, *words)
    assert ran.code == 2
    assert sentence in ran.err


def test_another_host_is_warned_of(sfe, model):
    ran = sfe("serve", "--model", model, "--host", "192.0.2.1")
    assert "warning: the service listens on 192.0.2.1" in ran.err
    assert ran.code == 2


def test_without_a_server_the_way_to_get_it_is_told(sfe, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ran = sfe("serve", "--model", model)
    assert ran.code == 2
    assert 'pip install "stylefeatureeditor[app]"' in ran.err
