"""Values on disk."""

from __future__ import annotations

import csv
import math
import sys

import numpy as np
import pytest
import torch

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.rows import FeatureFile, Row, RowFile, StoredFeatures


def test_numbers_come_back_to_the_last_bit(tmp_path):
    value = 0.1 + 0.2
    file = RowFile(tmp_path, ["a", "b"])
    file.append([Row(0, 'x,"y"\u00e9.png', {"a": value, "b": math.inf})])
    row = file.read()[0]
    assert row == Row(0, 'x,"y"\u00e9.png', {"a": value, "b": math.inf})


def test_every_process_reads_what_all_have_written(tmp_path):
    for rank in range(3):
        RowFile(tmp_path, ["a"], rank).append([Row(rank, str(rank), {"a": float(rank)})])
    assert sorted(RowFile(tmp_path, ["a"]).read()) == [0, 1, 2]


def test_rows_go_on_after_a_broken_line(tmp_path):
    file = RowFile(tmp_path, ["a"])
    file.append([Row(0, "x", {"a": 1.0})])
    with file.path.open("ab") as raw:
        raw.write(b"1,y,0.")
    file.append([Row(2, "z", {"a": 2.0})])
    assert sorted(file.read()) == [0, 2]


def test_other_columns_are_refused(tmp_path):
    RowFile(tmp_path, ["a"]).append([Row(0, "x", {"a": 1.0})])
    with pytest.raises(ConfigError, match="choose another folder"):
        RowFile(tmp_path, ["b"]).read()


def test_the_finished_table_is_in_order_and_keeps_the_errors(tmp_path):
    file = RowFile(tmp_path, ["a"])
    file.append([Row(2, "z", {"a": 3.0}), Row(0, "x", {"a": 1.0}), Row(1, "y", {}, "torn\nin two")])
    file.finish([0, 1, 2])
    with (tmp_path / "rows.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["name"] for row in rows] == ["x", "y", "z"]
    assert rows[1] == {"index": "1", "name": "y", "a": "", "error": "torn in two"}
    table = file.table([0, 1, 2])
    assert table.columns["a"].tolist() == [1.0, 3.0]
    assert table.errors == ("y: torn in two",)
    assert table.mean("a").value == 2.0
    assert table.mean("unknown") is None


def test_without_pyarrow_there_is_no_parquet_and_no_complaint(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = RowFile(tmp_path, ["a"])
    file.append([Row(0, "x", {"a": 1.0})])
    file.finish([0])
    assert not (tmp_path / "rows.parquet").exists()


def test_parquet_is_written_where_pyarrow_is_installed(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    file = RowFile(tmp_path, ["a"])
    file.append([Row(0, "x", {"a": 1.5})])
    file.finish([0])
    assert parquet.read_table(tmp_path / "rows.parquet").to_pydict() == {
        "index": [0],
        "name": ["x"],
        "a": [1.5],
    }


def test_features_lie_at_their_images_places(tmp_path):
    file = FeatureFile(tmp_path / "f", 5, 2)
    file.write([3, 1], torch.tensor([[3.0, 30.0], [1.0, 10.0]]))
    again = FeatureFile(tmp_path / "f", 5, 2)
    assert again.read(np.array([1, 3, 0])).tolist() == [[1, 10], [3, 30], [0, 0]]
    some = StoredFeatures(again, np.array([0, 1, 3]))
    assert some.take(np.array([2])).tolist() == [[3, 30]]
    assert torch.cat(list(some.chunks())).shape == (3, 2)
