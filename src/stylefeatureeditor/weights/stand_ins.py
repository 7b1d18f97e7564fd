"""What the names in a weight file's pickle stand for: numpy, torch and network data only.

Every function here takes arguments that a hostile file may have chosen, checks them, and makes
data. An exception of any kind ends the reading (`RestrictedUnpickler.load`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.weights.restricted import Symbol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_DEPTH = 64  # of modules in modules
MAX_TENSORS = 100_000
MAX_NAME_LENGTH = 2_000

STORAGE_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass
class Module:
    """A network module without its class: a name and attributes."""

    class_name: str
    state: dict[str, Any] = field(default_factory=dict)

    def build(self, state: object) -> None:
        """Take the attributes."""
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise TypeError("a module's state is a dictionary of names")
        self.state = state


@dataclass
class DType:
    """A numpy dtype of numbers: a code such as "f4" and a byte order."""

    code: str
    order: str = "="

    def build(self, state: object) -> None:
        """Take the byte order, the second item of numpy's own state."""
        match state:
            case (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
                self.order = str(order)
            case _:
                raise TypeError("not a dtype of numbers")

    def resolve(self) -> np.dtype:
        """Return numpy's dtype."""
        return np.dtype(self.order + self.code)


def _dtype(code: str, *_: object) -> DType:
    if not re.fullmatch(r"[biufc][0-9]{1,2}|\?", code):
        raise TypeError("not a dtype of numbers")
    return DType("b1" if code == "?" else code)


def _empty_array(*_: object) -> np.ndarray:
    return np.empty(0, np.uint8)


def fill_array(array: np.ndarray, state: object) -> None:
    """Give an empty array its numbers: (version, shape, dtype, column order, bytes)."""
    match state:
        case (
            int(version),
            tuple(shape),
            DType() as dtype,
            bool(fortran),
            (bytes() | str()) as data,
        ):
            shape, kind = _checked(shape, dtype, data)
            array.__setstate__((version, shape, kind, fortran, _bytes(data)))  # type: ignore[arg-type]
        case _:
            raise TypeError("not an array of numbers")


def _array_from_buffer(data: bytes, dtype: DType, shape: tuple[int, ...], order: str) -> np.ndarray:
    shape, kind = _checked(shape, dtype, data)
    return np.frombuffer(bytearray(data), kind).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: DType, data: bytes | str) -> int | float | bool | complex:
    return np.frombuffer(_bytes(data), _checked((), dtype, data)[1])[0].item()


def _checked(shape: Any, dtype: DType, data: Any) -> tuple[tuple[int, ...], np.dtype]:
    kind = dtype.resolve()
    if not all(type(side) is int and side >= 0 for side in shape):
        raise TypeError("not a shape")
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError("the bytes do not fill the shape")
    return tuple(shape), kind


def _bytes(data: bytes | bytearray | str) -> bytes:
    return data.encode("latin-1") if isinstance(data, str) else bytes(data)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Python 2 pickles write bytes as a call of _codecs.encode."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("not an encoding of bytes")
    return text.encode("latin-1")


def _tensor(memory: Tensor, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    """A view into flat `memory`, which must be at least as long as the tensor."""
    if not isinstance(memory, Tensor) or memory.ndim != 1:
        raise TypeError("a tensor needs memory")
    if not all(type(number) is int and number >= 0 for number in [offset, *size, *stride]):
        raise TypeError("not a layout of a tensor")
    count = math.prod(size)
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if count > memory.numel() or (count and last >= memory.numel()):
        raise ValueError("the tensor is larger than its memory")
    return memory.as_strided(tuple(size), tuple(stride), offset)


def _parameter(data: Tensor, *_: object) -> Tensor:
    if not isinstance(data, Tensor):
        raise TypeError("a parameter is a tensor")
    return data


def _persistent_object(meta: object) -> Module:
    """torch_utils.persistence of NVIDIA: keep the class name and state, never the source code."""
    if not isinstance(meta, dict) or meta.get("type") != "class":
        raise TypeError("not a persistent class")
    name = meta["class_name"]
    if not isinstance(name, str):
        raise TypeError("a class has a name")
    module = Module(name)
    module.build(meta["state"])
    return module


def _dictionary(items: object = ()) -> dict[Any, Any]:
    """An ordered dictionary; the protocols before 2 give it its items as pairs."""
    result: dict[Any, Any] = {}
    if not isinstance(items, list | tuple | dict):
        raise TypeError("not the items of a dictionary")
    for key, value in items.items() if isinstance(items, dict) else items:
        if not isinstance(key, str | int):
            raise TypeError("not a key")
        result[key] = value
    return result


def _set(items: object = ()) -> set[Any]:
    if not isinstance(items, list | tuple):
        raise TypeError("not the items of a set")
    if not all(isinstance(item, str | int) for item in items):
        raise TypeError("not an item of a set")
    return set(items)


def _list(items: object = ()) -> list[Any]:
    if not isinstance(items, list):
        raise TypeError("not a list")
    return items


def _no_bytes() -> bytes:
    """Protocols before 3 write empty bytes as a call of their type."""
    return b""


def _text(name: str, *_: object) -> str:
    if not isinstance(name, str):
        raise TypeError("not a name")
    return name


def _table(functions: Mapping[str, Callable[..., object]]) -> dict[str, Symbol]:
    return {name: Symbol(name, make) for name, make in functions.items()}


_COMMON = {"collections.OrderedDict": _dictionary}

# numpy.core became numpy._core in numpy 2; files of both are about.
NUMPY = _table(
    {
        **{f"numpy.{core}.multiarray._reconstruct": _empty_array for core in ("core", "_core")},
        **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
        **{f"numpy.{core}.numeric._frombuffer": _array_from_buffer for core in ("core", "_core")},
        "numpy.ndarray": _empty_array,
        "numpy.dtype": _dtype,
        "_codecs.encode": _encode,
        **{f"{module}.bytes": _no_bytes for module in ("builtins", "__builtin__")},
        **_COMMON,
    }
)

TORCH = _table(
    {
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch.Size": lambda sizes=(): tuple(sizes) if isinstance(sizes, list | tuple) else (),
        "torch.device": _text,
        **_COMMON,
    }
)

NVIDIA = _table(
    {
        "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
        "dnnlib.util.EasyDict": _dictionary,
        "dnnlib.EasyDict": _dictionary,
        "builtins.set": _set,
        "__builtin__.set": _set,
        **{f"torch.{name}": lambda name=name: name for name in ("float32", "float16", "float64")},
    }
)

TORCHSCRIPT = _table(
    {
        "torch.jit._pickle.restore_type_tag": lambda value, _: value,
        "torch.jit._pickle.build_intlist": _list,
        "torch.jit._pickle.build_doublelist": _list,
        "torch.jit._pickle.build_boollist": _list,
        "torch.jit._pickle.build_tensorlist": _list,
    }
)


def module_tensors(module: Module, title: str) -> dict[str, Tensor]:
    """Return the state dict of an nn.Module's attributes: parameters and saved buffers."""

    def own(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        groups = [state.get(key) or {} for key in ("_parameters", "_buffers", "_modules")]
        if not all(isinstance(group, dict) for group in groups):
            raise WeightsError(f"{title} has a damaged network {module.class_name}.")
        parameters, buffers, modules = groups
        skipped = state.get("_non_persistent_buffers_set") or ()
        buffers = {name: value for name, value in buffers.items() if name not in skipped}
        return parameters | buffers, modules

    return _walk(module, own, title)


def attribute_tensors(module: Module, title: str) -> dict[str, Tensor]:
    """Return every tensor that is an attribute of a TorchScript module or of one inside it."""
    return _walk(module, lambda state: (state, state), title)


def _walk(
    module: Module,
    own: Callable[[dict[str, Any]], tuple[dict[str, Any], dict[str, Any]]],
    title: str,
) -> dict[str, Tensor]:
    """Collect tensors by dotted name; modules that hold themselves, or too many, are refused."""
    tensors: dict[str, Tensor] = {}
    pending = [("", module, 0)]
    visits = 0
    while pending:
        prefix, current, depth = pending.pop()
        visits += 1
        too_many = max(visits, len(pending), len(tensors)) > MAX_TENSORS
        if too_many or depth > MAX_DEPTH or len(prefix) > MAX_NAME_LENGTH:
            raise WeightsError(f"{title} describes endlessly nested modules.")
        values, modules = own(current.state)
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{name}"] = value
        inner = [(k, v) for k, v in modules.items() if isinstance(v, Module)]
        pending.extend((f"{prefix}{k}.", v, depth + 1) for k, v in reversed(inner))
    return tensors
