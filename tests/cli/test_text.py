"""`sfe edit --text`: edits in words, with a text encoder that needs no package."""

from __future__ import annotations

import pytest
import torch

from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.editor import Editor
from tiny import WIDTH


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def asked(monkeypatch):
    """Make every prompt one linear direction; return the prompts."""
    prompts = []

    def direction(_editor, target, **how):
        prompts.append((how["neutral"], target))
        how.pop("neutral")
        assert how in ({"beta": None, "by": "styleclip"}, {"beta": 0.1, "by": "deltaedit"})
        return EditDirection.linear(torch.ones(WIDTH), target)

    monkeypatch.setattr(Editor, "text_direction", direction)
    monkeypatch.setattr("stylefeatureeditor.cli.edit.check_text", lambda _model, _by: None)
    return prompts


def test_words_edit_together_with_directions(aligned, model, sfe, asked, tmp_path):
    words = ("edit", aligned, "--aligned", "--model", model, "-e", "smile=1")
    outputs = [tmp_path / name for name in ("both.png", "smile.png")]
    prompts = ("--text", "a face = old=5", "--text", "a man > a blond man=-2")
    assert sfe(*words, *prompts, "-o", outputs[0]).code == 0
    assert sfe(*words, "-o", outputs[1]).code == 0
    assert asked == [("a face", "a face = old"), ("a man", "a blond man")]
    assert outputs[0].read_bytes() != outputs[1].read_bytes()


def test_words_alone_are_enough_and_hold_for_a_whole_grid(aligned, model, sfe, asked, tmp_path):
    words = ("edit", aligned, "--aligned", "--model", model, "--text", "a smiling face=5", "-o")
    assert sfe(*words, tmp_path / "out.png").code == 0
    assert sfe(*words, tmp_path / "grid.png", "--grid", "smile=-1:1:2").code == 0
    by = ("--text-by", "deltaedit", "--text-threshold", "0.1")
    assert sfe(*words, tmp_path / "delta.png", *by).code == 0
    assert asked == [("a face", "a smiling face")] * 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--text", "a smiling face"), "as in 'a smiling face=5'"),
        (("--text", "=5"), "as in 'a smiling face=5'"),
        (("--text", "a man >=5"), "as in 'a smiling face=5'"),
        (("--text", "a=1", "--text", "a=2"), "a face > a is given twice"),
        (("--text", "a smiling face=5"), "`sfe models pull styleclip`"),
        (("--text", "a=5", "--text-by", "deltaedit"), "delta_mapper.pt, fs3.npy"),
    ],
)
def test_mistakes_are_one_sentence(words, sentence, aligned, model, sfe, tmp_path):
    out = tmp_path / "out.png"
    ran = sfe("edit", aligned, "--aligned", "--model", model, *words, "-o", out)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
    assert not out.exists()
