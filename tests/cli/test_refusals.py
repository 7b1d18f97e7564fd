"""What needs no torch is refused before torch is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stylefeatureeditor.cli.refusals import TEXT_FILES, check_directions, check_mask, check_text
from stylefeatureeditor.editing.catalog import load_catalog
from stylefeatureeditor.editing.direction_names import FAMILIES
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import DependencyError, DirectionError, MaskError, WeightsError
from stylefeatureeditor.masks import released
from stylefeatureeditor.weights.sources import find_sources
from stylefeatureeditor.weights.styleclip_files import (
    CHANNELS,
    STATISTICS,
    TEMPLATES,
    TEXT_ENCODER,
)

PROGRAM = """
import sys
from stylefeatureeditor.cli.main import main
code = main(sys.argv[1:])
print(code, "torch" in sys.modules)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "downloads"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("edit", "{photo}", "-e", "smlie=1"), "did you mean smile?"),
        (("edit", "{photo}", "--grid", "smlie=-1:1:3"), "did you mean smile?"),
        (("edit", "{photo}", "-e", "smile=1e30"), "at most 10000 in size"),
        (("compare", "{photo}", "-e", "smile=1e30"), "at most 10000 in size"),
        (("edit", "gone.png", "-e", "smile=1"), "there is no file gone.png"),
        (("edit", __file__, "-e", "smile=1"), "is not a picture that can be read"),
        (("edit", "*.gone", "-e", "smile=1"), "no file is called like the pattern *.gone"),
        (("edit", "{photo}", "-e", "smile=1", "--mask", "gone.png"), "there is no file gone.png"),
        (("edit", "{photo}", "-e", "smile=1", "--mask", "hiar"), "needs a face parser"),
        (("edit", "{photo}", "--text", "a man=2"), "delta_i_c.npy"),
        (("edit", "{photo}", "-e", "smile=1", "--model", "facez"), "there is no model 'facez'"),
        (("edit", "{photo}", "-e", "smile=1", "-o", "gone/out.png"), "there is no folder gone"),
        (("invert", "gone.png", "-o", "out.png"), "there is no file gone.png"),
        (("invert", __file__, "-o", "out.png"), "is not a picture that can be read"),
        (("invert", "{photo}", "-o", "out.jpg"), "must end in .png"),
        (("invert", "{photo}", "-o", "out.png", "--model", "facez"), "there is no model 'facez'"),
        (("directions", "fit", "--model", "faces", "--pca", "2", "--sefa", "2"), "say how to find"),
    ],
)
def test_a_refusal_does_not_wait_for_torch(words, sentence, aligned):
    words = [word.format(photo=aligned) for word in words]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout.split() == ["2", "False"]
    assert sentence in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_names_are_those_that_the_model_knows(model):
    editor = Editor.from_pretrained(model, device="cpu")
    for entry in editor.directions.entries:
        check_directions(str(model), entry.names)
    check_directions(str(model), ["Grin "])
    for name in ("smiles", "pose2", ""):
        with pytest.raises(DirectionError) as early:
            check_directions(str(model), [name])
        with pytest.raises(DirectionError) as late:
            editor.directions.find(name)
        assert str(early.value) == str(late.value)


def test_published_names_count_for_a_model_of_their_family(model, tmp_path):
    for family in FAMILIES:
        (tmp_path / "config.json").write_text('{"model": {"catalog": "%s"}}' % family)  # noqa: UP031
        names = [name for entry in load_catalog(family).entries for name in entry.names]
        check_directions(str(tmp_path), names)
        with pytest.raises(DirectionError):
            check_directions(str(model), names)


def test_a_damaged_table_is_left_to_who_opens_the_model(tmp_path):
    (tmp_path / "config.json").write_text('{"model": 3}')
    (tmp_path / "directions.json").write_text('{"directions": [7, {"name": "smile"}]}')
    check_directions(str(tmp_path), ["smile"])


@pytest.mark.parametrize("parser", released.PARSERS)
def test_regions_are_those_of_the_parser_on_disk(parser, cache):
    with pytest.raises(MaskError, match=f"pull {parser}"):
        check_mask("hair")
    cache.mkdir(parents=True)
    (cache / find_sources(parser)[0].file_name).touch()
    for word in ("hair", "hair+skin", "foreground", "foreground:0.9", "face", "none"):
        check_mask(word)
    for word in ("foreground:2", "foreground:much"):
        with pytest.raises(MaskError, match="a number between 0 and 1"):
            check_mask(word)
    with pytest.raises(MaskError, match="no region 'hiar'"):
        check_mask("skin+hiar")


def test_all_that_text_lacks_is_named_at_once(model, cache, monkeypatch):
    assert set(TEXT_FILES) == {CHANNELS, STATISTICS, TEMPLATES, TEXT_ENCODER}
    monkeypatch.setattr("stylefeatureeditor.cli.refusals.find_spec", lambda _name: None)
    with pytest.raises(WeightsError) as lacks:
        check_text(str(model))
    for word in (*TEXT_FILES, "[text]", "pull styleclip", "a model of 1024 px", "has 32"):
        assert word in str(lacks.value)
    cache.mkdir(parents=True)
    for name in TEXT_FILES:
        (cache / name).touch()
    monkeypatch.setattr("stylefeatureeditor.cli.refusals.TEXT_SIZE", 32)
    with pytest.raises(DependencyError, match="needs transformers"):
        check_text(str(model))
    monkeypatch.setattr("stylefeatureeditor.cli.refusals.find_spec", lambda _name: object())
    check_text(str(model))
