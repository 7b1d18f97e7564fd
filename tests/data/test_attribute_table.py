"""Attribute tables: CSV, CelebA's text, and tables that lie with images."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
import torch

from stylefeatureeditor.data.attribute_table import (
    AttributeTable,
    read_attribute_table,
    table_of,
)
from stylefeatureeditor.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

CSV = (
    "sharpness,file,Smiling,Male,age,race,maybe\n"
    "1.5,00/a.jpg,1,0,31,White,-1\n2.5,00/b.jpg,0,1,,Black,1\n3,00/c.jpg,1,,50,,0\n"
)
CELEBA = "2\nSmiling Male \n000001.jpg -1  1\n000002.jpg  1 -1\n"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(CSV)
    return path


def test_csv_columns_become_signs_or_stay_numbers(csv: Path):
    table = read_attribute_table(csv)
    assert table.names == ("00/a.jpg", "00/b.jpg", "00/c.jpg")
    assert table.attributes == ("sharpness", "Smiling", "Male", "age", "maybe")
    assert table.binary == ("Smiling", "Male", "maybe")
    assert table.column("Smiling").tolist() == [1, -1, 1]
    assert table.column("Male").tolist() == [-1, 1, 0]
    assert table.column("maybe").tolist() == [-1, 1, 0]
    torch.testing.assert_close(
        table.column("age"), torch.tensor([31, torch.nan, 50]), equal_nan=True
    )


def test_words_are_asked_for_one_by_one(csv: Path):
    table = read_attribute_table(csv, ["race=White", "age"])
    assert table.attributes == ("race=White", "age")
    assert table.column("race=White").tolist() == [1, -1, 0]


def test_celeba_text_with_its_two_layouts(tmp_path: Path):
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(CELEBA)
    table = read_attribute_table(path)
    assert (table.names, table.attributes) == (("000001.jpg", "000002.jpg"), ("Smiling", "Male"))
    assert table.values.tolist() == [[-1, 1], [1, -1]]
    path.write_text(CELEBA.replace("000001.jpg -1  1", "0.jpg -1 1"))
    assert read_attribute_table(path, ["Male"]).values.tolist() == [[1], [-1]]


def test_the_manifest_in_a_zip_is_a_table(tmp_path: Path):
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.csv", CSV)
        for name in ("00/a.jpg", "00/b.jpg", "00/c.jpg", "00/without_row.jpg"):
            archive.writestr(name, b"")
    table = read_attribute_table(path, ["Smiling"])
    assert table.names == ("00/a.jpg", "00/b.jpg", "00/c.jpg")
    assert table.values[:, 0].tolist() == [1, -1, 1]


def test_align_finds_rows_by_name_last_part_or_stem(csv: Path):
    table = read_attribute_table(csv, ["Smiling", "age"])
    images = ["x/c.jpg", "00/a.jpg", "other.jpg", "b.png"]
    aligned = table.align(images)
    assert aligned.names == tuple(images)
    assert aligned.column("Smiling").tolist() == [1, 1, 0, -1]
    assert torch.isnan(aligned.column("age")).tolist() == [False, False, True, True]


def test_align_does_not_guess_between_two_rows():
    table = table_of(["x/a.jpg", "y/a.jpg", "b.jpg"], [{"s": "1"}, {"s": "0"}, {"s": "1"}])
    assert table.align(["a.jpg", "y/a.jpg", "b.jpg"]).values[:, 0].tolist() == [0, -1, 1]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (["Smilin"], r"no column 'Smilin'; did you mean Smiling\?"),
        (["race"], "holds words; ask for one, like race=Black"),
        (["race=Whit"], r"no race is 'Whit' .* did you mean White\?"),
        (["rac=White"], r"no column 'rac'; did you mean race"),
    ],
)
def test_a_wrong_attribute_is_one_sentence(csv: Path, attributes: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        read_attribute_table(csv, attributes)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "", "is empty; its first line"),
        ("t.csv", "file,Smiling\n", "a header but no row"),
        ("t.csv", "file,Smiling\na,1\na,0\n", "every image .* once, but 'a' is repeated"),
        ("t.csv", "file,race\na,White\n", "no column of numbers"),
        ("t.txt", "Smiling Male\na 1 1\n", "should begin with the number of images"),
        ("t.txt", "1\nSmiling Male\na 1\n", "line 3 .* 2 values, got 1"),
    ],
)
def test_a_malformed_table_is_one_sentence(tmp_path: Path, name: str, text: str, message: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_attribute_table(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_no_overlap_and_missing_files_are_told(csv: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"named like 'z\.png', rows like '00/a\.jpg'"):
        read_attribute_table(csv).align(["z.png"])
    with pytest.raises(ConfigError, match="is not there"):
        read_attribute_table(tmp_path / "missing.csv")
    with pytest.raises(ConfigError, match="every attribute"):
        AttributeTable(("a",), ("x", "x"), torch.zeros(1, 2))
    with pytest.raises(ConfigError, match="no attribute 'Smile'; did you mean Smiling"):
        read_attribute_table(csv).select(["Smile"])


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_may_be_divided_by_commas_semicolons_or_tabs(mark, tmp_path):
    lines = [("file", "size", "note"), ("a.png", "1", "x"), ("b.png", "2", "y")]
    (tmp_path / "t.csv").write_text("\n".join(map(mark.join, lines)))
    assert read_attribute_table(tmp_path / "t.csv").column("size").tolist() == [1, 2]


@pytest.mark.parametrize("cell", ["inf", "-inf", "nan", "1_0"])
def test_words_that_python_takes_for_numbers_are_words(cell):
    rows = [{"x": "1", "y": cell}, {"x": "2", "y": "3"}]
    assert table_of(["a", "b"], rows).attributes == ("x",)


def test_aligning_many_columns_looks_at_each_once(monkeypatch):
    table = AttributeTable(("a",), ("x", "y"), torch.tensor([[1.0, 2.0]]))
    asked = []
    monkeypatch.setattr(AttributeTable, "binary", property(lambda _: asked.append(1) or ("x",)))
    assert table.align(["a", "b"]).values[1].nan_to_num(9).tolist() == [0, 9]
    assert len(asked) == 1
