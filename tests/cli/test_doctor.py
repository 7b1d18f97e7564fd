from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from stylefeatureeditor.cli import doctor


def test_tells_versions_device_and_cache(sfe, tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path / "cache"))
    ran = sfe("doctor", "--json")
    content = json.loads(ran.out)
    assert ran.code == 0
    assert content["versions"]["python"] == platform.python_version()
    installed = content["versions"]["torch"]  # "+cpu" or "+cu130" may be in one of the two alone
    assert installed.partition("+")[0] == torch.__version__.partition("+")[0]
    assert content["machine"]["threads"] == torch.get_num_threads()
    assert content["machine"]["cache"] == str(tmp_path / "cache")


def test_names_the_command_for_what_is_missing(sfe, monkeypatch):
    def version(name):
        if "dlib" in name:
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    out = sfe("doctor").out
    assert 'pip install "stylefeatureeditor[faces]"' in out
    assert "sfe models pull ffhq" in out
    assert "[heif]" not in out


@pytest.mark.parametrize("name", ["dlib-bin", "dlib"])
def test_takes_either_distribution_of_dlib(name, sfe, monkeypatch):
    def version(asked):
        if "dlib" in asked and asked != name:
            raise PackageNotFoundError(asked)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    content = json.loads(sfe("doctor", "--json").out)
    assert content["versions"][name] == "1.0"
    assert "finding faces" not in {item["what"] for item in content["missing"]}


def test_lists_the_models_there_are(sfe, tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path))
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "models" / "mine" / "config.json").write_text("{}")
    content = json.loads(sfe("doctor", "--json").out)
    assert content["models"] == {"mine": str(tmp_path / "models" / "mine")}
    assert "a model" not in {item["what"] for item in content["missing"]}
