"""Folders of compared methods: strict, and told apart from our own."""

from __future__ import annotations

import json

import pytest

from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.methods.folder import (
    NETWORK_FILE,
    find_method,
    load_any_config,
    load_method,
    local_methods,
    method_of,
)
from stylefeatureeditor.weights.checkpoint import load_model
from stylefeatureeditor.weights.storage import load_tensors, save_tensors
from tiny import tiny_editor
from tiny_methods import tiny_method_editor


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path))
    return tmp_path / "models"


@pytest.fixture
def folder(models):
    tiny_method_editor("psp").save_pretrained(models / "mine")
    return models / "mine"


def test_a_folder_says_its_method(folder, models):
    tiny_editor().save_pretrained(models / "ours")
    (models / "broken").mkdir()
    (models / "broken" / "config.json").write_text("{")
    assert method_of(folder) == "psp"
    assert method_of(models / "ours") is None
    assert local_methods() == {"mine": "psp"}
    assert load_any_config(folder).method == "psp"
    assert load_any_config(models / "ours").feature_layer == 3


def test_a_method_is_found_by_its_word_and_its_own_name_comes_first(folder, models):
    assert find_method("psp") == folder
    tiny_method_editor("psp").save_pretrained(models / "psp")
    assert find_method("psp") == models / "psp"
    with pytest.raises(WeightsError, match="sfe models pull hfgi"):
        find_method("hfgi")
    with pytest.raises(ConfigError, match="there is no method 'x'"):
        find_method("x")


def test_what_needs_our_own_networks_says_what_a_folder_holds(folder):
    with pytest.raises(WeightsError, match="holds the method psp: this needs"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": "nobody"}, "there is no method 'nobody'"),
        ({"format": 7}, "expected format 1"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"network": {"generator": {"size": 60}}}, "size must be a power of two"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder, change, sentence):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(WeightsError, match=sentence):
        load_method(folder)


def test_a_missing_tensor_is_refused(folder):
    tensors, header = load_tensors(folder / NETWORK_FILE)
    tensors.pop("generator.constant")
    save_tensors(folder / NETWORK_FILE, dict(tensors), header)
    with pytest.raises(WeightsError, match="1 tensors are missing"):
        load_method(folder)
