"""The report in its four forms."""

from __future__ import annotations

import itertools
import json
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from stylefeatureeditor.cli import evaluate
from stylefeatureeditor.errors import PhotoError
from stylefeatureeditor.evaluation.bootstrap import Mean
from stylefeatureeditor.evaluation.paper import ABLATIONS, CARS, FACES
from stylefeatureeditor.evaluation.report import (
    PAPER_TABLES,
    beside_paper,
    data_uri,
    merge,
    to_html,
    to_json,
    to_latex,
    to_markdown,
    write_report,
)
from stylefeatureeditor.evaluation.report_plot import marker_radius, plot_svg
from stylefeatureeditor.evaluation.report_tables import Report
from stylefeatureeditor.evaluation.results import MethodResult, Shown


def row(name: str, lpips: float, fid: float, seconds: float) -> MethodResult:
    picture = np.full((8, 8, 3), 100, dtype=np.uint8)
    shown = Shown("worst", "a<b>.png", picture, picture + 50, {"l2": 0.5, "unknown": 1.0})
    return MethodResult(
        name,
        {
            "lpips": Mean(lpips, lpips - 0.01, lpips + 0.01, 20),
            "smile- fid": Mean(fid, count=10),
            "seconds": Mean(seconds, seconds, seconds, 20),
            "psnr": Mean(20 - lpips, 19.0, 21.0, 20),
        },
        20,
        ("bad.png: torn",),
        (shown,),
        1024.0,
    )


@pytest.fixture
def report():
    results = (row("mine_1", 0.1, 30, 0.05), row("theirs & co", 0.2, 25, 120.0))
    run = Report("A title", "sfe evaluate <data>", results, notes=("A note.",))
    return beside_paper(run, "faces")


def test_markdown_has_every_row_marks_the_paper_and_bolds_the_best(report):
    text = to_markdown(report)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 2 + len(FACES)
    assert "| mine_1 | run here | 20 | **0.100 [0.090, 0.110]** |" in text
    assert "| SFE | paper |  | 0.019 | - | 24.4 | 0.07 | - |" in text
    assert "smile- FID ↓" in lines[0]
    assert "**25.00**" in text
    assert "theirs & co: bad.png: torn" in text


def test_time_stands_last_and_edits_after_the_inversion(report):
    assert report.columns == ["lpips", "psnr", "smile- fid", "seconds", "peak_mib"]


def test_the_best_follows_the_direction_of_the_column(report):
    assert report.best("lpips") == 0.1
    assert report.best("psnr") == pytest.approx(19.9)
    assert Report("t", "c", report.results[:1]).best("lpips") is None


def test_latex_is_a_table_of_the_papers_layout(report):
    text = to_latex(report)
    assert text.count(r"\begin{tabular}{lrrrrr}") == text.count(r"\end{tabular}") == 1
    assert r"mine\_1 & \textbf{0.100}" in text
    assert r"theirs \& co" in text
    body = [
        line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
    ]
    assert {line.replace(r"\&", "").count("&") for line in body} == {5}


def test_json_holds_the_numbers_unrounded(report):
    content = json.loads(to_json(report))
    assert content["results"][0]["values"]["lpips"]["low"] == pytest.approx(0.09)
    assert content["results"][0]["peak_mib"] == 1024.0
    assert content["paper"][-1]["values"]["smile- fid"] == 24.4


def test_infinite_numbers_do_not_break_json():
    result = MethodResult("x", {"psnr": Mean(float("inf"))})
    content = json.loads(to_json(Report("t", "c", (result,))))
    assert content["results"][0]["values"]["psnr"]["value"] is None
    assert "∞" in to_markdown(Report("t", "c", (result,)))


class Page(HTMLParser):
    """Collects the tags, and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for key, value in attributes if key in ("src", "href")]


def test_the_page_asks_for_nothing_from_outside(report):
    page = Page()
    text = to_html(report)
    page.feed(text)
    assert page.addresses
    inside = ("data:image/", "#m")
    assert all(address.startswith(inside) for address in page.addresses)
    assert "<link" not in text
    assert page.tags.count("figure") == 2
    assert "a&lt;b&gt;.png" in text
    assert "sfe evaluate &lt;data&gt;" in text


def test_the_page_has_a_table_for_every_edit_and_one_of_costs(report):
    text = to_html(report)
    assert report.groups == {
        "Inversion": ["lpips", "psnr"],
        "smile-": ["smile- fid"],
        "Time and memory": ["seconds", "peak_mib"],
    }
    assert text.count("<table>") == 3


def test_commands_in_notes_are_code(report):
    assert "<li>Run <code>sfe &lt;x&gt;</code></li>" in to_html(
        Report("t", "c", report.results, notes=("Run `sfe <x>`",))
    )


def parts(svg: str, kind: str) -> list[ElementTree.Element]:
    return [node for node in ElementTree.fromstring(svg).iter() if node.tag.endswith(kind)]


def test_the_plot_has_a_marker_and_a_label_for_every_method(report):
    svg = plot_svg(report)
    notes = [node.text for node in parts(svg, "title")]
    names = {note.partition(":")[0] for note in notes}
    assert names == {"mine_1", "theirs & co", *(row.method for row in FACES)}
    assert names <= {node.text for node in parts(svg, "text")}
    assert "SFE: 0.019, 24.4, 0.07 s" in notes
    assert svg == plot_svg(report)


def test_without_matplotlib_the_page_says_how_to_get_the_plot(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install &#x27;" not in to_html(report)
    assert "pip install 'stylefeatureeditor[eval]'" in to_html(report)


def test_slower_methods_have_larger_markers():
    assert marker_radius(1.0, 0.1) > marker_radius(0.1, 0.1)
    assert marker_radius(10, 0.1) - marker_radius(1, 0.1) == pytest.approx(
        marker_radius(1, 0.1) - marker_radius(0.1, 0.1)
    )


def test_labels_of_close_markers_do_not_cover_each_other():
    results = tuple(row(f"method {i}", 0.1, 30 + i * 0.001, 0.1) for i in range(4))
    labels = [n for n in parts(plot_svg(Report("t", "c", results)), "text") if "method" in n.text]
    boxes = [(float(node.get("x")), float(node.get("y"))) for node in labels]
    assert len(boxes) == 4
    for (x, y), (other_x, other_y) in itertools.combinations(boxes, 2):
        assert abs(y - other_y) > 10 or abs(x - other_x) > 40


def test_there_is_no_plot_without_an_edit():
    result = MethodResult("x", {"lpips": Mean(0.1)})
    assert plot_svg(Report("t", "c", (result,))) is None
    assert "Reconstruction against editing" not in to_html(Report("t", "c", (result,)))


def test_large_pictures_are_embedded_as_small_jpegs():
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    assert data_uri(noise).startswith("data:image/jpeg;base64,")
    assert data_uri(noise[:64, :64]).startswith("data:image/png;base64,")
    assert len(data_uri(noise)) < 600 * 600 * 3


def test_results_of_one_method_become_one_row():
    inversion = MethodResult("a", {"lpips": Mean(0.1), "seconds": Mean(1.0)}, 9, peak_mib=1.0)
    edit = MethodResult("a", {"smile- fid": Mean(3.0), "seconds": Mean(2.0)}, 4, peak_mib=2.0)
    other = MethodResult("b", {"lpips": Mean(0.3)}, 9)
    rows = merge([inversion, edit, other])
    assert [r.method for r in rows] == ["a", "b"]
    assert rows[0].values["seconds"].value == 1.0
    assert rows[0].values["smile- fid"].value == 3.0
    assert (rows[0].count, rows[0].peak_mib) == (9, 2.0)


def test_all_forms_are_written_and_say_that_the_paper_was_not_run(report, tmp_path):
    written = write_report(report, tmp_path / "new")
    assert sorted(written) == ["html", "json", "md", "tex"]
    assert "were not run" in written["md"].read_text(encoding="utf-8")


@pytest.mark.parametrize(("table", "rows"), [("faces", 12), ("ablations", 7), ("cars", 6)])
def test_another_table_of_the_paper_may_stand_beside(report, table, rows):
    assert len(beside_paper(report, table).reported) == rows
    assert tuple(PAPER_TABLES) == evaluate.PAPER_TABLES


def test_the_paper_stays_away_where_only_time_could_be_compared():
    alone = Report("t", "c", (MethodResult("x", {"ssim": Mean(0.5), "seconds": Mean(1.0)}),))
    assert beside_paper(alone, "faces") == alone


def test_memory_is_a_column_that_lower_values_lead(report):
    assert "| peak MiB ↓ |" in to_markdown(report)
    assert "1024" in to_latex(report)
    assert report.best("peak_mib") == 1024


def test_a_folder_that_cannot_be_written_is_one_sentence(report, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(PhotoError, match="choose another folder"):
        write_report(report, tmp_path / "file")


def test_the_papers_tables_are_whole():
    assert [len(table) for table in (FACES, CARS, ABLATIONS)] == [12, 6, 7]
    assert FACES[-1].values == {
        "lpips": 0.019, "l2": 0.002, "fid": 3.54, "ms_ssim": 0.922,
        "smile-": 24.4, "glasses+": 73.1, "old+": 41.7, "seconds": 0.070,
    }  # fmt: skip
