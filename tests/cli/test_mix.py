"""`sfe mix` on tiny models: each kind of output, and mistakes."""

from __future__ import annotations

import pytest
from PIL import Image


@pytest.fixture
def other(aligned, tmp_path):
    path = tmp_path / "other.png"
    with Image.open(aligned) as photo:
        photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
    return path


def test_a_strip_an_animation_and_an_edited_photo(aligned, other, model, sfe, tmp_path):
    words = ("mix", aligned, other, "--aligned", "--model", model, "-o")
    assert sfe(*words, tmp_path / "way.png", "--steps", 3).code == 0
    assert sfe(*words, tmp_path / "way.gif", "--steps", 3).code == 0
    with Image.open(tmp_path / "way.gif") as way:
        assert way.n_frames == 4  # there and back
    for name, what in (("styles", ("--layers", "0:3")), ("like", ("--like", "smile"))):
        ran = sfe(*words, tmp_path / f"{name}.png", *what)
        assert (ran.code, ran.out) == (0, f"{tmp_path / name}.png\n")
    pictures = {(tmp_path / f"{name}.png").read_bytes() for name in ("way", "styles", "like")}
    assert len(pictures) == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--like", "simle"), "did you mean smile"),
        (("--face", "all"), "a face at a time"),
        (("--like", "smile", "--layers", "0:3"), "not allowed with"),
    ],
)
def test_mistakes_are_one_sentence(words, sentence, aligned, other, model, sfe, tmp_path):
    out = tmp_path / "out.png"
    ran = sfe("mix", aligned, other, "--aligned", "--model", model, "-o", out, *words)
    assert ran.code == 2
    assert sentence in ran.err
    assert not out.exists()
    assert sfe("mix", aligned, tmp_path / "no.png", "-o", out).code == 2
