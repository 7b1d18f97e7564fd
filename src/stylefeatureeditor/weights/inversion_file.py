"""An inversion on disk: one safetensors file from which the photo can be edited again.

    header   format number, fingerprint of the model, SHA-256 of the tensors
    tensors  w, F_k, the image that w draws so far, the photo as the encoders see it; where known,
             the reconstruction, the e4e side, the faces' crops, quads and landmarks, and the photo
             with its alpha, colour profile, EXIF, resolution and XMP
The photo is in the file, so an edit is pasted back without the original. What comes back equals
what was saved, bit for bit; it lies on the CPU.

Shapes: B faces, H, W photo, S side of the crop, N styles, D style width.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.inversion.record import Anchor, Inversion
from stylefeatureeditor.records import AlignedFace, Codes, Photo, StyleSpace
from stylefeatureeditor.weights.storage import load_tensors, save_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

SUFFIX = ".safetensors"
FORMAT = "1"
FARTHEST = 1e6  # pixels, of a crop's corner from its photo's
# pattern of a name: dtype and shape, None for any size
_KINDS: dict[str, tuple[torch.dtype, tuple[int | None, ...]]] = {
    r"(anchor\.)?codes": (torch.float32, (None, None, None)),
    r"(anchor\.)?codes\.(conv|rgb)\.\d+": (torch.float32, (None, None)),
    r"(anchor\.)?features": (torch.float32, (None, None, None, None)),
    r"rgb|(encoder_|faces\.)?pixels": (torch.float32, (None, 3, None, None)),
    r"faces\.quad": (torch.float64, (None, 4, 2)),
    r"faces\.landmarks\.\d+": (torch.float64, (68, 2)),
    r"photo": (torch.uint8, (None, None, 3)),
    r"photo\.alpha": (torch.uint8, (None, None)),
    r"photo\.(icc_profile|exif|xmp)": (torch.uint8, (None,)),
    r"photo\.dpi": (torch.float64, (2,)),
}
_BLOCKS = ("icc_profile", "exif", "xmp")  # of a `Photo`, bytes as they are
_REQUIRED = ("codes", "features", "rgb", "encoder_pixels")
_TOGETHER = {  # a name that starts so asks for these
    "anchor.": ("anchor.codes", "anchor.features"),
    "faces.": ("photo", "faces.pixels", "faces.quad"),
    "photo": ("photo", "faces.pixels", "faces.quad"),
}
_PER_FACE = (*_REQUIRED, "pixels", "anchor.codes", "anchor.features", "faces.pixels", "faces.quad")


def save_inversion(inversion: Inversion, path: str | Path) -> Path:
    """Write an inversion of `Editor.invert`, whole or not at all; return the path.

    All faces must come from one photo. The suffix, .safetensors, is added if it is missing.

    Raises:
        WeightsError: the file cannot be written, the faces come from several photos, or another
            method made the inversion.
    """
    if inversion.features is None:
        raise WeightsError(
            "what this method knows of a photo has no file format: keep the photo and edit it anew"
        )
    path = Path(path)
    if path.suffix != SUFFIX:
        path = path.with_name(path.name + SUFFIX)
    tensors = _to_tensors(inversion)
    header = {
        "inversion_format": FORMAT,
        "model": inversion.model,
        "sha256": _digest(inversion.model, tensors),
    }
    save_tensors(path, tensors, header)
    return path


def is_inversion_file(path: Path) -> bool:
    """Return whether a file says of itself that it is an inversion; only its head is read.

    A damaged file counts as one, so that opening it reports the damage.
    """
    try:
        with safe_open(path, "pt") as file:
            return "inversion_format" in (file.metadata() or {})
    except Exception:  # noqa: BLE001 (safetensors has an error of its own for every damage)
        return True


def load_inversion(path: str | Path) -> Inversion:
    """Read what `save_inversion` wrote.

    Raises:
        WeightsError: there is no such file; it is damaged, changed, or no inversion.
    """
    path = Path(path)
    tensors, header = load_tensors(path)
    if "inversion_format" not in header:
        raise WeightsError(f"{path} is no inversion; `sfe invert PHOTO -o FILE` makes one")
    if header["inversion_format"] != FORMAT:
        raise WeightsError(
            f"{path} has format {header['inversion_format']}, expected {FORMAT}: "
            "invert the photo again with this version"
        )
    model = header.get("model", "")
    if header.get("sha256") != _digest(model, tensors):
        raise WeightsError(f"{path} was changed or damaged after it was made: invert again")
    if problem := _problem(tensors):
        raise WeightsError(f"{path} is no sound inversion ({problem}): invert the photo again")
    return _from_tensors(model, tensors)


def _to_tensors(inversion: Inversion) -> dict[str, Tensor]:
    tensors = _codes_to_tensors("codes", inversion.codes)
    for name in (*_REQUIRED[1:], "pixels"):
        if (tensor := getattr(inversion, name)) is not None:
            tensors[name] = tensor
    if inversion.anchor is not None:
        tensors |= _codes_to_tensors("anchor.codes", inversion.anchor.codes)
        tensors["anchor.features"] = inversion.anchor.features
    if inversion.faces:
        tensors |= _faces_to_tensors(inversion)
    return tensors


def _faces_to_tensors(inversion: Inversion) -> dict[str, Tensor]:
    faces = inversion.faces
    source = inversion.source or Photo(faces[0].photo)
    if any(not np.array_equal(face.photo, source.pixels) for face in faces):
        raise WeightsError("a file holds the faces of one photo: save each inversion by itself")
    tensors = {
        "faces.pixels": torch.cat([face.pixels for face in faces]),
        "faces.quad": _tensor(np.stack([face.quad for face in faces]), np.float64),
        "photo": _tensor(source.pixels, np.uint8),
    }
    for number, face in enumerate(faces):
        if face.landmarks is not None:
            tensors[f"faces.landmarks.{number}"] = _tensor(face.landmarks, np.float64)
    if source.alpha is not None:
        tensors["photo.alpha"] = _tensor(source.alpha, np.uint8)
    if source.dpi is not None:
        tensors["photo.dpi"] = _tensor(np.array(source.dpi), np.float64)
    for name in _BLOCKS:
        if block := getattr(source, name):
            tensors[f"photo.{name}"] = _tensor(np.frombuffer(block, np.uint8), np.uint8)
    return tensors


def _tensor(array: np.ndarray, dtype: type[np.generic]) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=dtype))


def _codes_to_tensors(name: str, codes: Codes) -> dict[str, Tensor]:
    tensors = {name: codes.wplus}
    if codes.styles is not None:
        for kind, layers in (("conv", codes.styles.conv), ("rgb", codes.styles.rgb)):
            tensors |= {f"{name}.{kind}.{layer}": style for layer, style in enumerate(layers)}
    return tensors


def _from_tensors(model: str, tensors: Mapping[str, Tensor]) -> Inversion:
    maps: dict[str, Any] = {name: tensors[name] for name in _REQUIRED[1:]}
    codes = _read_codes("codes", tensors)
    inversion = Inversion(codes=codes, model=model, pixels=tensors.get("pixels"), **maps)
    if "anchor.codes" in tensors:
        inversion.anchor = Anchor(_read_codes("anchor.codes", tensors), tensors["anchor.features"])
    if "photo" not in tensors:
        return inversion
    alpha, dpi = tensors.get("photo.alpha"), tensors.get("photo.dpi")
    blocks = {name: tensors.get(f"photo.{name}") for name in _BLOCKS}
    source = Photo(
        tensors["photo"].numpy(),
        None if alpha is None else alpha.numpy(),
        dpi=None if dpi is None else (float(dpi[0]), float(dpi[1])),
        **{name: block.numpy().tobytes() for name, block in blocks.items() if block is not None},
    )
    faces = []
    for row, quad in enumerate(tensors["faces.quad"].numpy()):
        points = tensors.get(f"faces.landmarks.{row}")
        landmarks, crop = points if points is None else points.numpy(), tensors["faces.pixels"][row]
        faces.append(AlignedFace(crop[None], source.pixels, quad, landmarks))
    return replace(inversion, faces=tuple(faces), source=source)


def _read_codes(name: str, tensors: Mapping[str, Tensor]) -> Codes:
    conv, rgb = (
        tuple(tensors[key] for key in _style_keys(f"{name}.{kind}.", tensors))
        for kind in ("conv", "rgb")
    )
    return Codes(tensors[name], StyleSpace(conv, rgb) if conv else None)


def _style_keys(prefix: str, tensors: Mapping[str, Tensor]) -> list[str]:
    return [f"{prefix}{layer}" for layer in range(sum(key.startswith(prefix) for key in tensors))]


def _problem(tensors: Mapping[str, Tensor]) -> str | None:  # what does not fit together
    if missing := sorted(_needed(tensors) - tensors.keys()):
        return f"{missing[0]} is missing"
    for name, tensor in tensors.items():
        if not _has_kind(name, tensor):
            return f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}"
    rows = len(tensors["codes"])
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return f"{name} holds values that are not finite"
        if name in _PER_FACE and len(tensor) != rows:
            return f"{name} has {len(tensor)} faces and the codes {rows}"
    alpha = tensors.get("photo.alpha")
    if alpha is not None and alpha.shape != tensors["photo"].shape[:2]:
        return "the alpha has another size than the photo"
    quads = tensors.get("faces.quad")
    if quads is not None and not all(map(_is_square, quads.numpy())):
        return "faces.quad is no square in a photo"
    return None


def _is_square(quad: np.ndarray) -> bool:
    """Whether four corners may be a crop's: at least a pixel large, and not far away."""
    right, down = quad[3] - quad[0], quad[1] - quad[0]
    return abs(right[0] * down[1] - right[1] * down[0]) >= 1 and np.abs(quad).max() < FARTHEST


def _needed(tensors: Mapping[str, Tensor]) -> set[str]:
    needed = set(_REQUIRED)
    for start, names in _TOGETHER.items():
        if any(key.startswith(start) for key in tensors):
            needed.update(names)
    for name in ("codes", "anchor.codes"):
        for kind in ("conv", "rgb"):
            needed.update(_style_keys(f"{name}.{kind}.", tensors))
    return needed


def _has_kind(name: str, tensor: Tensor) -> bool:
    kinds = (kind for pattern, kind in _KINDS.items() if re.fullmatch(pattern, name))
    dtype, shape = next(kinds, (None, ()))
    return (
        tensor.dtype == dtype
        and tensor.ndim == len(shape)
        and all(want in (None, got) for want, got in zip(shape, tensor.shape, strict=True))
        and 0 not in tensor.shape
    )


def _digest(model: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the model's fingerprint and every tensor's name, shape and bytes."""
    digest = hashlib.sha256(model.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
