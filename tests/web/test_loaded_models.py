import pytest
import torch

from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.web import loaded_models as web_models
from stylefeatureeditor.web.loaded_models import (
    Models,
    model_label,
    published_models,
    pull_model,
    usable_groups,
)
from tiny import WIDTH, tiny_editor


def test_the_first_model_named_is_where_the_page_starts(both, model, other_model):
    assert both.names()[:2] == [model, other_model]
    assert both.first() == model
    assert model_label(model) == "tiny"


def test_a_model_that_is_not_there_is_refused_at_once():
    with pytest.raises(WeightsError, match="no model"):
        Models(["nowhere"])


def test_only_models_of_the_list_are_opened(model, other_model):
    with pytest.raises(WeightsError, match="choose one of the list"):
        Models([model], "cpu").editor(other_model)


def test_a_page_without_models_says_how_to_get_one():
    with pytest.raises(WeightsError, match="published one"):
        Models().editor("")


def test_no_more_models_than_that_are_kept(model, other_model, monkeypatch):
    monkeypatch.setattr(web_models, "LOADED", 1)
    few = Models([model, other_model], "cpu")
    first = few.editor(model)
    assert few.editor(model) is first
    few.editor(other_model)
    assert few.editor(model) is not first


def test_directions_whose_file_is_missing_are_left_out():
    known = CatalogEntry(
        name="here", kind="linear", useful_range=(-1, 1), tensors={"vector": torch.ones(WIDTH)}
    )
    away = CatalogEntry(
        name="away", kind="linear", useful_range=(-1, 1), file="away.pt", group="hair"
    )
    groups = usable_groups(tiny_editor(directions=Catalog((known, away))))
    assert {heading: [e.name for e in entries] for heading, entries in groups.items()} == {
        "own": ["here"]
    }


def test_a_published_model_is_offered_with_size_and_licence():
    terms = published_models()["ffhq"]
    assert "10 files, size not stated" in terms
    assert "NVIDIA Source Code License" in terms


def test_nothing_else_can_be_pulled():
    with pytest.raises(WeightsError, match="no model called"):
        pull_model("../secrets", lambda *_: None)
