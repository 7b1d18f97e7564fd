"""Reading foreign weight files without running anything in them.

`read_torch`         .pt / .pth of torch.save, and the tensors of a TorchScript archive
`read_nvidia_pickle` .pkl of stylegan2-ada-pytorch and stylegan3
`read_numpy_pickle`  small pickles of numpy arrays (StyleCLIP's channel statistics)
`read_array`         .npy

torch.save files go through torch.load with weights_only=True; every other pickle goes through
`restricted.py`, where only the names listed here exist, each standing for a function of ours.
NVIDIA's pickles carry the source code of their networks (`module_src`): it is ignored, never
compiled; class name, arguments and tensors are all that is kept.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import re
import tarfile
import warnings
import zipfile
from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import DAMAGED_ZIP
from stylefeatureeditor.weights import stand_ins
from stylefeatureeditor.weights.restricted import RestrictedUnpickler, Symbol, check_size
from stylefeatureeditor.weights.stand_ins import Module

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

TENSORFLOW_NETWORK = ("dnnlib.tflib.network", "Network")


@dataclass(frozen=True)
class NvidiaModule:
    """One network of an NVIDIA .pkl, as plain data.

    Attributes:
        class_name: such as "Generator".
        init_kwargs: the keyword arguments it was made with (z_dim, img_resolution, ...).
        tensors: parameters and saved buffers by dotted name, on the CPU.
    """

    class_name: str
    init_kwargs: dict[str, Any]
    tensors: dict[str, Tensor]


def read_torch(path: Path) -> Any:
    """Return what a torch checkpoint holds, on the CPU, running none of its code.

    A zip checkpoint is mapped, so memory is used only for the tensors that are touched. From a
    TorchScript archive the parameters and buffers come as one dictionary of dotted names.

    Raises:
        WeightsError: the file is missing, damaged, of an old or foreign format, or asks for
            anything but tensors and plain data.
    """
    try:
        with path.open("rb") as file:
            if not file.read(4).startswith(b"PK\x03\x04"):
                return _load_tensors_only(file, str(path))
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            names = archive.namelist()
            if any(name.endswith("/constants.pkl") or name == "constants.pkl" for name in names):
                return _read_torchscript(archive, str(path))
        return _torch_load(path, str(path), mapped=True)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    except DAMAGED_ZIP as error:
        raise WeightsError(f"{path} is a truncated or damaged checkpoint.") from error


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse members that unfold to more than the file: torch stores each, once, as it is."""
    code = (".py", ".debug_pkl")  # TorchScript's, which is never read
    members = [item for item in archive.infolist() if not item.filename.endswith(code)]
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > path.stat().st_size:
        raise WeightsError(f"{path} has compressed or overlapping members: save it again.")


def read_nvidia_pickle(path: Path) -> dict[str, NvidiaModule]:
    """Return the networks of a stylegan2-ada-pytorch or stylegan3 .pkl: "G", "D", "G_ema".

    Raises:
        WeightsError: the file is missing, damaged, holds no such networks, comes from the
            TensorFlow version, or asks for anything but known data.
    """
    content = _run(_NvidiaUnpickler, path)
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not StyleGAN networks.")
    networks = {
        name: _nvidia_module(module, str(path))
        for name, module in content.items()
        if isinstance(name, str) and isinstance(module, Module)
    }
    if not networks:
        raise WeightsError(
            f"{path} holds no networks: expected a .pkl of stylegan2-ada-pytorch or stylegan3."
        )
    return networks


def read_numpy_pickle(path: Path) -> Any:
    """Return the lists, tuples, dictionaries, numbers and numpy arrays of a small pickle.

    Raises:
        WeightsError: the file is missing, damaged, or asks for anything else.
    """
    content = _run(_NumpyUnpickler, path)
    check_size(content, str(path))
    return content


def read_array(path: Path) -> np.ndarray:
    """Return the numbers of a .npy file.

    Raises:
        WeightsError: the file is missing, damaged, or is not one array of numbers.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist: expected a .npy file.") from error
    except Exception as error:
        raise WeightsError(f"{path} is not a complete .npy file of numbers.") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufc":
        raise WeightsError(f"{path} is not one array of numbers: expected a .npy file.")
    return array


class _NumpyUnpickler(RestrictedUnpickler):
    """Knows numpy arrays and plain data."""

    symbols = stand_ins.NUMPY

    def find(self, module: str, name: str) -> Symbol | None:
        return self.symbols.get(f"{module}.{name}")

    def build(self, target: object, state: object) -> None:
        if isinstance(target, stand_ins.DType):
            target.build(state)
        elif isinstance(target, np.ndarray):
            stand_ins.fill_array(target, state)
        elif isinstance(target, Module):
            target.build(state)
        elif not isinstance(target, dict):  # attributes of a dictionary hold no data: dropped
            self.refuse(f"sets attributes of a {type(target).__name__}")

    def persistent(self, key: object) -> object:
        self.refuse(f"keeps objects outside its pickle ({type(key).__name__})")


class _NvidiaUnpickler(_NumpyUnpickler):
    """Knows the networks of torch_utils.persistence, and the tensors inside them."""

    symbols = stand_ins.NUMPY | stand_ins.TORCH | stand_ins.NVIDIA

    def find(self, module: str, name: str) -> Symbol | None:
        if (module, name) == TENSORFLOW_NETWORK:
            self.refuse(
                "is a network of the TensorFlow StyleGAN2; take the same model from "
                "stylegan2-ada-pytorch, or convert it with that project's legacy.py"
            )
        if f"{module}.{name}" == "torch.storage._load_from_bytes":
            return Symbol(name, self.load_storage)
        if module.startswith("torch.nn.modules."):
            return Symbol(name, lambda *_: Module(name))
        return super().find(module, name)

    def load_storage(self, blob: bytes) -> Tensor:
        """Read a tensor's memory, which is a torch.save file inside the pickle."""
        storage = _load_tensors_only(io.BytesIO(blob), self.title)
        if not isinstance(storage, torch.TypedStorage):
            self.refuse("has something other than numbers inside a tensor")
        return torch.empty(0, dtype=storage.dtype).set_(storage)


class _TorchScriptUnpickler(_NumpyUnpickler):
    """Knows the modules of a TorchScript archive as bare attributes; its code is not looked at."""

    symbols = stand_ins.TORCH | stand_ins.TORCHSCRIPT

    def __init__(self, stream: BinaryIO, title: str, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream, title)
        self.archive = archive
        self.root = root
        self.memories: dict[str, Tensor] = {}

    def find(self, module: str, name: str) -> Symbol | None:
        if module == "__torch__" or module.startswith("__torch__."):
            return Symbol(name, lambda *_: Module(name))
        dtype = stand_ins.STORAGE_DTYPES.get(name) if module == "torch" else None
        if dtype is not None:
            return Symbol(name, lambda: dtype)
        return super().find(module, name)

    def persistent(self, key: object) -> Tensor:
        """Return the flat memory that ("storage", type, name, device, length) points to."""
        match key:
            case ("storage", Symbol(make=make), str(name), str(_), int(length)):
                dtype = make()
            case _:
                self.refuse("has a damaged pointer to a tensor")
        if not isinstance(dtype, torch.dtype):
            self.refuse("has a damaged pointer to a tensor")
        if name not in self.memories:
            member = self.archive.getinfo(f"{self.root}data/{name}")
            stored = member.compress_type == zipfile.ZIP_STORED
            if not stored or member.file_size != length * dtype.itemsize:
                self.refuse(f"has a damaged tensor {name[:20]}")
            data = bytearray(self.archive.read(member))
            self.memories[name] = torch.frombuffer(data, dtype=dtype) if length else torch.empty(0)
        return self.memories[name]


def _run(reader: type[RestrictedUnpickler], path: Path) -> Any:
    """Run `reader` over a whole file, mapped so that it is copied once."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise WeightsError(f"{path} is empty.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
                return reader(stream, str(path)).load()  # type: ignore[arg-type]
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error


def _nvidia_module(module: Module, title: str) -> NvidiaModule:
    kwargs = module.state.get("_init_kwargs", {})
    if not isinstance(kwargs, dict):
        raise WeightsError(f"{title} has a damaged network {module.class_name}.")
    check_size(kwargs, title)
    return NvidiaModule(module.class_name, kwargs, stand_ins.module_tensors(module, title))


def _read_torchscript(archive: zipfile.ZipFile, title: str) -> dict[str, Tensor]:
    root = next(
        name.removesuffix("data.pkl")
        for name in [*archive.namelist(), "data.pkl"]
        if name == "data.pkl" or name.endswith("/data.pkl")
    )
    try:
        order = f"{root}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise WeightsError(f"{title} was written on a big-endian machine: export it again.")
        with archive.open(f"{root}data.pkl") as member:
            pickle = io.BytesIO(member.read())
    except WeightsError:
        raise
    except DAMAGED_ZIP as error:
        raise WeightsError(f"{title} is a truncated or damaged TorchScript archive.") from error
    module = _TorchScriptUnpickler(pickle, title, archive, root).load()
    if not isinstance(module, Module):
        raise WeightsError(f"{title} is a TorchScript archive without a module.")
    tensors = stand_ins.attribute_tensors(module, title)
    if not tensors:
        raise WeightsError(f"{title} is a TorchScript archive without parameters: is it frozen?")
    return tensors


def _load_tensors_only(file: BinaryIO, title: str) -> Any:
    """Read the old torch.save format; the still older tar format runs code, so it is refused."""
    file.seek(0)
    if tarfile.is_tarfile(file):
        raise WeightsError(f"{title} is a checkpoint of torch before 0.1.10 (tar): save it again.")
    file.seek(0)
    return _torch_load(file, title, mapped=False)


def _torch_load(source: Path | BinaryIO, title: str, *, mapped: bool) -> Any:
    # rosinality's training saves its argparse.Namespace beside the weights: bare attributes.
    allow = getattr(torch.serialization, "safe_globals", lambda _: contextlib.nullcontext())
    try:
        with allow([Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked:
            raise WeightsError(
                f"{title} asks for {asked[1]}, which could run code: nothing of it was loaded or "
                "run."
            ) from error
        raise WeightsError(f"{title} is not a complete torch checkpoint.") from error
