"""EditResult: what the network drew, as pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from seeded import seeded_image
from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.photo.image import read_photo, to_tensor, to_uint8
from stylefeatureeditor.photo.result import EditResult
from stylefeatureeditor.records import AlignedFace, Codes, Photo
from synthetic_face import soft_photo, square

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 16
PHOTO = soft_photo(60, 40)
EDITED = seeded_image("result.edited", SIDE, 2)
DRAWN = seeded_image("result.drawn", SIDE, 2)


def inversion(*, faces=True, source=None):
    quads = [square((16, 20), SIDE), square((44, 20), SIDE)]
    crops = tuple(AlignedFace(DRAWN[i : i + 1], PHOTO, quad) for i, quad in enumerate(quads))
    return Inversion(
        codes=Codes(torch.zeros(2, 4, 3)),
        features=torch.zeros(2, 2, 4, 4),
        rgb=torch.zeros(2, 3, 4, 4),
        encoder_pixels=seeded_image("result.seen", 8, 2),
        model="abc",
        faces=crops if faces else (),
        source=source,
        pixels=DRAWN,
    )


def test_without_a_photo_the_crop_is_the_picture():
    result = EditResult(EDITED, inversion(faces=False))
    assert np.array_equal(np.asarray(result.photo), to_uint8(EDITED)[0])
    assert np.array_equal(np.asarray(result.crop), to_uint8(EDITED)[0])
    for crop, pixels in zip(result.crops, to_uint8(EDITED), strict=True):
        assert np.array_equal(np.asarray(crop), pixels)


@pytest.mark.parametrize("blend", ["feather", "residual"])
def test_each_crop_returns_to_its_own_place(blend):
    result = np.asarray(EditResult(EDITED, inversion(), blend=blend).photo)
    difference = (result != PHOTO).any(axis=-1)
    assert difference[16:24, 12:20].all()
    assert difference[16:24, 40:48].all()
    assert not difference[:, 25:35].any()
    assert not difference[:11].any()
    first = np.asarray(EditResult(EDITED, inversion(), blend="feather").photo)[18:22, 14:18]
    if blend == "feather":  # the middle of a crop of the photo's resolution is the crop's
        assert np.abs(first.astype(int) - to_uint8(EDITED)[0][6:10, 6:10]).max() <= 12


def test_each_face_has_its_own_region_or_all_share_one():
    region = torch.zeros(2, 1, SIDE, SIDE)
    region[1] = 1
    own = np.asarray(EditResult(EDITED, inversion(), region).photo)
    assert np.array_equal(own[:, :30], PHOTO[:, :30])
    assert (own[:, 30:] != PHOTO[:, 30:]).any()
    shared = EditResult(EDITED, inversion(), torch.zeros(1, 1, 4, 4, dtype=torch.bool))
    assert np.array_equal(np.asarray(shared.photo), PHOTO)


def test_the_parts_of_each_face_are_its_crop_its_mask_and_the_edit():
    region = torch.zeros(2, 1, 4, 4)
    region[1] = 1
    first, second = EditResult(EDITED, inversion(), region, blend="none").parts()
    assert [np.asarray(parts["mask"]).max() for parts in (first, second)] == [0, 255]
    assert np.array_equal(np.asarray(second["aligned"]), to_uint8(DRAWN)[1])
    assert np.array_equal(np.asarray(second["edited"]), to_uint8(EDITED)[1])
    whole = EditResult(EDITED, inversion()).parts()[0]
    assert np.asarray(whole["mask"]).min() == 255


def test_blend_none_leaves_the_crop():
    result = EditResult(EDITED, inversion(), blend="none")
    assert np.array_equal(np.asarray(result.photo), to_uint8(EDITED)[0])


def test_residual_needs_the_inversion():
    undrawn = inversion()
    undrawn.pixels = None
    with pytest.raises(ConfigError, match="residual blend needs the inversion"):
        _ = EditResult(EDITED, undrawn, blend="residual").photo


def test_the_comparison_stands_before_and_after_side_by_side():
    whole = EditResult(EDITED, inversion())
    assert np.array_equal(np.asarray(whole.comparison())[:, :60], PHOTO)
    assert np.array_equal(np.asarray(whole.comparison())[:, 60:], np.asarray(whole.photo))
    crop = np.asarray(EditResult(EDITED, inversion(), blend="none").comparison())
    assert np.array_equal(crop, np.concatenate([to_uint8(DRAWN)[0], to_uint8(EDITED)[0]], axis=1))
    tensors = EditResult(EDITED, inversion(faces=False)).comparison()
    assert tensors.size == (2 * SIDE, SIDE)


def test_the_file_keeps_what_the_original_carried(tmp_path):
    alpha = np.tile(np.arange(60, dtype=np.uint8), (40, 1))
    exif = Image.Exif()
    exif[0x010E] = "a portrait"
    source = Photo(PHOTO, alpha, None, exif.tobytes())
    path = EditResult(EDITED, inversion(source=source)).save(tmp_path / "out.png")
    saved = read_photo(path)
    assert np.array_equal(saved.alpha, alpha)
    assert saved.exif == source.exif
    assert np.array_equal(saved.pixels, np.asarray(EditResult(EDITED, inversion()).photo))


def test_every_picture_keeps_what_the_photo_brought(tmp_path):
    alpha = np.full(PHOTO.shape[:2], 255, np.uint8)
    alpha[:, :16] = 0  # the left half of the first crop
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "a portrait"
    source = Photo(PHOTO, alpha, profile, exif.tobytes(), (300.0, 300.0), b"<xmp/>")
    result = EditResult(EDITED, inversion(source=source))
    half = np.full((SIDE, SIDE), 255, np.uint8)
    half[:, : SIDE // 2] = 0
    pictures = {
        "photo": (result.photo, alpha),
        "crop": (result.crop, half),
        "second": (result.crops[1], np.full_like(half, 255)),
        "comparison": (result.comparison(), np.tile(alpha, 2)),
        "alone": (replace(result, blend="none").comparison(), np.tile(half, 2)),
    }
    for name, (picture, seen) in pictures.items():
        picture.save(tmp_path / f"{name}.png")
        saved = read_photo(tmp_path / f"{name}.png")
        assert np.array_equal(saved.alpha, seen)
        assert (saved.icc_profile, saved.exif, saved.xmp) == (profile, source.exif, b"<xmp/>")
        assert saved.dpi == pytest.approx((300, 300), abs=0.01)
        picture.save(tmp_path / f"{name}.jpg")
        assert read_photo(tmp_path / f"{name}.jpg").icc_profile == profile


def test_an_unknown_format_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(PhotoError, match="must end in"):
        EditResult(EDITED, inversion()).save(tmp_path / "out.xyz")
    assert not list(tmp_path.iterdir())


def test_the_photo_of_the_faces_is_not_painted_over():
    before = PHOTO.copy()
    result = EditResult(EDITED, inversion())
    _ = result.photo
    assert np.array_equal(before, PHOTO)
    assert result.photo is result.photo
    again = replace(result, blend="none")
    assert again.photo.size == (SIDE, SIDE)


def test_values_beyond_the_range_are_cut():
    result = EditResult(torch.full((1, 3, 4, 4), 3.0), inversion(faces=False))
    assert np.asarray(result.crop).min() == 255
    assert torch.equal(to_tensor(np.asarray(result.crop)), torch.ones(1, 3, 4, 4))
