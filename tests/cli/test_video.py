"""`sfe video` and `sfe evaluate video`."""

import json
import sys

import pytest
from PIL import Image

from moving_face import frames, write_film


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / "in.mp4"
    write_film(path, frames(0.4))
    return path


def test_a_video_is_edited_and_measured(sfe, model, film, tmp_path):
    out = tmp_path / "out.mp4"
    ran = sfe("video", film, "-e", "smile=0@0s,2@0.2s", "--model", model, "-o", out)
    assert (ran.code, ran.out.strip()) == (0, str(out))
    ran = sfe("evaluate", "video", film, out, "-e", "smile=2", "--model", model, "--json")
    assert ran.code == 0
    rows = json.loads(ran.out)
    assert list(rows) == ["source, encoded again", str(out), "frame by frame"]
    assert rows[str(out)]["frames"] == 10
    assert rows[str(out)]["flicker"] > rows["source, encoded again"]["flicker"]
    table = sfe("evaluate", "video", film, out).out
    assert table.splitlines()[0].split() == [
        "frames",
        "TL-ID",
        "TG-ID",
        "warp",
        "x",
        "1000",
        "flicker",
    ]


def test_a_preview_is_a_picture(sfe, model, film, tmp_path):
    out = tmp_path / "strip.png"
    assert (
        sfe("video", film, "-e", "smile=2", "--model", model, "--preview", 2, "-o", out).code == 0
    )
    assert Image.open(out).width > 2 * 96


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["no.mp4", "-e", "smile=2"], "there is no file no.mp4"),
        (["FILM"], "nothing to edit: give -e NAME=STRENGTH"),
        (["FILM", "-e", "smile=2", "-e", "smile=3"], "smile is given twice"),
        (["FILM", "-e", "smile=2@1s,3@0s"], "strengths at rising times as in smile=0@0s,2@1s"),
        (["FILM", "-e", "smile=x@1s"], "strengths at rising times"),
        (["FILM", "-e", "smile=1e9"], "smile"),
        (["FILM", "-e", "smiel=2", "--model", "MODEL"], "smile"),
        (["FILM", "-e", "smile=2", "--steady", "-1"], "a number from 0 to 100"),
        (["FILM", "-e", "smile=2", "--rate", "0"], "frames a second as in 25"),
        (["FILM", "-e", "smile=2", "--preview", "2", "-o", "x.mp4", "--model", "MODEL"], "x.mp4"),
    ],
)
def test_mistakes_are_told_in_a_sentence(sfe, model, film, words, sentence):
    known = {"FILM": film, "MODEL": model}
    ran = sfe("video", *(known.get(word, word) for word in words))
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_pyav_is_asked_for_only_where_it_is_needed(sfe, model, tmp_path, monkeypatch):
    source = tmp_path / "in"
    source.mkdir()
    for number, pixels in enumerate(frames(0.08)):
        Image.fromarray(pixels).save(source / f"{number}.png")
    monkeypatch.setitem(sys.modules, "av", None)
    words = ["video", source, "-e", "smile=2", "--model", model]
    assert sfe(*words, "--preview", 1, "-o", tmp_path / "strip.png").code == 0
    ran = sfe(*words, "-o", tmp_path / "out.gif")
    assert ran.code != 0
    assert "needs PyAV" in ran.err
