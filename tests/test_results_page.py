"""runs/results_page.py: the page says what the tables of `sfe evaluate` say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from stylefeatureeditor.evaluation.bootstrap import Mean
from stylefeatureeditor.evaluation.report import to_json
from stylefeatureeditor.evaluation.report_tables import Report
from stylefeatureeditor.evaluation.results import MethodResult

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "runs" / "results_page.py"))


@pytest.fixture
def folder(tmp_path):
    """Tables of two methods, whose set distances have 30 images, or 5 for glasses."""
    edits = {"smile- fid": Mean(9.0, count=30), "smile- flip": Mean(0.5, 0.4, 0.6, 30)}
    values = {"l2": Mean(0.25, 0.125, 0.5, 30), **edits, "glasses+ fid": Mean(7.0, count=5)}
    better = {**values, "l2": Mean(0.125, count=30)}
    rows = (
        MethodResult("first", values, 30, ("a.png: torn",), peak_mib=100.0),
        MethodResult("second", better, 30, peak_mib=200.0),
    )
    notes = (
        "FID of few images (here from 5 on) is biased.",
        "smile-: smile at strength -1.5.",
        "LPIPS is left out, because x is not on disk: download it",
        "FID is left out, because y is not on disk: download it",
    )
    for name in (*SCRIPT["INVERSIONS"], *SCRIPT["EDITS"], *SCRIPT["MORE"]):
        (tmp_path / name).mkdir()
        report = Report("Inversion: 30 photos of 64 px", "sfe", rows, notes=notes)
        (tmp_path / name / "report.json").write_text(to_json(report))
    return tmp_path


def test_every_table_stands_under_its_heading_with_the_best_bold(folder):
    text = SCRIPT["page"](folder)
    assert text.count("30 photos of 64 px.") == 5
    assert text.count("### smile-\n\nDirection smile at strength -1.5.") == 2
    assert "| second | **0.1250** |" in text
    assert "| first | **100** |" in text


def test_distances_of_a_handful_of_photos_are_left_out(folder):
    text = SCRIPT["page"](folder)
    assert "9.00" in text.split("### smile-")[1].split("###")[0]
    assert "7.00" not in text.split("### glasses+")[1].split("###")[0]


def test_notes_are_told_once_and_short(folder):
    notes = SCRIPT["page"](folder).split("## Notes")[1]
    assert notes.count("- FID of few images is biased.\n") == 1
    assert "Left out, for want of the published weights: LPIPS, FID." in notes
    assert "Not measured: a.png: torn" in notes
