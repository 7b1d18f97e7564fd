"""`sfe evaluate`, from the command line to the report."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from stylefeatureeditor.cli.main import main
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from tiny import SIZE, tiny_editor, tiny_photos
from toy_methods import MemoryPhotos, write_photos

NAMES = [f"{i}.png" for i in range(6)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, photos with a table, and nothing downloaded."""
    monkeypatch.setenv("SFE_CACHE", str(tmp_path / "cache"))
    tiny_editor().save_pretrained(tmp_path / "model")
    write_photos(tmp_path / "photos", MemoryPhotos(tiny_photos(6), NAMES))
    with (tmp_path / "photos" / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "Smiling", "split"])
        writer.writerows([name, i % 2, "test"] for i, name in enumerate(NAMES))
    return tmp_path


def run(place, *words: str) -> int:
    model = ["--model", str(place / "model"), "--device", "cpu", "-o", str(place / "out")]
    return main(["evaluate", *words, *model])


def test_inversion_writes_the_report_and_names_what_is_left_out(place, capsys):
    code = run(place, "inversion", str(place / "photos"), "--method", "e4e", "--limit", "4")
    output = capsys.readouterr()
    assert code == 0
    assert "| e4e | run here | 4 |" in output.out
    assert "LPIPS is left out, because lpips_alex.pth and " in output.err
    assert sorted(file.suffix for file in (place / "out").glob("report.*")) == [
        ".html",
        ".json",
        ".md",
        ".tex",
    ]


def test_editing_splits_by_the_table_beside_the_photos(place, capsys):
    assert run(place, "editing", str(place / "photos"), "--edit", "smile=-1", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert row["images"] == 3
    assert row["values"]["seconds"]["value"] > 0


def test_compare_takes_methods_and_folders(place, capsys):
    words = ("compare", "e4e", f"theirs={place / 'photos'}", "--data", str(place / "photos"))
    assert run(place, *words, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [row["method"] for row in rows] == ["e4e", "theirs"]
    assert rows[1]["values"]["l2"]["value"] == 0


def test_metrics_are_chosen_by_name(place, capsys):
    words = ("inversion", str(place / "photos"), "--method", "e4e", "--json")
    assert run(place, *words, "--metrics", "l2", "ssim") == 0
    shown = capsys.readouterr()
    (row,) = json.loads(shown.out)["results"]
    assert set(row["values"]) == {"l2", "ssim", "seconds_invert"}
    assert "left out" not in shown.err  # what is not asked for is not missed


def test_consistency_is_measured_where_it_is_named(place, capsys):
    words = ("editing", str(place / "photos"), "--edit", "smile=-1", "--json", "--metrics", "lec")
    assert run(place, *words) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    (lec,) = [name for name in row["values"] if name.endswith("lec")]
    assert row["values"][lec]["value"] > 0


def test_photos_that_were_edited_elsewhere_need_no_method(place, capsys):
    config = AttributeClassifierConfig(
        attributes=("Smiling",), size=SIZE, channels=(4, 4, 6, 6), depths=(1, 1, 1, 1)
    )
    AttributeClassifier(config).save(place / "judge.safetensors")
    edited = place / "edited"
    edited.mkdir()
    for name in NAMES[1::2]:  # those with a smile
        shutil.copy(place / "photos" / name, edited)
    words = ("editing", str(place / "photos"), "--images", f"theirs={edited}", "--size", str(SIZE))
    judged = ("--classifier", str(place / "judge.safetensors"), "--json")
    assert run(place, *words, "--edit", "smile=-", *judged) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert (row["method"], row["images"]) == ("theirs", 3)
    assert row["values"]["smile- fid_attributes"]["value"] > 0
    assert run(place, *words, "--edit", "smile=+", *judged) == 2
    assert "no image for 3 of the 3 photos" in capsys.readouterr().err


def test_steps_may_be_given_by_method(place, capsys):
    methods = ("--method", "w+", "--method", "pti")
    words = ("inversion", str(place / "photos"), *methods, "--limit", "2")
    assert run(place, *words, "--steps", "2", "--steps", "pti=1", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [row["method"] for row in rows] == ["W+ optimisation, 2 steps", "PTI, 1 + 1 steps"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("inversion", "photos", "--steps", "e4e=3"), "only w+ and pti take steps"),
        (("inversion", "photos", "--steps", "0"), "at least 1, got '0'"),
        (("editing", "photos"), "say which edits"),
        (("editing", "photos", "--edit", "smile"), "expected DIRECTION=STRENGTH"),
        (("editing", "photos", "--edit", "age=1"), "has no 'Young'"),
        (("inversion", "photos", "--method", "pspp"), "there is no method 'pspp'"),
        (("inversion", "photos", "--method", "psp"), "does not hold the method psp"),
        (("inversion", "photos", "--where", "split"), "expected COLUMN=RULE"),
        (("inversion", "photos", "--where", "split=train"), "meets"),
        (("compare", "a=nowhere", "--data", "photos", "--size", "32"), "nowhere is not there"),
        (("compare", "a=photos", "a=photos", "--data", "photos"), "two entries are called a"),
        (("compare", "a=photos", "--data", "photos", "--size", "16"), "measured at 16 x 16"),
        (("compare", "a=photos", "--data", "photos", "-e", "smile=1"), "all entries are folders"),
        (("inversion", "photos", "--metrics", "l3"), "l3 cannot be measured here: there are l2,"),
        (("inversion", "photos", "--metrics", "lpips"), "lpips cannot be measured here"),
        (("inversion", "photos", "--metrics", "lec"), "lec is a metric of edits"),
        (
            ("editing", "photos", "--images", "photos", "--method", "e4e", "-e", "smile=1"),
            "leave --method out",
        ),
        (
            ("editing", "photos", "--images", "photos", "-e", "pose=1", "--size", "32"),
            "which photos",
        ),
    ],
)
def test_a_mistake_is_one_sentence(place, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(place)
    assert run(place, *words) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
