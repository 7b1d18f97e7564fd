"""Models on this machine, by name and by path."""

import pytest

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.weights import local_models
from stylefeatureeditor.weights.local_models import (
    builtin_folder,
    files_folder,
    find_model,
    pulled_folder,
)


def make(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def builtin(tmp_path, monkeypatch):
    """An empty place for built-in models."""
    folder = tmp_path / "builtin"
    monkeypatch.setattr(local_models, "builtin_folder", lambda: folder)
    return folder


@pytest.mark.usefixtures("builtin")
def test_a_pulled_model_is_found_by_name():
    folder = make(pulled_folder() / "ffhq-256")
    (pulled_folder() / "half-pulled").mkdir()
    assert local_models.local_models() == {"ffhq-256": folder}
    assert find_model("ffhq-256") == folder


def test_a_built_in_model_comes_before_a_pulled_one(builtin):
    make(pulled_folder() / "faces")
    other = make(pulled_folder() / "other")
    faces = make(builtin / "faces")
    assert find_model("faces") == faces
    assert local_models.local_models() == {"faces": faces, "other": other}


def test_a_folder_is_found_by_path_and_before_a_name(builtin, tmp_path, monkeypatch):
    make(builtin / "faces")
    own = make(tmp_path / "place" / "faces")
    assert find_model(own) == own
    assert find_model(str(own)) == own
    monkeypatch.chdir(tmp_path / "place")
    assert find_model("faces").resolve() == own


def test_a_misspelt_name_is_met_with_the_nearest_and_with_what_there_is(builtin):
    make(builtin / "faces")
    make(pulled_folder() / "cars")
    with pytest.raises(
        WeightsError, match=r"no model 'face': did you mean faces\? on this machine: cars, faces"
    ):
        find_model("face")


@pytest.mark.usefixtures("builtin")
def test_a_name_on_an_empty_machine_says_how_to_get_one():
    with pytest.raises(WeightsError, match="on this machine: none; `sfe models pull`"):
        find_model("zebra")


@pytest.mark.usefixtures("builtin")
def test_a_folder_without_a_model_and_a_path_to_nothing_are_refused(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.pt").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "empty", "empty", tmp_path / "none", "./none", "weights.pt/"):
        with pytest.raises(WeightsError, match="is not a model folder"):
            find_model(place)


def test_models_and_files_lie_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path))
    assert pulled_folder() == tmp_path / "models"
    assert files_folder() == tmp_path / "downloads"
    assert builtin_folder().name == "builtin"
    assert builtin_folder().parent.name == "stylefeatureeditor"
