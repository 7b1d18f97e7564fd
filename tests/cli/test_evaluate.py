"""`sfe evaluate`, from the command line to the report."""

from __future__ import annotations

import csv
import json

import pytest

from stylefeatureeditor.cli.main import main
from tiny import tiny_editor, tiny_photos
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
    ],
)
def test_a_mistake_is_one_sentence(place, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(place)
    assert run(place, *words) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
