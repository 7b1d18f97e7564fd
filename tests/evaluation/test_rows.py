"""Values on disk."""

from __future__ import annotations

import csv
import math
import sys

import numpy as np
import pytest
import torch

from stylefeatureeditor.evaluation.rows import (
    Features,
    Row,
    append_rows,
    as_table,
    read_rows,
    save_table,
)


def test_numbers_come_back_to_the_last_bit(tmp_path):
    row = Row(0, 'x,"y"\n\u00e9.png', {"a": 0.1 + 0.2, "b": math.inf})
    append_rows(tmp_path / "rows-0.jsonl", [row])
    assert read_rows(tmp_path) == {0: row}


def test_every_process_reads_what_all_have_written(tmp_path):
    for rank in range(3):
        append_rows(tmp_path / f"rows-{rank}.jsonl", [Row(rank, str(rank), {"a": float(rank)})])
    assert sorted(read_rows(tmp_path)) == [0, 1, 2]


def test_rows_go_on_after_a_line_that_was_cut_anywhere(tmp_path):
    path = tmp_path / "rows-0.jsonl"
    append_rows(path, [Row(0, "x", {"a": 1.0})])
    first = path.read_bytes()
    append_rows(path, [Row(1, "y", {"a": 2.0}, "torn")])
    second = path.read_bytes()[len(first) :]
    for length in range(len(second) - 2):  # without its last brace and newline
        path.write_bytes(first + second[:length])
        append_rows(path, [Row(2, "z", {"a": 3.0})])
        assert sorted(read_rows(tmp_path)) == [0, 2]


def test_the_finished_table_is_in_order_and_keeps_the_errors(tmp_path):
    rows = [Row(0, "x", {"a": 1.0}), Row(1, "y", {}, "torn\nin two"), Row(2, "z", {"a": 3.0})]
    save_table(tmp_path, rows, ["a", "b"])
    with (tmp_path / "rows.csv").open(newline="") as lines:
        found = list(csv.DictReader(lines))
    assert [row["name"] for row in found] == ["x", "y", "z"]
    assert found[1] == {"index": "1", "name": "y", "a": "", "b": "", "error": "torn in two"}
    table = as_table(rows, ["a", "b"])
    assert table.columns["a"].tolist() == [1.0, 3.0]
    assert table.errors == ("y: torn\nin two",)
    means = table.means()
    assert set(means) == {"a"}
    assert means["a"].value == 2.0


def test_without_pyarrow_there_is_no_parquet_and_no_complaint(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    save_table(tmp_path, [Row(0, "x", {"a": 1.0})], ["a"])
    assert not (tmp_path / "rows.parquet").exists()


def test_parquet_is_written_where_pyarrow_is_installed(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    save_table(tmp_path, [Row(0, "x", {"a": 1.5})], ["a"])
    assert parquet.read_table(tmp_path / "rows.parquet").to_pydict() == {
        "index": [0],
        "name": ["x"],
        "a": [1.5],
    }


def test_features_lie_at_their_images_places(tmp_path):
    file = Features(tmp_path / "f", 5, 2)
    file.write([3, 1], torch.tensor([[3.0, 30.0], [1.0, 10.0]]))
    again = Features(tmp_path / "f", 5, 2)
    assert again[np.array([1, 3, 0])].tolist() == [[1, 10], [3, 30], [0, 0]]
    some = Features(tmp_path / "f", 5, 2, np.array([0, 1, 3]))
    assert some[np.array([2])].tolist() == [[3, 30]]
    assert len(some) == 3
