"""`sfe export`, and `sfe edit` on what it made; the slow part, capturing, is the backends' test."""

from __future__ import annotations

import errno
import shutil

import numpy as np
import pytest
import torch

from faulty import visible
from stylefeatureeditor.photo.image import read_photo
from stylefeatureeditor.runtimes import export
from stylefeatureeditor.runtimes.export import MANIFEST, read_manifest
from stylefeatureeditor.weights.checkpoint import load_config, save_model
from tiny import tiny_editor, tiny_model

SMILE = ("-e", "smile=2")


@pytest.fixture
def quick(monkeypatch):
    """Export files of no content."""
    monkeypatch.setattr(export, "captured", lambda graph: graph.name)
    monkeypatch.setattr(torch.export, "save", lambda name, path: path.write_text(name))


@pytest.mark.usefixtures("quick")
def test_graphs_lie_in_the_model_folder(model, sfe, tmp_path):
    model = shutil.copytree(model, tmp_path / "model")
    ran = sfe("export", model, "--format", "pt2")
    assert (ran.code, ran.out, ran.err) == (0, f"{model / 'pt2'}\n", "")
    graphs = read_manifest(model / "pt2").graphs
    assert {path.name for path in (model / "pt2").iterdir()} == {
        MANIFEST,
        *(f"{name}.pt2" for name in graphs),
    }
    again = sfe("export", model, "--format", "pt2")
    assert again.code == 2
    assert "--overwrite" in again.err
    assert sfe("export", model, "--format", "pt2", "--overwrite").code == 0


@pytest.mark.usefixtures("quick")
def test_a_failed_export_leaves_the_old_one_and_a_first_one_nothing(sfe, tmp_path, monkeypatch):
    model = tmp_path / "model"
    save_model(tiny_model(), model)
    words = ("export", model, "--format", "pt2")
    assert sfe(*words).code == 0
    before = visible(model)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch.export, "save", full)
    ran = sfe(*words, "--overwrite")
    assert (ran.code, "No space left on device" in ran.err) == (2, True)
    assert sfe(*words, "-o", tmp_path / "other").code == 2
    assert visible(model) == before
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("quick")
def test_another_folder_becomes_a_model_without_weights(model, sfe, tmp_path):
    ran = sfe("export", model, "--format", "pt2", "-o", tmp_path / "graphs")
    assert ran.code == 0
    assert load_config(tmp_path / "graphs") == load_config(model)
    assert not list((tmp_path / "graphs").glob("generator*"))
    named = sfe("directions", "list", "--model", tmp_path / "graphs")
    assert "smile" in named.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--format", "onnx", "--precision", "int8"), "int8 is made for openvino"),
        (("--format", "openvino", "--precision", "int8"), "--photos"),
        (("--format", "onnx", "--photos", "a.png"), "--precision int8"),
        (("--format", "tflite"), "invalid choice"),
    ],
)
def test_words_that_do_not_go_together_are_refused(model, sfe, words, sentence):
    ran = sfe("export", model, *words)
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_an_edit_in_bfloat16_is_near_the_one_in_float32(portrait, model, sfe):
    out, low = portrait.with_name("out.png"), portrait.with_name("low.png")
    assert sfe("edit", portrait, *SMILE, "-o", out, "--model", model).code == 0
    words = ("--precision", "bfloat16", "--device", "cpu")
    assert sfe("edit", portrait, *SMILE, "-o", low, "--model", model, *words).code == 0
    difference = np.abs(read_photo(out).pixels.astype(int) - read_photo(low).pixels)
    assert difference.max() > 0
    assert difference.mean() < 1


def test_a_backend_without_graphs_says_how_to_make_them(portrait, tmp_path, sfe):
    tiny_editor().save_pretrained(tmp_path / "bare")
    ran = sfe("edit", portrait, *SMILE, "--model", tmp_path / "bare", "--backend", "onnx")
    assert ran.code == 2
    assert "sfe export" in ran.err


def test_another_method_has_no_backend(portrait, model, sfe):
    words = ("--method", "e4e", "--precision", "bfloat16")
    ran = sfe("edit", portrait, *SMILE, "--model", model, *words)
    assert ran.code == 2
    assert "backend torch in float32" in ran.err
