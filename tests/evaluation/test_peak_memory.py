"""Peak memory of a pass: measured, forgotten in between, kept."""

from __future__ import annotations

import mmap

import pytest

from stylefeatureeditor.evaluation import peak_memory
from stylefeatureeditor.evaluation.inversion import evaluate_inversion
from stylefeatureeditor.evaluation.peak_memory import (
    PEAK_FILE,
    read_peak_memory,
    record_peak_memory,
)
from toy_methods import Darker, toy_evaluation

LINUX = pytest.mark.skipif(
    not peak_memory.FORGET.exists(), reason="only Linux lets a process forget"
)
MEBIBYTES = 64


def use_memory() -> None:
    with mmap.mmap(-1, MEBIBYTES * 2**20) as fresh:  # an allocator might have kept a tensor's
        fresh.write(b"1" * len(fresh))


@LINUX
def test_a_peak_counts_from_the_start_of_its_pass(tmp_path):
    with record_peak_memory(tmp_path, "cpu"):
        use_memory()
    (tmp_path / "later").mkdir()
    with record_peak_memory(tmp_path / "later", "cpu"):
        pass
    assert read_peak_memory(tmp_path) - read_peak_memory(tmp_path / "later") > MEBIBYTES / 2


@LINUX
def test_an_interrupted_pass_keeps_the_larger_part(tmp_path):
    def stopped() -> None:
        with record_peak_memory(tmp_path, "cpu"):
            use_memory()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    first = read_peak_memory(tmp_path)
    with record_peak_memory(tmp_path, "cpu"):
        pass
    assert read_peak_memory(tmp_path) == first


def test_a_finished_run_still_has_its_peak(tmp_path):
    first = evaluate_inversion(Darker(), toy_evaluation(tmp_path)).peak_mib
    assert first > 1
    assert evaluate_inversion(Darker(), toy_evaluation(tmp_path)).peak_mib == first


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mib": "much"}'])
def test_a_damaged_note_is_no_peak(tmp_path, text):
    (tmp_path / PEAK_FILE).write_text(text)
    assert read_peak_memory(tmp_path) is None
