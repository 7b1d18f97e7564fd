"""Codes of other tools: each shape and file, there and back, and as the start of edits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seeded import draw, seeded_image
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import ConfigError, ShapeError, WeightsError
from stylefeatureeditor.methods.sfe import SfeWithoutH
from stylefeatureeditor.weights.code_files import read_codes, save_codes
from tiny import SIZE, STYLES, WIDTH, tiny_directions, tiny_model

CODES = draw("codes", (2, STYLES, WIDTH))


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_codes_come_back_as_they_were_written(tmp_path, suffix):
    path = save_codes(CODES, tmp_path / f"w{suffix}")
    assert torch.equal(read_codes(path, STYLES, WIDTH), CODES)


def test_every_shape_and_table_is_read(tmp_path):
    np.savez(tmp_path / "w.npz", w=CODES[:1].numpy())
    assert torch.equal(read_codes(tmp_path / "w.npz", STYLES, WIDTH), CODES[:1])
    for content, expected in (
        (CODES[0], CODES[:1]),
        (CODES[0, 0], CODES[:1, :1].expand(1, STYLES, -1)),
        (CODES[:, :1], CODES[:, :1].expand(2, STYLES, -1)),
        ({"latent": CODES, "noise": CODES[0]}, CODES),
    ):
        torch.save(content, tmp_path / "w.pt")
        assert torch.equal(read_codes(tmp_path / "w.pt", STYLES, WIDTH), expected)


@pytest.mark.parametrize("content", [torch.ones(3, 5), {"a": CODES, "b": CODES}, {"w": "text"}])
def test_other_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"codes"):
        read_codes(tmp_path / "w.pt", STYLES, WIDTH)
    (tmp_path / "w.npz").write_bytes(b"PK")
    with pytest.raises(WeightsError, match=r"no readable .npz"):
        read_codes(tmp_path / "w.npz", STYLES, WIDTH)
    with pytest.raises(WeightsError, match=r"written as .npy or .pt"):
        save_codes(CODES, tmp_path / "w.txt")


@pytest.fixture(scope="module")
def editor():
    return Editor(tiny_model(), tiny_directions())


def test_codes_alone_are_drawn_as_g_draws_them_and_edited_around_them(editor):
    known = editor.from_codes(CODES)
    drawn = editor.method.generator.synthesize(known.codes)
    torch.testing.assert_close(known.pixels, drawn, rtol=1e-4, atol=1e-4)
    assert torch.equal(known.anchor.codes.wplus, CODES)
    edited = editor.edit(known, {"smile": 2.0}).pixels
    assert (edited - known.pixels).abs().max() > 1e-2


def test_with_the_photo_details_come_from_it_and_codes_stay(editor):
    photo = seeded_image("photo", SIZE)
    own = editor.invert(photo)
    fitted = editor.from_codes(own.codes.wplus, photo)
    torch.testing.assert_close(fitted.features, own.features)
    torch.testing.assert_close(editor.method.reconstruct(fitted), own.pixels)
    other = editor.from_codes(CODES[:1], photo)
    assert torch.equal(other.codes.wplus, CODES[:1])
    assert not torch.equal(other.features, own.features)


def test_codes_that_fit_nothing_are_refused(editor):
    with pytest.raises(ShapeError):
        editor.from_codes(torch.ones(1, 3, WIDTH))
    with pytest.raises(ConfigError, match="more than codes"):
        Editor(SfeWithoutH(editor.model)).from_codes(CODES)
