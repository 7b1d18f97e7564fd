"""Pictures in and out: every mode, what is kept, and what is refused in one sentence."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps

from colour_profiles import grey_profile, linear_profile
from stylefeatureeditor.errors import DependencyError, PhotoError, SfeError, ShapeError
from stylefeatureeditor.photo import SUFFIXES, modes
from stylefeatureeditor.photo import image as image_module
from stylefeatureeditor.photo.image import (
    in_srgb,
    read_photo,
    save_photo,
    to_picture,
    to_tensor,
    to_uint8,
)
from stylefeatureeditor.records import Photo

RGB = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8769)[0x829A] = 0.5  # exposure time
    return exif


def grey_as_rgb(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[:, :, None], 3, axis=2)


def test_every_level_survives_the_way_to_a_tensor_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tensor = to_tensor(grey_as_rgb(levels))
    assert tensor.shape == (1, 3, 16, 16)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(to_uint8(tensor)[0], grey_as_rgb(levels))


def test_values_are_rounded_to_the_nearest_level_and_clipped():
    levels = torch.tensor([-9.0, 0.4, 0.6, 99.49, 99.51, 254.6, 300.0])
    pixels = (levels / 127.5 - 1).expand(2, 3, 1, 7)
    assert to_uint8(pixels).shape == (2, 1, 7, 3)
    assert to_uint8(pixels)[1, 0, :, 2].tolist() == [0, 0, 1, 99, 100, 255, 255]
    with pytest.raises(ShapeError, match="pixels: expected"):
        to_uint8(torch.zeros(3, 4, 4))
    with pytest.raises(PhotoError, match="uint8"):
        to_tensor(np.zeros((4, 4, 3), dtype=np.float32))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_photo_stands_upright_and_forgets_that_it_was_turned(orientation, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(RGB), kind, exif=exif_with(orientation), **options)
    photo = read_photo(data)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(photo.pixels, np.asarray(upright))
    kept = Image.Exif()
    kept.load(photo.exif)
    assert 0x0112 not in kept
    assert kept[0x010F] == "a camera"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_open_image_reads_the_same_twice(kind):
    image = Image.open(io.BytesIO(encoded(Image.fromarray(RGB), kind, exif=exif_with(6))))
    first, second = read_photo(image), read_photo(image)
    assert first.pixels.shape == (17, 12, 3)
    assert np.array_equal(first.pixels, second.pixels)
    assert first.exif == second.exif


def test_alpha_is_turned_with_the_photo():
    rgba = np.dstack([RGB, GREY])
    photo = read_photo(encoded(Image.fromarray(rgba), "PNG", exif=exif_with(6)))
    assert np.array_equal(photo.alpha, np.rot90(GREY, -1))
    assert np.array_equal(photo.pixels, np.rot90(RGB, -1))


@pytest.mark.parametrize(
    "source",
    [RGB, Image.fromarray(RGB), encoded(Image.fromarray(RGB), "BMP"), RGB / np.float32(255)],
    ids=["array", "pillow", "bytes", "float array"],
)
def test_any_kind_of_source_gives_the_same_photo(source, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(RGB).save(path)
    for one in (source, path, str(path), path.open("rb")):
        photo = read_photo(one)
        assert np.array_equal(photo.pixels, RGB)
        assert (photo.alpha, photo.exif, photo.icc_profile) == (None, None, None)


@pytest.mark.parametrize(
    ("array", "pixels", "alpha"),
    [
        (GREY, GREY, None),
        (GREY[:, :, None], GREY, None),
        (np.dstack([GREY, GREY.T[:12, :12].repeat(2, axis=1)[:, :17]]), GREY, "last"),
        (GREY.astype(np.uint16) * 257, GREY, None),
        ((GREY.astype(np.uint16) * 257).astype(">u2"), GREY, None),
        (GREY > 127, np.where(GREY > 127, 255, 0), None),
        (np.dstack([RGB, GREY]), RGB, "last"),
    ],
    ids=["grey", "one channel", "grey alpha", "16 bit", "big endian", "bool", "rgba"],
)
def test_arrays_of_every_kind(array, pixels, alpha):
    photo = read_photo(array)
    expected = pixels if pixels.ndim == 3 else grey_as_rgb(pixels)
    assert np.array_equal(photo.pixels, expected)
    assert photo.pixels.dtype == np.uint8
    assert (photo.alpha is None) == (alpha is None)
    if alpha:
        assert np.array_equal(photo.alpha, array[:, :, -1])
    assert not np.shares_memory(photo.pixels, array)


@pytest.mark.parametrize(
    ("mode", "tolerance"),
    [("RGB", 0), ("RGBA", 0), ("RGBX", 0), ("CMYK", 0), ("YCbCr", 3), ("HSV", 4), ("LAB", 4)],
)
def test_colour_modes(mode, tolerance):
    muted = RGB // 2 + 64  # every space holds these
    photo = read_photo(Image.fromarray(muted).convert(mode))
    assert np.abs(photo.pixels.astype(int) - muted).max() <= tolerance
    assert (photo.alpha is not None) == (mode == "RGBA")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "I", "F"])
def test_grey_and_palette_modes(mode):
    black_white = np.where(GREY > 127, 255, 0).astype(np.uint8)
    image = Image.fromarray(black_white if mode == "1" else GREY)
    image = image.convert("LA" if mode == "La" else "P" if mode == "PA" else mode).convert(mode)
    photo = read_photo(image)
    assert np.array_equal(photo.pixels, grey_as_rgb(black_white if mode == "1" else GREY))
    assert (photo.alpha is not None) == (mode in ("LA", "La", "PA"))


def test_premultiplied_colours_are_divided_again():
    rgba = np.full((2, 2, 4), (200, 100, 40, 128), dtype=np.uint8)
    photo = read_photo(Image.fromarray(rgba).convert("RGBa"))
    assert np.abs(photo.pixels.astype(int) - rgba[:, :, :3]).max() <= 2
    assert np.all(photo.alpha == 128)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_is_scaled_not_clipped(kind):
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    photo = read_photo(encoded(Image.fromarray(levels), kind))
    assert np.array_equal(photo.pixels[:, :, 1].ravel(), np.arange(256))


def test_fractions_and_16_bit_in_modes_without_a_range():
    fractions = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    assert np.array_equal(
        read_photo(Image.fromarray(fractions)).pixels[:, :, 0].ravel(), range(256)
    )
    levels = (np.arange(256, dtype=np.int32) * 257).reshape(16, 16)
    assert np.array_equal(read_photo(Image.fromarray(levels)).pixels[:, :, 0].ravel(), range(256))


@pytest.mark.parametrize(
    ("mode", "transparency", "alpha"),
    [("P", 3, {3: 0}), ("P", b"\xff\x00\x80", {1: 0, 2: 128}), ("L", 7, {7: 0})],
)
def test_transparency_of_palettes_and_grey_becomes_alpha(mode, transparency, alpha):
    indices = (np.arange(20) % 10).astype(np.uint8).reshape(4, 5)
    image = Image.fromarray(indices)
    if mode == "P":
        image.putpalette(range(30))  # colour i is (3i, 3i + 1, 3i + 2)
    photo = read_photo(encoded(image, "PNG", transparency=transparency))
    assert photo.alpha.ravel().tolist() == [alpha.get(i, 255) for i in indices.ravel().tolist()]
    if mode == "P":
        assert np.array_equal(photo.pixels, indices[:, :, None] * 3 + np.arange(3))


def test_cmyk_of_a_jpeg_has_the_right_sign():
    flat = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    photo = read_photo(encoded(flat, "JPEG", quality=95))
    assert np.abs(photo.pixels.astype(int) - (0, 255, 255)).max() < 6


def test_only_a_profile_that_fits_rgb_is_kept():
    image = Image.fromarray(RGB)
    assert read_photo(encoded(image, "PNG", icc_profile=SRGB)).icc_profile == SRGB
    for space in (b"GRAY", b"CMYK"):
        wrong = SRGB[:16] + space + SRGB[20:]
        assert read_photo(encoded(image.convert("L"), "PNG", icc_profile=wrong)).icc_profile is None
    broken = SRGB[:16] + b"CMYK" + SRGB[20:200]
    photo = read_photo(encoded(image.convert("CMYK"), "TIFF", icc_profile=broken))
    assert np.array_equal(photo.pixels, RGB)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_with_a_profile_becomes_srgb_and_stays_grey(gamma, mode):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    linear = (levels / 255.0) ** gamma
    curved = 1.055 * linear ** (1 / 2.4) - 0.055
    right = np.where(linear <= 0.0031308, 12.92 * linear, curved) * 255
    if mode == "I;16":
        image = Image.fromarray(levels.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(levels).convert(mode)
    photo = read_photo(encoded(image, "PNG", icc_profile=grey_profile(gamma)))
    assert np.abs(photo.pixels - right[:, :, None]).max() <= 1
    assert np.ptp(photo.pixels, axis=2).max() == 0
    assert photo.icc_profile is None
    plain = read_photo(encoded(image, "PNG")).pixels
    assert np.array_equal(plain, grey_as_rgb(levels))


@pytest.mark.parametrize("planes", [1, 2])
def test_a_tiff_of_16_bit_in_planes_is_refused(planes):
    levels = RGB.astype("<u2") * 257
    content = (levels if planes == 1 else np.moveaxis(levels, 2, 0)).tobytes()
    height, width = RGB.shape[:2]
    size = len(content) // (1 if planes == 1 else 3)
    starts = [8 + size * number for number in range(len(content) // size)]
    tags = [(256, 3, [width]), (257, 3, [height]), (258, 3, [16] * 3), (259, 3, [1])]
    tags += [(262, 3, [2]), (273, 4, starts), (277, 3, [3]), (278, 3, [height])]
    tags += [(279, 4, [size] * len(starts)), (284, 3, [planes])]
    directory, rest = struct.pack("<H", len(tags)), b""
    after = 8 + len(content) + 2 + 12 * len(tags) + 4
    for tag, kind, values in tags:
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            rest, packed = rest + packed, struct.pack("<I", after + len(rest))
        directory += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", 8 + len(content))
    data = head + content + directory + bytes(4) + rest
    if planes == 1:
        assert np.array_equal(read_photo(data).pixels, RGB)
    else:
        with pytest.raises(PhotoError, match="a TIFF with 16 bits and a plane per colour"):
            read_photo(data)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken_and_said_so(kind, caplog):
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert read_photo(data).pixels[3, 3].tolist() == [255, 0, 0]
    assert caplog.messages == ["the file is animated: its first frame alone is taken"]
    caplog.clear()
    read_photo(encoded(frames[0], kind))
    assert not caplog.messages


def test_a_bomb_is_refused_from_its_header(monkeypatch):
    data = bytearray(encoded(Image.fromarray(RGB), "BMP"))
    data[18:26] = (20000).to_bytes(4, "little") * 2  # width and height, without the pixels
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PhotoError, match=r"400 megapixels \(20000 x 20000\).*limit of 200"):
            read_photo(bytes(data))
    assert Image.MAX_IMAGE_PIXELS is not None


def test_the_limit_is_the_callers_and_pillows_own_keeps_quiet(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_photo(encoded(Image.fromarray(RGB), "PNG")).pixels.shape == (12, 17, 3)
        with pytest.raises(PhotoError, match="megapixels"):
            read_photo(Image.fromarray(RGB), max_pixels=100)
    assert Image.MAX_IMAGE_PIXELS == 50


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about damaged tags
@pytest.mark.parametrize("size", [(65535, 40), (3, 40000), (5000, 90)])
def test_a_strip_is_refused_from_its_header(size, monkeypatch):
    data = encoded(Image.new("L", size), "PNG")
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(PhotoError, match=r"a side may have at most 32768, and beyond 4096"):
        read_photo(data)
    read_photo(np.zeros((4, 300, 3), np.uint8))  # a short one may be as narrow as it likes


def test_formats_whose_decoders_are_hungry_have_lower_limits(monkeypatch):
    monkeypatch.setitem(image_module._FORMAT_PIXELS, "WEBP", 100)
    with pytest.raises(PhotoError, match=r"more than the limit of 0\.0001"):
        read_photo(encoded(Image.new("RGB", (20, 20)), "WEBP"))
    assert read_photo(encoded(Image.new("RGB", (20, 20)), "PNG")).pixels.shape == (20, 20, 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "I;16", "I", "F", "CMYK"])
def test_bands_give_what_the_whole_gives(mode, monkeypatch):
    levels = np.add.outer(np.arange(40) * 30, np.arange(30) * 7)
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(levels.astype({"I;16": "u2", "I": "i4", "F": "f4"}[mode]))
    else:
        image = Image.fromarray((levels % 256).astype(np.uint8)).convert("RGB").convert(mode)
    whole = read_photo(image)
    monkeypatch.setattr(modes, "BAND_PIXELS", 200)
    banded = read_photo(image)
    assert np.array_equal(banded.pixels, whole.pixels)
    assert (banded.alpha is None) == (whole.alpha is None)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_reading_takes_at_most_12_bytes_a_pixel_and_200_mib(tmp_path):
    rows = np.tile(np.arange(3500, dtype=np.uint16) * 13, (3500, 1))
    Image.fromarray(rows).save(tmp_path / "grey16.png", compress_level=1)
    Image.new("L", (20000, 400)).save(tmp_path / "strip.png")
    script = """
import sys
from pathlib import Path
from stylefeatureeditor.data.images import decode
from stylefeatureeditor.photo.image import read_photo

def spent(work):
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    work()
    return peak() - before - (200 << 20)

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10

folder = Path(sys.argv[1])
print(spent(lambda: read_photo(folder / "grey16.png")) / 3500**2)
print(spent(lambda: decode((folder / "strip.png").read_bytes(), 64, "pad")) / 20000 / 400)
"""
    words = [sys.executable, "-c", script, str(tmp_path)]
    spent = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    assert [float(each) < 12 for each in spent] == [True, True], spent


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "JPEG2000"])
def test_damaged_files_are_refused_or_read_but_never_crash(kind):
    whole = encoded(Image.fromarray(RGB), kind)
    random = np.random.default_rng(1)
    sentences = []
    for turn in range(60):
        data = bytearray(whole)
        if turn % 2:
            del data[random.integers(1, len(data)) :]
        else:
            for place in random.integers(0, len(data), 8):
                data[place] = random.integers(256)
        try:
            read_photo(bytes(data), max_pixels=10**6)
        except SfeError as error:
            sentences.append(str(error))
    assert len(sentences) > 10
    assert not any("\n" in sentence for sentence in sentences)


def test_a_photo_cut_short_says_so(tmp_path):
    path = tmp_path / "half.jpg"
    whole = encoded(Image.fromarray(RGB.repeat(20, axis=0).repeat(20, axis=1)), "JPEG")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PhotoError, match=r"half\.jpg is damaged or cut short"):
        read_photo(path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing.jpg", None, "there is no file"),
        ("empty.png", b"", "empty.png is empty"),
        ("notes.txt", b"these are words, not pixels", "notes.txt is not a picture"),
        ("drawing.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        ("shot.nef", b"II*\0", "raw file"),
    ],
)
def test_what_is_no_picture_is_refused(name, content, sentence, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PhotoError, match=sentence):
        read_photo(path)


def test_a_folder_and_foreign_objects_are_refused(tmp_path):
    with pytest.raises(PhotoError, match="is a folder"):
        read_photo(tmp_path)
    with pytest.raises(PhotoError, match="got list"):
        read_photo([1, 2])
    with pytest.raises(PhotoError, match="binary mode"):
        read_photo(io.StringIO("text"))
    with pytest.raises(PhotoError, match=r"cannot be opened|no file"):
        read_photo("a\0b.png")


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((4, 4, 5), np.uint8), "expected an array"),
        (np.zeros((1, 3, 4, 4), np.uint8), "expected an array"),
        (np.zeros((0, 4, 3), np.uint8), "expected an array"),
        (np.full((4, 4), -0.5), "must lie in 0..1"),
        (np.full((4, 4), np.nan), "must lie in 0..1"),
        (np.zeros((4, 4), np.int64), "got int64"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(array, sentence):
    with pytest.raises(PhotoError, match=sentence):
        read_photo(array)


def test_a_heic_photo_without_its_reader_names_the_package(monkeypatch):
    monkeypatch.setattr(image_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DependencyError, match="pip install pillow-heif"):
        read_photo(b"\0\0\0\x18ftypheic" + bytes(40))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saving_keeps_profile_exif_and_where_it_can_every_pixel(suffix, tmp_path):
    exif = exif_with(1).tobytes()
    path = save_photo(RGB, tmp_path / f"out{suffix}", Photo(RGB, None, SRGB, exif))
    photo = read_photo(path)
    if suffix not in (".jpg", ".jpeg"):
        assert np.array_equal(photo.pixels, RGB)
    assert photo.icc_profile == SRGB
    kept = Image.Exif()
    kept.load(photo.exif)
    assert kept[0x010F] == "a camera"
    assert kept.get_ifd(0x8769)[0x829A] == 0.5


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" dc:title="a"/></x:xmpmeta>'


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_resolution_and_xmp_stay_on_every_way_out(suffix, tmp_path):
    kept = XMP.replace(b'"6"', b'"1"')
    wide = encoded(Image.fromarray(RGB), "JPEG", dpi=(300, 150), xmp=XMP, exif=exif_with(6))
    photo = read_photo(wide)
    assert photo.dpi == (150, 300)  # the photo was turned by a quarter
    assert photo.xmp == kept
    save_photo(photo.pixels, tmp_path / f"one{suffix}", photo)
    to_picture(photo.pixels, photo).save(tmp_path / f"two{suffix}")
    for name in ("one", "two"):
        again = read_photo(tmp_path / f"{name}{suffix}")
        assert again.dpi == pytest.approx((150, 300), abs=0.02)
        assert again.xmp == kept
        assert b"a camera" in again.exif


def test_a_picture_saves_itself_with_all_that_its_photo_brought(tmp_path):
    alpha = np.where(GREY > 127, 255, 0).astype(np.uint8)
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    photo = Photo(RGB, alpha, SRGB, exif.tobytes())
    to_picture(RGB, photo, alpha).save(tmp_path / "out.png")
    saved = read_photo(tmp_path / "out.png")
    assert np.array_equal(saved.alpha, alpha)
    assert (saved.icc_profile, saved.exif) == (SRGB, photo.exif)
    to_picture(RGB, photo, alpha).save(tmp_path / "out.jpg")
    shown = read_photo(tmp_path / "out.jpg")
    assert (shown.icc_profile, shown.exif) == (SRGB, photo.exif)
    buffer = io.BytesIO()
    to_picture(RGB, photo).save(buffer, "TIFF", icc_profile=None)
    assert read_photo(buffer.getvalue()).icc_profile is None


def test_a_broken_block_does_not_stop_a_file(tmp_path):
    for suffix in SUFFIXES:
        like = Photo(RGB, None, None, b"Exif\0\0 x", (300, 300), bytes(70000))
        assert (
            read_photo(save_photo(RGB, tmp_path / f"out{suffix}", like)).pixels.shape == RGB.shape
        )


def test_what_carries_no_profile_is_in_srgb():
    grey = np.full((4, 4, 3), 55, np.uint8)  # of linear light: 0.2157, 128.2 in sRGB
    alpha = np.full((4, 4), 255, np.uint8)
    alpha[0] = 0
    shown = in_srgb(to_picture(grey, Photo(grey, None, linear_profile()), alpha))
    assert shown.mode == "RGB"
    assert "icc_profile" not in shown.info
    assert np.all(np.asarray(shown)[0] == 255)
    assert np.abs(np.asarray(shown)[1:].astype(int) - 128).max() <= 1
    plain = in_srgb(to_picture(RGB, Photo(RGB, None, b"no profile")))
    assert np.array_equal(np.asarray(plain), RGB)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_saving_keeps_alpha_and_the_colours_under_it(suffix, tmp_path):
    alpha = np.where(GREY > 127, 255, 0).astype(np.uint8)
    photo = read_photo(save_photo(RGB, tmp_path / f"out{suffix}", Photo(RGB, alpha)))
    assert np.array_equal(photo.alpha, alpha)
    assert np.array_equal(photo.pixels, RGB)


def test_jpeg_lays_transparency_on_white_and_keeps_colour_sharp(tmp_path):
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:, 8:] = (255, 0, 0)
    alpha = np.full((16, 16), 255, dtype=np.uint8)
    alpha[8:] = 0
    path = save_photo(pixels, tmp_path / "out.jpg", Photo(pixels, alpha))
    shown = read_photo(path).pixels.astype(int)
    assert np.abs(shown[:8] - pixels[:8]).max() < 8
    assert np.abs(shown[8:] - 255).max() < 8
    with Image.open(path) as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # 4:4:4


def test_a_crop_leaves_the_whole_photos_alpha_out(tmp_path):
    path = save_photo(RGB[:5], tmp_path / "crop.png", Photo(RGB, GREY))
    assert read_photo(path).alpha is None


def test_too_much_exif_does_not_stop_a_jpeg(tmp_path):
    path = save_photo(RGB, tmp_path / "out.jpg", Photo(RGB, None, None, b"Exif\0\0" + bytes(70000)))
    assert read_photo(path).exif is None


def test_a_path_without_suffix_becomes_png(tmp_path):
    path = save_photo(RGB, tmp_path / "result")
    assert path == tmp_path / "result.png"
    with Image.open(path) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("out.gif", "must end in one of .png"),
        ("missing/out.png", "there is no folder"),
        (".", "is a folder"),
        ("x" * 300 + ".png", "cannot be written"),
    ],
)
def test_where_nothing_can_be_written_the_sentence_says_why(name, sentence, tmp_path):
    with pytest.raises(PhotoError, match=sentence):
        save_photo(RGB, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = save_photo(RGB, tmp_path / "out.png")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(image_module, "_carried", fail)
    with pytest.raises(PhotoError, match="no space left"):
        save_photo(255 - RGB, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
