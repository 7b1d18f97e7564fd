"""Codes out of `sfe invert` and into `sfe edit` and `sfe invert` again."""

from __future__ import annotations

import numpy as np

from tiny import STYLES, WIDTH


def test_codes_go_out_and_come_in_again(aligned, model, sfe, tmp_path):
    words = (aligned, "--aligned", "--model", model, "-o")
    assert sfe("invert", *words, tmp_path / "a.png", "--codes").code == 0
    codes = np.load(tmp_path / "a.npy")
    assert codes.shape == (1, STYLES, WIDTH)
    ran = sfe("invert", *words, tmp_path / "b.png", "--from-codes", tmp_path / "a.npy")
    assert ran.code == 0
    difference = _pixels(tmp_path / "a.png") - _pixels(tmp_path / "b.png")
    assert np.abs(difference).max() <= 1
    edit = ("edit", tmp_path / "a.npy", "--model", model, "-e", "smile=1", "-o")
    assert sfe(*edit, tmp_path / "c.png").code == 0
    assert _pixels(tmp_path / "c.png").shape == _pixels(tmp_path / "a.png").shape
    ran = sfe(*edit, tmp_path / "d.png", "--face", "2")
    assert (ran.code, ran.err.count("holds 1")) == (2, 1)


def _pixels(path):
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)
