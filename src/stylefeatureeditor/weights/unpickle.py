"""Reading foreign weight files without running anything in them.

`read_torch`         .pt / .pth of torch.save, and the tensors of a TorchScript archive
`read_nvidia_pickle` .pkl of stylegan2-ada-pytorch and stylegan3
`read_numpy_pickle`  small pickles of numpy arrays (StyleCLIP's channel statistics)
`read_array`         .npy
`read_arrays`        .npz

All pickles go through `restricted.py`. NVIDIA's carry the source code of their networks
(`module_src`), TorchScript archives that of their modules: it is ignored, never compiled.
"""

from __future__ import annotations

import io
import mmap
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import DAMAGED_ZIP, readable_size, regular
from stylefeatureeditor.weights.restricted import (
    KNOWN,
    STORAGE_DTYPES,
    Module,
    Refused,
    Symbol,
    Unpickler,
    check_size,
    module_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ZIP_START = b"PK\x03\x04"
LEGACY_START = 0x1950A86A20F9469CFC6C  # the first number of torch.save's format before zip
MOST_UNFOLDED = 50  # times the size of a compressed file
TAR_MARK = (257, b"ustar")


@dataclass(frozen=True)
class NvidiaModule:
    """One network of an NVIDIA .pkl: the arguments it was made with, and tensors by dotted name."""

    class_name: str
    init_kwargs: dict[str, Any]
    tensors: dict[str, Tensor]


def read_torch(path: Path) -> Any:
    """Return what a torch checkpoint holds, on the CPU, running none of its code.

    A zip checkpoint is mapped, so memory is used only for the tensors that are touched. From a
    TorchScript archive the parameters and buffers come as one dictionary of dotted names.
    WeightsError if the file is missing, damaged, of an old or foreign format, or asks for anything
    but dense tensors and plain data.
    """
    with _opened(path) as (file, size):
        if file.read(4) == ZIP_START:
            content = _read_archive(path, file, size)
        else:
            file.seek(0)
            content = _read_legacy(file, size, str(path))
    check_size(content, str(path))
    return content


def read_nvidia_pickle(path: Path) -> dict[str, NvidiaModule]:
    """Return the networks of a stylegan2-ada-pytorch or stylegan3 .pkl: "G", "D", "G_ema".

    WeightsError if the file is missing, damaged, holds no such networks, comes from the TensorFlow
    version, or asks for anything but known data.
    """
    content = _read_pickle(path)
    if isinstance(content, Module):  # one network saved whole
        content = {"D" if "Discriminator" in content.class_name else "G_ema": content}
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not StyleGAN networks.")
    networks = {}
    for name, module in content.items():
        if isinstance(name, str) and isinstance(module, Module):
            kwargs = module.state.get("_init_kwargs", {})
            if not isinstance(kwargs, dict):
                raise WeightsError(f"{path} has a damaged network {module.class_name}.")
            check_size(kwargs, str(path))
            tensors = module_tensors(module, str(path))
            networks[name] = NvidiaModule(module.class_name, kwargs, tensors)
    if not networks:
        raise WeightsError(
            f"{path} holds no networks: expected a .pkl of stylegan2-ada-pytorch or stylegan3."
        )
    return networks


def read_numpy_pickle(path: Path) -> Any:
    """Return the plain data and numpy arrays of a small pickle; WeightsError if it holds more."""
    content = _read_pickle(path)
    if not isinstance(content, list | tuple | dict | np.ndarray):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not arrays of numbers.")
    check_size(content, str(path))
    return content


def read_array(path: Path) -> np.ndarray:
    """Return the numbers of a .npy file; WeightsError if it is anything else."""
    with _named(path, "not a complete .npy"):
        array = np.load(regular(path), allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufc":
        raise WeightsError(f"{path} is not one array of numbers: expected a .npy file.")
    return array


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz; WeightsError for other things, and beyond MOST_UNFOLDED."""
    with _named(path, "no readable .npz"):
        with zipfile.ZipFile(regular(path)) as archive:
            unfolded = sum(member.file_size for member in archive.infolist())
        if unfolded > MOST_UNFOLDED * path.stat().st_size:
            raise WeightsError(f"{path} would unfold to {readable_size(unfolded)}: save it again.")
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        if all(isinstance(a, np.ndarray) and a.dtype.kind in "biufc" for a in arrays.values()):
            return arrays
    raise WeightsError(f"{path} holds other things than arrays of numbers.")


@contextmanager
def _named(path: Path, damaged: str) -> Iterator[None]:
    """Name a file that is missing or damaged."""
    try:
        yield
    except WeightsError:
        raise
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist: expected a {damaged[-4:]} file.") from error
    except Exception as error:  # a damaged file makes numpy raise anything
        raise WeightsError(f"{path} is {damaged} file of numbers.") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[io.BufferedReader, int]]:
    """Open a file that holds something; give it and its size."""
    try:
        with regular(path).open("rb") as file:
            size = path.stat().st_size
            if size == 0:
                raise WeightsError(f"{path} is empty.")
            yield file, size
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    except DAMAGED_ZIP as error:
        raise WeightsError(f"{path} is a truncated or damaged checkpoint.") from error


def _read_pickle(path: Path) -> Any:
    """Read a bare pickle, mapped, so that it is copied once."""
    title = str(path)

    def load_storage(blob: bytes) -> Tensor:  # a torch.save file inside the pickle
        memory = _read_legacy(io.BytesIO(blob), len(blob), title)
        if not isinstance(memory, Tensor):
            raise Refused("has something other than numbers inside a tensor")
        return memory

    known = {**KNOWN, "torch.storage._load_from_bytes": load_storage}
    with (
        _opened(path) as (file, size),
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream,
    ):
        return Unpickler(stream, size, title, known).load()  # type: ignore[arg-type]


def _read_archive(path: Path, file: io.BufferedReader | io.BytesIO, size: int) -> Any:
    """Read torch.save's zip, or a TorchScript, which stores tensors alike."""
    title = str(path)
    with zipfile.ZipFile(file) as archive:
        code = (".py", ".debug_pkl")  # TorchScript's, which is never read
        members = {m.filename: m for m in archive.infolist() if not m.filename.endswith(code)}
        packed = any(m.compress_type != zipfile.ZIP_STORED for m in members.values())
        if packed or sum(m.file_size for m in members.values()) > size:
            raise WeightsError(f"{path} has compressed or overlapping members: save it again.")
        ends = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
        root = ends[0].removesuffix("data.pkl")
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
            raise WeightsError(f"{path} was written on a big-endian machine: save it again.")
        pickle = archive.read(f"{root}data.pkl")
    mapped = torch.UntypedStorage.from_file(title, shared=False, nbytes=size)

    def storage(key: object) -> Tensor:
        dtype, name, length = _pointer(key)
        member = members[f"{root}data/{name}"]
        file.seek(member.header_offset)
        head = file.read(30)  # its last four bytes: lengths of the name and the rest
        start = member.header_offset + 30 + sum(np.frombuffer(head[26:], "<u2").tolist())
        end = start + member.file_size
        if member.file_size != length * dtype.itemsize or end > size:
            raise Refused(f"has a damaged tensor {name[:20]}")
        empty = torch.empty(0, dtype=dtype)
        return empty.set_(mapped[start:end]) if length else empty

    content = Unpickler(io.BytesIO(pickle), len(pickle), title, KNOWN, storage).load()
    if f"{root}constants.pkl" not in members:
        return content
    if not isinstance(content, Module):
        raise WeightsError(f"{path} is a TorchScript archive without a module.")
    tensors = module_tensors(content, title, script=True)
    if not tensors:
        raise WeightsError(f"{path} is a TorchScript archive without parameters: is it frozen?")
    return tensors


def _pointer(key: object) -> tuple[torch.dtype, str, int]:
    """Type, name and length of ("storage", type, name, device, length), a tensor's flat memory."""
    match key:
        case ("storage", Symbol(name=kind), str(name), str(_), int(length), *rest):
            if length >= 0 and rest in ([], [None]):  # old files can name a part of another memory
                return STORAGE_DTYPES[kind], name, length
    raise Refused("has a damaged pointer to a tensor")


def _read_legacy(file: io.BufferedReader | io.BytesIO, size: int, title: str) -> Any:
    """Read torch.save's older format: five pickles, then the bytes of each storage in turn."""
    file.seek(TAR_MARK[0])
    if file.read(5) == TAR_MARK[1]:
        raise WeightsError(f"{title} is a checkpoint of torch before 0.1.10 (tar): save it again.")
    file.seek(0)
    memories: dict[str, Tensor] = {}
    left = size

    def storage(key: object) -> Tensor:
        nonlocal left
        dtype, name, length = _pointer(key)
        if name not in memories:
            left -= length * dtype.itemsize
            if left < 0:
                raise Refused(f"has a damaged tensor {name[:20]}")
            memories[name] = torch.empty(length, dtype=dtype)
        return memories[name]

    def load() -> Any:
        return Unpickler(file, size, title, KNOWN, storage).load()

    if load() != LEGACY_START:
        raise WeightsError(f"{title} is not a complete torch checkpoint.")
    _, system, content, names = load(), load(), load(), load()
    little = isinstance(system, dict) and system.get("little_endian", True)
    if names != sorted(memories) or not little:
        raise WeightsError(f"{title} is not a complete torch checkpoint of our byte order.")
    for name in names:
        data = memories[name].view(torch.uint8).numpy().data
        length = int.from_bytes(file.read(8), "little")
        if length != memories[name].numel() or file.readinto(data) != len(data):
            raise WeightsError(f"{title} is a truncated or damaged checkpoint.")
    return content
