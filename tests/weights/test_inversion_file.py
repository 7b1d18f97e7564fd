from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.records import AlignedFace, Codes, Photo, StyleSpace
from stylefeatureeditor.weights.inversion_file import _digest, load_inversion, save_inversion
from synthetic_face import frontal_face, soft_photo, square
from tiny import SIZE, tiny_editor, tiny_photos


def assert_same(actual, expected):
    """Compare records field by field, to the bit and to the type."""
    assert type(actual) is type(expected)
    if is_dataclass(expected):
        for item in fields(expected):
            assert_same(getattr(actual, item.name), getattr(expected, item.name))
    elif isinstance(expected, torch.Tensor):
        assert actual.dtype == expected.dtype
        assert torch.equal(actual, expected)
    elif isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype
        assert np.array_equal(actual, expected)
    elif isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    else:
        assert actual == expected


@pytest.fixture(scope="module")
def editor():
    return tiny_editor()


@pytest.fixture
def inversion(editor):
    """Two faces of one photo with alpha, profile and EXIF; one came without landmarks."""
    inversion = editor.invert(tiny_photos(2))
    pixels = soft_photo(90, 70)
    alpha = np.arange(90 * 70, dtype=np.uint32).reshape(70, 90).astype(np.uint8)
    inversion.source = Photo(
        pixels, alpha, b"a colour profile", b"Exif\0\0 a camera", (300.0, 150.0), b"<xmp/>"
    )
    crops = tiny_photos(2)
    inversion.faces = (
        AlignedFace(crops[:1], pixels, square((30, 30), 40), frontal_face((30, 28), 8)),
        AlignedFace(crops[1:], pixels, square((60, 40), 30, 0.3)),
    )
    return inversion


class TestRoundTrip:
    def test_of_faces_in_a_photo_is_exact(self, inversion, tmp_path):
        file = save_inversion(inversion, tmp_path / "one.safetensors")
        assert_same(load_inversion(file), inversion)

    def test_of_aligned_tensors_is_exact(self, editor, tmp_path):
        inversion = editor.method.invert(tiny_photos(3))  # not drawn yet
        assert_same(load_inversion(save_inversion(inversion, tmp_path / "x")), inversion)

    def test_keeps_what_an_edit_has_added(self, editor, inversion, tmp_path):
        editor.edit(inversion, {"smile": 1.0})
        assert inversion.anchor is not None
        loaded = load_inversion(save_inversion(inversion, tmp_path / "x"))
        assert_same(loaded, inversion)

    def test_keeps_stylespace_offsets(self, inversion, tmp_path):
        styles = StyleSpace(
            tuple(torch.randn(2, width) for width in (3, 5, 4)), (torch.randn(2, 6),)
        )
        inversion.codes = Codes(inversion.codes.wplus, styles)
        assert_same(load_inversion(save_inversion(inversion, tmp_path / "x")), inversion)

    def test_edits_of_the_file_equal_edits_of_the_photo(self, editor, inversion, tmp_path):
        loaded = load_inversion(save_inversion(inversion, tmp_path / "x"))
        before = editor.edit(inversion, {"smile": 2.0}, blend="residual")
        after = editor.edit(loaded, {"smile": 2.0}, blend="residual")
        assert torch.equal(before.pixels, after.pixels)
        assert np.array_equal(np.asarray(before.photo), np.asarray(after.photo))

    def test_the_suffix_is_added(self, inversion, tmp_path):
        assert save_inversion(inversion, tmp_path / "a.b").name == "a.b.safetensors"


def test_faces_of_several_photos_do_not_share_a_file(inversion, tmp_path):
    first, second = inversion.faces
    inversion.faces = (first, replace(second, photo=255 - second.photo))
    with pytest.raises(WeightsError, match="one photo"):
        save_inversion(inversion, tmp_path / "x")
    assert not list(tmp_path.iterdir())


class TestDamage:
    @pytest.fixture
    def file(self, inversion, tmp_path):
        return save_inversion(inversion, tmp_path / "inversion.safetensors")

    def changed(self, file, change, *, sign):
        """Write the file again with other tensors; `sign` makes its hash fit them."""
        with safe_open(file, "pt") as content:
            header = content.metadata()
        tensors = load_file(file)
        change(tensors, header)
        if sign:
            header["sha256"] = _digest(header["model"], tensors)
        save_file(tensors, file, metadata=header)

    def test_a_flipped_bit_is_noticed(self, file):
        content = bytearray(file.read_bytes())
        content[-1000] ^= 1
        file.write_bytes(content)
        with pytest.raises(WeightsError, match="was changed or damaged"):
            load_inversion(file)

    def test_another_fingerprint_is_noticed(self, file):
        self.changed(file, lambda _tensors, header: header.update(model="0" * 16), sign=False)
        with pytest.raises(WeightsError, match="was changed or damaged"):
            load_inversion(file)

    def test_a_cut_file_is_noticed(self, file):
        file.write_bytes(file.read_bytes()[:-7])
        with pytest.raises(WeightsError, match=r"not a complete .safetensors file"):
            load_inversion(file)

    def test_another_format_number_is_named(self, file):
        self.changed(file, lambda _t, header: header.update(inversion_format="7"), sign=True)
        with pytest.raises(WeightsError, match="format 7, expected 1"):
            load_inversion(file)

    def test_other_tensors_are_no_inversion(self, tmp_path):
        save_file({"weight": torch.zeros(3)}, tmp_path / "x.safetensors")
        with pytest.raises(WeightsError, match="is no inversion"):
            load_inversion(tmp_path / "x.safetensors")

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(WeightsError, match="does not exist"):
            load_inversion(tmp_path / "gone.safetensors")

    @pytest.mark.parametrize(
        ("name", "value", "what"),
        [
            ("codes", None, "codes is missing"),
            ("photo", None, "photo is missing"),
            ("faces.quad", None, "faces.quad is missing"),
            ("anchor.features", torch.zeros(2, 1, 1, 1), "anchor.codes is missing"),
            ("codes.conv.1", torch.zeros(2, 3), "codes.conv.0 is missing"),
            ("features", torch.zeros(2, 3), "features is torch.float32 of shape"),
            ("features", torch.zeros(2, 1, 1, 1, dtype=torch.bfloat16), "torch.bfloat16"),
            ("rgb", torch.full((2, 3, 4, 4), torch.nan), "not finite"),
            ("faces.quad", torch.zeros(3, 4, 2, dtype=torch.float64), "3 faces and the codes 2"),
            ("photo.alpha", torch.zeros(3, 3, dtype=torch.uint8), "alpha has another size"),
            ("extra", torch.zeros(1), "extra is"),
            ("faces.landmarks.0", torch.zeros(5, 2, dtype=torch.float64), "faces.landmarks.0 is"),
        ],
    )
    def test_a_forged_file_is_refused_in_one_sentence(self, name, value, what, file):
        def change(tensors, _header):
            if value is None:
                del tensors[name]
            else:
                tensors[name] = value

        self.changed(file, change, sign=True)
        with pytest.raises(WeightsError, match=what) as caught:
            load_inversion(file)
        assert "\n" not in str(caught.value)

    def test_the_header_is_small_and_holds_no_photo(self, file):
        with safe_open(file, "pt") as content:
            assert set(content.metadata()) == {"inversion_format", "model", "sha256"}
            assert len(json.dumps(content.metadata())) < 300
            assert content.get_slice("faces.pixels").get_shape() == [2, 3, SIZE, SIZE]
