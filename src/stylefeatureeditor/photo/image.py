"""Pictures in and out: files, Pillow and numpy on one side, tensors on the other.

This is the only file of the package that converts between them, and torch is imported when it
does, so that photos are read without; `modes.py` is its back room. A
`Photo` is what the user sees: upright, 8 bit, RGB. Its pixels stay in the file's own RGB colour
space, and the profile goes back into the saved file; only CMYK, LAB, and grey with a profile, which
cannot stay as they are, are turned into sRGB.

Transparency is kept apart and never composited on reading: the colour under a transparent pixel is
what the file holds, so saving gives every untouched pixel back. Networks and the face detector get
`visible` pixels, which do not show it.

Shapes: H, W height and width of the photo, B batch. Tensors are float (B, 3, H, W) in [-1, 1],
arrays uint8 (H, W, 3) in 0..255, both RGB, row 0 at the top.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import re
import struct
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from stylefeatureeditor.errors import DependencyError, PhotoError, check_shape
from stylefeatureeditor.files import DAMAGED_ZIP, atomic_path
from stylefeatureeditor.photo import NOTE, SUFFIXES, modes
from stylefeatureeditor.records import Photo

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

MAX_PIXELS = 200_000_000
# Their decoders take 16 to 24 bytes a pixel; so few pixels stay below 12 and the 200 MiB.
_FORMAT_PIXELS = {"WEBP": 50e6, "AVIF": 50e6, "HEIF": 50e6, "JPEG2000": 16e6}
MAX_SIDE = 1 << 15  # dlib's detector breaks the heap on 40000
MAX_ASPECT, LONG_SIDE = 50, 4096  # of the sides; it counts where the longer one is above LONG_SIDE

logger = logging.getLogger(__name__)

# Formats with a pure decoder. EPS is left out on purpose: Pillow hands it to Ghostscript. So is
# ICO: it is decoded while it is opened, at a size that its header does not tell.
# fmt: off
_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "GIF", "PPM", "TGA", "JPEG2000",
    "PSD", "PCX", "SGI", "QOI", "HEIF",
)
# fmt: on
_ANIMATED = frozenset({"AVIF", "GIF", "PNG", "WEBP"})
_RAW_SUFFIXES = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_ORIENTATION = 0x0112
# A TIFF keeps its EXIF tags among those that describe the file's own layout; these may travel:
# description, make, model, resolution, software, date, artist, copyright, EXIF and GPS blocks.
_TRAVELLING_TAGS = frozenset({270, 271, 272, 282, 283, 296, 305, 306, 315, 33432, 34665, 34853})
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}
_QUARTER_TURNS = (5, 6, 7, 8)
_RESOLUTION = (282, 283, 296)  # across, down, unit: 2 = inch, 3 = cm
_XMP_TAG, _XMP_KEY = 700, "XML:com.adobe.xmp"
_XMP_TURN = re.compile(rb'(tiff:Orientation(?:>|=["\']))[2-8]')
_JPEG_BLOCK_BYTES = {"exif": 65533, "xmp": 65504}  # what one APP1 segment holds
_ENCODING: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},  # 0 keeps the colour planes at full size
    "WEBP": {"lossless": True, "exact": True},  # exact keeps the colours under transparent pixels
    "TIFF": {},  # uncompressed: the compressing writer cannot store an EXIF block
    "PNG": {"compress_level": 3},  # half the time of the default for 4 % more bytes
}
# What Pillow's decoders are known to raise on damaged data.
DAMAGED = (
    *DAMAGED_ZIP,
    *(OSError, SyntaxError, TypeError, ArithmeticError, AttributeError, MemoryError),
    Image.DecompressionBombError,
)


def read_photo(
    source: str | Path | bytes | IO[bytes] | Image.Image | np.ndarray,
    *,
    max_pixels: int = MAX_PIXELS,
    least: int | None = None,
) -> Photo:
    """Read a picture, turn it upright and bring it to 8-bit RGB.

    Animated files give their first frame. 16-bit values are scaled (65535 becomes 255). Pillow's
    modes I and F carry no range of their own: values up to 255 are taken as 8 bit (F up to 1 as
    fractions), up to 65535 as 16 bit.

    Reading takes at most 12 bytes of memory a pixel and 200 MiB, beside the file itself. A side may
    have MAX_SIDE pixels, and beyond LONG_SIDE at most MAX_ASPECT times the other.

    Args:
        source: a path, the bytes of a file, an open binary file, a Pillow image, or an array:
            (H, W), (H, W, 1), (H, W, 2) grey and alpha, (H, W, 3) or (H, W, 4), in uint8, uint16,
            bool, or floating point from 0 to 1.
        max_pixels: larger pictures are refused, from the header, before anything is decoded.
        least: a JPEG file may come at a half, a quarter or an eighth of its size, which is quicker,
            as long as both sides have this many pixels; None is all of it.

    Raises:
        PhotoError: there is no such file, it is not a picture, is damaged or too large, or an
            array has another shape or range.
        DependencyError: a HEIC file, and pillow-heif is not installed.
    """
    if isinstance(source, np.ndarray):
        return Photo(*modes.split_array(source))
    if isinstance(source, Image.Image):
        return _from_pillow(source, "the image", max_pixels)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        name = path.name or str(path)
        try:
            _check_file(path)
            with path.open("rb") as file:
                return _from_file(file, name, max_pixels, least)
        except (OSError, ValueError) as error:
            if isinstance(error, PhotoError):
                raise
            raise PhotoError(f"{source} cannot be opened: {_reason(error)}") from error
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_file(io.BytesIO(source), "the file", max_pixels, least)
    if hasattr(source, "read"):
        content = source.read()
        if not isinstance(content, bytes):
            raise PhotoError("the open file must be in binary mode, it gave text")
        return _from_file(io.BytesIO(content), "the file", max_pixels, least)
    raise PhotoError(
        "a photo must be a path, bytes, an open file, a Pillow image or an array, "
        f"got {type(source).__name__}"
    )


def save_photo(
    pixels: np.ndarray, path: str | Path, like: Photo | None = None, note: str | None = None
) -> Path:
    """Write a picture, whole or not at all, in the format that the suffix names.

    PNG (also for a path without a suffix), WebP and TIFF are lossless; JPEG has quality 95 and
    full colour resolution. JPEG has no transparency: there the picture is laid on white.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        path: where to write; a file that is there already is replaced in one step.
        like: the photo whose transparency, colour profile, EXIF, resolution and XMP the file shall
            carry. Transparency of another size (a crop is saved) is left out.
        note: how the picture was made; a PNG keeps it for `read_note`, other formats do not.

    Returns:
        The path written.

    Raises:
        PhotoError: the suffix is unknown, or the file cannot be written there.
    """
    alpha = like.alpha if like else None
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        alpha = None
    return save_picture(to_picture(pixels, like, alpha), path, note)


def save_picture(picture: Image.Image, path: str | Path, note: str | None = None) -> Path:
    """Write what `to_picture` made, with all it carries; the rest as `save_photo`."""
    path = _check_target(Path(path))
    suffix = path.suffix.lower()
    kind = {".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".png": "PNG"}.get(suffix, "JPEG")
    try:
        with atomic_path(path) as part, part.open("xb") as file:
            info = picture.info if note is None else {**picture.info, NOTE: note}
            options = {**_ENCODING[kind], **_carried(info, kind, path.name)}
            laid = on_white(picture) if kind == "JPEG" else picture
            Image.Image.save(laid, file, kind, **options)
    except (OSError, ValueError, struct.error, OverflowError) as error:
        raise PhotoError(f"{path} cannot be written: {_reason(error)}") from error
    return path


class _Picture(Image.Image):
    """A picture that saves what its photo brought; Pillow's own has to be told each time."""

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:  # noqa: A002
        """Save as Pillow does, with profile, EXIF, resolution and XMP; JPEG is laid on white."""
        name = fp if isinstance(fp, (str, os.PathLike)) else str(getattr(fp, "name", ""))
        suffix = Path(os.fsdecode(name)).suffix.lower()
        kind = (format or Image.registered_extensions().get(suffix, "")).upper()
        options = {**_carried(self.info, kind, "the picture"), **params}
        laid = on_white(self) if kind == "JPEG" else self
        Image.Image.save(laid, fp, format, **options)


def to_picture(
    pixels: np.ndarray, like: Photo | None = None, alpha: np.ndarray | None = None
) -> Image.Image:
    """Return (H, W, 3) uint8 pixels as a Pillow image whose `save` keeps what `like` brought.

    `alpha`, (H, W) uint8, belongs to these pixels; the photo's own is not taken.
    """
    _check_pixels(pixels)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if alpha is not None:
        image.putalpha(Image.fromarray(np.ascontiguousarray(alpha)))
    image.__class__ = _Picture
    if like is not None:
        blocks = {key: getattr(like, key) for key in ("icc_profile", "exif", "dpi", "xmp")}
        image.info.update({key: block for key, block in blocks.items() if block})
    return image


def visible(photo: Photo) -> np.ndarray:
    """Return the pixels, (H, W, 3) uint8, white where alpha is 0; not to be written to."""
    if photo.alpha is None:
        return photo.pixels
    return np.where(photo.alpha[:, :, None] == 0, np.uint8(255), photo.pixels)


def turned(photo: Photo, turns: int) -> Photo:
    """Return a photo after quarter turns to the left."""
    if not turns % 4:
        return photo
    alpha, dpi = photo.alpha, photo.dpi
    return replace(
        photo,
        pixels=np.ascontiguousarray(np.rot90(photo.pixels, turns)),
        alpha=None if alpha is None else np.ascontiguousarray(np.rot90(alpha, turns)),
        dpi=dpi[::-1] if dpi and turns % 2 else dpi,
    )


def is_grey(pixels: np.ndarray) -> bool:
    """Return whether the channels of (H, W, 3) pixels are equal, in every pixel."""
    rows = max(1, modes.BAND_PIXELS // pixels.shape[1])
    bands = (pixels[top : top + rows] for top in range(0, len(pixels), rows))
    return all(np.array_equal(band[..., :2], band[..., 1:]) for band in bands)


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) pixels with their luma (ITU-R BT.601) in every channel; grey ones stay."""
    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))


def on_white(picture: Image.Image) -> Image.Image:
    """Return a picture without transparency, laid on white."""
    if picture.mode != "RGBA":
        return picture
    laid = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    laid.info = dict(picture.info)
    return laid


def in_srgb(picture: Image.Image) -> Image.Image:
    """Return a picture on white and in sRGB, for ways out that carry no profile."""
    laid = on_white(picture)
    to_srgb = modes.from_profile(laid.info.get("icc_profile"), "RGB", "the picture")
    if to_srgb is None:
        return Image.fromarray(np.asarray(laid))
    was_grey = is_grey(np.asarray(laid))
    pixels = np.asarray(ImageCms.applyTransform(laid, to_srgb))
    return Image.fromarray(to_grey(pixels) if was_grey else pixels)


def read_note(path: str | Path) -> str | None:
    """Return the note that `save_photo` left in a picture; None if there is none to be read."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            note = image.info.get(NOTE)
    except Exception:  # noqa: BLE001 (Pillow's readers raise almost anything on damaged data)
        return None
    return note if isinstance(note, str) else None


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Return (H, W, 3) uint8 pixels as a (1, 3, H, W) float tensor, 0 -> -1 and 255 -> 1."""
    import torch

    _check_pixels(pixels)
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))[None])
    return planes.float() / 127.5 - 1


def to_uint8(pixels: Tensor) -> np.ndarray:
    """Return (B, 3, H, W) pixels in [-1, 1] as (B, H, W, 3) uint8, clipped, rounded to nearest.

    The release cuts the fraction off instead, which darkens every picture by half a level.

    Raises:
        ShapeError: `pixels` is not (B, 3, H, W).
    """
    import torch

    check_shape("pixels", pixels, (None, 3, None, None))
    levels = (pixels.detach().float() + 1) * 127.5
    levels = levels.round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _check_pixels(pixels: np.ndarray) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise PhotoError(f"expected (H, W, 3) uint8 pixels, got {pixels.shape} {pixels.dtype}")


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise PhotoError(f"{path} is a folder, a picture file was expected")
    if not path.exists():
        raise PhotoError(f"there is no file {path}")
    if not path.is_file():
        raise PhotoError(f"{path} is not a regular file, a picture file was expected")
    if path.suffix.lower() in _RAW_SUFFIXES:
        raise PhotoError(f"{path.name} is a camera's raw file, export it as JPEG, PNG or TIFF")


def _check_target(path: Path) -> Path:
    """The path to write, with its suffix; PhotoError if nothing can be written there."""
    try:
        if path.is_dir():
            raise PhotoError(f"{path} is a folder, give the name of a picture file")
        if not path.suffix:
            path = path.with_name(path.name + ".png")
        if path.suffix.lower() not in SUFFIXES:
            raise PhotoError(f"{path.name} must end in one of {', '.join(SUFFIXES)}")
        if not path.parent.is_dir():
            raise PhotoError(f"{path} cannot be written: there is no folder {path.parent}")
    except (OSError, ValueError) as error:
        if isinstance(error, PhotoError):
            raise
        raise PhotoError(f"{path} cannot be written: {_reason(error)}") from error
    return path


def _reason(error: Exception) -> str:
    """The error in a few words that can end our own sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


def _from_file(file: IO[bytes], name: str, max_pixels: int, least: int | None) -> Photo:
    head = file.read(12)
    file.seek(0)
    if not head:
        raise PhotoError(f"{name} is empty, a picture was expected")
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        _register_heif(name)
    try:
        image = open_picture(file)
    except DAMAGED as error:
        raise PhotoError(
            f"{name} is not a picture that can be read (JPEG, PNG, WebP, TIFF, GIF, BMP and others)"
        ) from error
    with image:
        if least is not None:
            _check_size(image, name, max_pixels)
            image.draft(None, (least, least))
        photo = _from_pillow(image, name, max_pixels)
        with contextlib.suppress(*DAMAGED):
            if least is None and image.format in _ANIMATED and getattr(image, "is_animated", False):
                logger.warning("%s is animated: its first frame alone is taken", name)
    return photo


def open_picture(file: IO[bytes]) -> Image.Image:
    """Open a picture of any size with the decoders that run no other program; may raise DAMAGED."""
    Image.init()
    with modes.without_pillow_limit():
        return Image.open(file, formats=[key for key in _FORMATS if key in Image.OPEN])


def _register_heif(name: str) -> None:
    if importlib.util.find_spec("pillow_heif") is None:
        raise DependencyError(
            f"{name} is a HEIC picture: run `pip install pillow-heif`, or export it as JPEG or PNG"
        )
    import pillow_heif

    pillow_heif.register_heif_opener()


def _from_pillow(image: Image.Image, name: str, max_pixels: int) -> Photo:
    _check_size(image, name, max_pixels)
    _check_planes(image, name)
    try:
        image.load()
        _check_size(image, name, max_pixels)  # an icon may hold another size than it names
        profile = image.info.get("icc_profile") or None
        turn, exif, dpi = _read_exif(image, name)
        pixels, alpha = modes.split_image(image, profile, name)
    except PhotoError:
        raise
    except DAMAGED as error:
        raise PhotoError(f"{name} is damaged or cut short: {_reason(error)}") from error
    if turn is not None:
        pixels = np.ascontiguousarray(turn(pixels))
        alpha = None if alpha is None else np.ascontiguousarray(turn(alpha))
    # Bytes 16..20 name the profile's colour space; one of CMYK or grey no longer fits.
    if profile is not None and profile[16:20] != b"RGB ":
        profile = None
    return Photo(pixels, alpha, profile, exif, dpi, _read_xmp(image))


def _check_size(image: Image.Image, name: str, max_pixels: float) -> None:
    width, height = image.size
    long, short = max(width, height), min(width, height)
    if long > MAX_SIDE or long > max(LONG_SIDE, MAX_ASPECT * short):
        raise PhotoError(
            f"{name} is {width} x {height} pixels: a side may have at most {MAX_SIDE}, and beyond "
            f"{LONG_SIDE} at most {MAX_ASPECT} times the other; cut it first"
        )
    max_pixels = min(max_pixels, _FORMAT_PIXELS.get(image.format or "", max_pixels))
    if width * height > max_pixels:
        raise PhotoError(
            f"{name} has {width * height / 1e6:.0f} megapixels ({width} x {height}), more than "
            f"the limit of {max_pixels / 1e6:g}: make it smaller first"
        )
    if not width * height:
        raise PhotoError(f"{name} has no pixels ({width} x {height})")


def _check_planes(image: Image.Image, name: str) -> None:
    """Refuse what Pillow reads scrambled: a TIFF of 16 bit with its colours in planes."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(258, ())  # BitsPerSample, one for each colour; tag 284 is PlanarConfiguration
    if tags.get(284) == 2 and len(bits) > 1 and max(bits) > 8:
        raise PhotoError(
            f"{name} is a TIFF with {max(bits)} bits and a plane per colour, which cannot be read: "
            "save it with interleaved colours (per pixel), or with 8 bits"
        )


def _read_exif(
    image: Image.Image, name: str
) -> tuple[Callable[[np.ndarray], np.ndarray] | None, bytes | None, tuple[float, float] | None]:
    """The turn that makes the picture upright, its EXIF block without that tag, and its dpi."""
    try:
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION, 1)
        turn, dpi = _UPRIGHT.get(orientation), _read_dpi(image, exif)
        if dpi is not None and orientation in _QUARTER_TURNS:
            dpi = dpi[::-1]
        left_out = {_ORIENTATION} & set(exif)
        if image.format == "TIFF":
            left_out |= set(exif) - _TRAVELLING_TAGS
        taken = {tag: exif.pop(tag) for tag in left_out}
        try:
            return turn, exif.tobytes() if len(exif) else None, dpi
        finally:
            exif.update(taken)  # the image may be the caller's, who may hand it in again
    except DAMAGED as error:  # a broken EXIF block does not spoil the picture
        logger.warning("%s: the EXIF block is unreadable, left out: %s", name, _reason(error))
        return None, None, None


def _read_dpi(image: Image.Image, exif: Image.Exif) -> tuple[float, float] | None:
    """Pixels per inch across and down; formats without a place of their own say it in EXIF."""
    dpi: Any = image.info.get("dpi")
    try:
        if dpi is None:
            *dpi, unit = (exif[tag] for tag in _RESOLUTION)
            dpi = [float(each) * (2.54 if unit == 3 else 1) for each in dpi]
        across, down = map(float, dpi)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return None
    is_sound = all(isfinite(each) and 1 <= each < 1e5 for each in (across, down))
    return (across, down) if is_sound else None


def _read_xmp(image: Image.Image) -> bytes | None:
    xmp = image.info.get("xmp") or image.info.get(_XMP_KEY)
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return _XMP_TURN.sub(rb"\g<1>1", xmp) if isinstance(xmp, bytes) else None


def _full_exif(carried: dict[str, Any], kind: str, name: str) -> Image.Exif:
    """Take the EXIF block, and what TIFF (XMP) and WebP (the resolution) keep among its tags."""
    exif = Image.Exif()
    try:
        exif.load(carried.pop("exif", b""))
    except DAMAGED as error:
        logger.warning("%s: the EXIF block is left out: %s", name, _reason(error))
    if kind == "TIFF" and "xmp" in carried:
        exif[_XMP_TAG] = carried.pop("xmp")
    if kind == "WEBP" and "dpi" in carried:
        exif.update(zip(_RESOLUTION, (*carried["dpi"], 2), strict=True))
    return exif


def _carried(info: dict[Any, Any], kind: str, name: str) -> dict[str, Any]:
    """What Pillow's writer of a format has to be told, so that the file keeps the picture's info.

    Blocks that are too large for JPEG are left out with a warning.
    """
    carried = {key: info[key] for key in ("icc_profile", "dpi", "exif", "xmp") if info.get(key)}
    for key, most in _JPEG_BLOCK_BYTES.items() if kind == "JPEG" else ():
        if len(carried.get(key, b"")) > most:
            logger.warning("%s: the %s block is too large for JPEG, left out", name, key.upper())
            del carried[key]
    if kind in ("TIFF", "WEBP"):
        exif = _full_exif(carried, kind, name)
        carried |= {"exif": exif} if len(exif) else {}
    if kind == "PNG":
        text = PngInfo()
        if info.get(NOTE) is not None:
            text.add_itxt(NOTE, info[NOTE])
        if "xmp" in carried:
            text.add_itxt(_XMP_KEY, carried.pop("xmp").decode("utf-8", "replace"))
        carried["pnginfo"] = text
    return carried
