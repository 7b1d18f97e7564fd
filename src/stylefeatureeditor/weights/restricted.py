"""The standard Unpickler with a list of what it may make: data, and nothing that is run.

A pickle is a program. Here each name in it must be one of ours, only our functions can be called,
and only our stand-ins get attributes. The file chooses the arguments, so the functions check them;
any exception ends the reading.
Steps and the bytes handed to calls are bounded by the file's size: sharing an argument a thousand
times makes no thousand copies.
"""

from __future__ import annotations

import math
import pickle
import re
from argparse import Namespace
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stylefeatureeditor.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

MAX_STEPS = 1_000_000
MAX_ITEMS = 100_000
MAX_NESTING = 64  # of modules in modules
MAX_NAME_LENGTH = 2_000
MAX_SIDES = 16  # of a tensor
MAX_REPEATED_BYTES = 1 << 28  # of a tensor whose numbers share memory
MAX_REPEATED_SUM = 1 << 31  # of all of them in a pickle
MAX_INTEGER_BITS = 128
SLACK_BYTES = 1 << 20
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


class Refused(Exception):  # noqa: N818
    """What is wrong with the file, without its name: "uses a list as a key"."""


@dataclass(frozen=True)
class Symbol:
    """A name, and what a call of it makes; an unknown one can be the class of a module only."""

    name: str
    make: Callable[..., object]
    is_known: bool = True


@dataclass
class Module:
    """A network module without its class: a name and attributes."""

    class_name: str
    state: dict[str, Any] = field(default_factory=dict)


@dataclass
class DType:
    """A numpy dtype of numbers: a code such as "f4" and a byte order."""

    code: str
    order: str = "="


class Unpickler(pickle._Unpickler):
    """Read one pickle of a stream, which may go on after it.

    `size` is the file's in bytes, `title` its name in messages. `known` has what stands for a name
    with its module; `persistent` returns the object kept outside the pickle under a key, None
    refuses all keys.
    """

    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]

    def __init__(
        self,
        stream: BinaryIO,
        size: int,
        title: str,
        known: Mapping[str, Callable[..., object]],
        persistent: Callable[[Any], object] | None = None,
    ) -> None:
        super().__init__(stream, encoding="latin1")
        self.title, self.known, self.persistent = title, known, persistent
        self.steps, self.bytes_left = 0, 2 * size + SLACK_BYTES
        self.repeated_bytes_left = MAX_REPEATED_SUM

    def load(self) -> Any:
        """Return what the pickle describes; WeightsError if it is damaged or more than data."""
        try:
            return super().load()
        except Refused as error:
            raise WeightsError(f"{self.title} {error}: nothing of it was loaded or run.") from error
        except Exception as error:
            if isinstance(error, WeightsError):
                raise
            raise WeightsError(
                f"{self.title} is not a readable weight file: its pickle is damaged or truncated."
            ) from error

    def find_class(self, module: str, name: str) -> Symbol:
        """Return what stands for a name; numpy 2 and Python 2 name some modules differently."""
        module = module.replace("numpy._core.", "numpy.core.").replace("__builtin__", "builtins")
        if module == "__torch__" or module.startswith(("__torch__.", "torch.nn.modules.")):
            return Symbol(name, lambda *_: Module(name))
        if make := self.known.get(f"{module}.{name}"):
            return Symbol(name, make)
        return Symbol(f"{module[:80]}.{name[:80]}", lambda: Module(name), is_known=False)

    def persistent_load(self, key: object) -> object:
        """Return the object kept outside the pickle."""
        if self.persistent is None:
            raise Refused(f"keeps objects outside its pickle ({type(key).__name__})")
        return self.persistent(key)

    def spend(self, *values: object) -> None:
        """Count what a call may copy."""
        sized = (bytes, bytearray, str, list, tuple, dict)
        self.bytes_left -= sum(len(value) for value in values if isinstance(value, sized))
        if self.bytes_left < 0:
            raise Refused("describes more data than it holds")

    def load_reduce(self) -> None:
        """Call a known name."""
        arguments, symbol = self.stack.pop(), self.stack.pop()
        if not isinstance(symbol, Symbol) or not isinstance(arguments, tuple):
            raise Refused("calls something that is not a known name")
        if not symbol.is_known:
            raise Refused(f"asks for {symbol.name}, which could run code")
        self.spend(*arguments)
        made = symbol.make(*arguments)
        if isinstance(made, Tensor) and made.nbytes > made.untyped_storage().nbytes():
            self.repeated_bytes_left -= made.nbytes
        if self.repeated_bytes_left < 0:
            raise Refused("describes more data than it holds")
        self.append(made)

    def load_build(self) -> None:
        """Give the stand-in on top its state."""
        state, target = self.stack.pop(), self.stack[-1]
        self.spend(*(state if isinstance(state, tuple) else (state,)))
        if isinstance(target, np.ndarray):
            _fill_array(target, state)
        elif isinstance(target, DType):
            match state:
                case (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
                    target.order = order
                case _:
                    raise Refused("has a dtype of other things than numbers")
        elif isinstance(target, Module | Namespace):
            names = vars(target) if isinstance(target, Namespace) else target.state
            names.update(_dictionary(state, str))
        elif not isinstance(target, dict):  # attributes of a dictionary hold no data: dropped
            raise Refused(f"sets attributes of a {type(target).__name__}")

    def load_newobj(self) -> None:
        """Make an empty instance: of an unknown class a module, else the result of a call."""
        symbol = self.stack[-2]
        if isinstance(symbol, Symbol) and not symbol.is_known and self.stack[-1] == ():
            del self.stack[-2:]
            self.append(symbol.make())
        else:
            self.load_reduce()

    def load_bytearray8(self) -> None:
        """Take the bytes that are there; the standard reader allocates all that are promised."""
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))


def _checked_step(step: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return the step with checks of the number of steps, its target, keys and result."""
    keys, place, kind = _PUTS.get(step.__name__, (slice(0), None, object))

    def run(reader: Unpickler) -> None:
        reader.steps += 1
        if reader.steps > MAX_STEPS:
            raise Refused("is too long a pickle")
        target = reader.metastack[-1][-1] if place == 0 else place and reader.stack[place]
        if not isinstance(target, kind):
            raise Refused(f"adds to a {type(target).__name__}")
        for key in reader.stack[keys]:  # hashing tuples in tuples would never end
            if not isinstance(key, str | bytes | int | float | None):
                raise Refused(f"uses a {type(key).__name__} as a key")
        step(reader)
        top = reader.stack[-1] if reader.stack else None
        if type(top) is int and top.bit_length() > MAX_INTEGER_BITS:  # it could not be printed
            raise Refused("holds a number of too many digits")

    return run


# Steps that add to a container: the places of the keys and of the container on the stack (0: below
# the mark), and the container's type.
_PUTS: dict[str, tuple[slice, int | None, type]] = {
    "load_append": (slice(0), -2, list),
    "load_appends": (slice(0), 0, list),
    "load_setitem": (slice(-2, -1), -3, dict),
    "load_setitems": (slice(0, None, 2), 0, dict),
    "load_dict": (slice(0, None, 2), None, object),
    "load_additems": (slice(None), 0, set),
    "load_frozenset": (slice(None), None, object),
}
_WITHOUT = frozenset(
    "INST OBJ NEWOBJ_EX EXT1 EXT2 EXT4 NEXT_BUFFER READONLY_BUFFER".split()  # noqa: SIM905
)
_steps = pickle._Unpickler.dispatch
Unpickler.dispatch = {
    code: _checked_step(getattr(Unpickler, step.__name__))
    for code, step in _steps.items()
    if code not in {getattr(pickle, name)[0] for name in _WITHOUT}
}


def _fill_array(array: np.ndarray, state: object) -> None:
    """Give an empty array its numbers: (version, shape, dtype, column order, bytes)."""
    match state:
        case (int(version), tuple(shape), DType() as dtype, bool(fortran), bytes() | str() as data):
            kind, raw = _checked(shape, dtype, data)
            array.__setstate__((version, shape, kind, fortran, raw))  # type: ignore[arg-type]
        case _:
            raise Refused("has a damaged array")


def _array_from_buffer(data: Any, dtype: DType, shape: Any, order: object = "C") -> np.ndarray:
    kind, raw = _checked(shape, dtype, data)
    return np.frombuffer(bytearray(raw), kind).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: DType, data: Any) -> int | float | bool | complex:
    return _array_from_buffer(data, dtype, ()).item()


def _checked(shape: Any, dtype: DType, data: Any) -> tuple[np.dtype, bytes]:
    """Return numpy's dtype and the bytes, which must fill the shape."""
    kind = np.dtype(dtype.order + dtype.code)
    raw = data.encode("latin-1") if isinstance(data, str) else bytes(data)
    _check_sides(shape)
    if math.prod(shape) * kind.itemsize != len(raw):
        raise Refused("has an array whose bytes do not fill its shape")
    return kind, raw


def _check_sides(*numbers: Any) -> None:
    for sides in numbers:
        if len(sides) > MAX_SIDES or not all(type(side) is int and side >= 0 for side in sides):
            raise ValueError("no shape")


def _dtype(code: str, *_: object) -> DType:
    if not re.fullmatch(r"[biufc][0-9]{1,2}|\?", code):
        raise Refused("has an array of other things than numbers")
    return DType("b1" if code == "?" else code)


def _tensor(memory: Tensor, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    """Return a dense tensor on the CPU, inside its flat `memory`."""
    if not isinstance(memory, Tensor) or memory.ndim != 1:
        raise TypeError("a tensor needs memory")
    _check_sides((offset,), size, stride)
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    count = math.prod(size)
    most = max(memory.nbytes, MAX_REPEATED_BYTES)
    if count * memory.itemsize > most or (count and last >= memory.numel()):
        raise ValueError("the tensor is larger than its memory")
    return memory.as_strided(tuple(size), tuple(stride), offset)


def _dictionary(items: object = (), keys: Any = (str, int)) -> dict[Any, Any]:
    """An ordered dictionary; the protocols before 2 give it its items as pairs."""
    if not isinstance(items, list | tuple | dict):
        raise TypeError("not the items of a dictionary")
    result: dict[Any, Any] = {}
    for key, value in items.items() if isinstance(items, dict) else items:
        if not isinstance(key, keys):
            raise Refused(f"uses a {type(key).__name__} as a name")
        result[key] = value
    return result


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """Python 2 pickles write bytes as a call of _codecs.encode."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("not an encoding of bytes")
    return text.encode("latin-1")


def _persistent_object(meta: Any) -> Module:
    """torch_utils.persistence of NVIDIA: keep the class name and state, never the source code."""
    if meta["type"] != "class" or not isinstance(meta["class_name"], str):
        raise TypeError("not a persistent class")
    return Module(meta["class_name"], _dictionary(meta["state"], str))


def _tensorflow_network(*_: object) -> None:
    raise Refused(
        "is a network of the TensorFlow StyleGAN2; take the same model from stylegan2-ada-pytorch, "
        "or convert it with that project's legacy.py"
    )


def _same(value: object, *_: object) -> object:
    return value


KNOWN: dict[str, Callable[..., object]] = {
    "numpy.core.multiarray._reconstruct": lambda *_: np.empty(0, np.uint8),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array_from_buffer,
    "numpy.ndarray": lambda *_: np.empty(0, np.uint8),
    "numpy.dtype": _dtype,
    "_codecs.encode": _encoded,
    "builtins.bytes": lambda: b"",
    "builtins.set": lambda items=(): {*_dictionary([(item, None) for item in items])},
    "collections.OrderedDict": _dictionary,
    "argparse.Namespace": lambda: Namespace(),
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _same,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": _same,
    **{f"torch.{name}": lambda: None for name in ("float16", "float32", "float64")},
    **{f"torch.{name}": lambda: None for name in STORAGE_DTYPES},
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
    "dnnlib.util.EasyDict": _dictionary,
    "dnnlib.EasyDict": _dictionary,
    "dnnlib.tflib.network.Network": _tensorflow_network,
    "torch.jit._pickle.restore_type_tag": _same,
    **{
        f"torch.jit._pickle.build_{kind}list": _same for kind in ["int", "double", "bool", "tensor"]
    },
}


def check_size(value: object, title: str) -> None:
    """Raise WeightsError if walking through `value` would not end, or would take long.

    Lists that share or hold themselves make a few bytes describe endlessly many items.
    """
    pending, count = [value], 0
    while pending:
        item = pending.pop()
        count += 1
        if isinstance(item, Namespace):
            item = vars(item)
        children = list(item.values()) if isinstance(item, dict) else item
        if not isinstance(children, list | tuple | set | frozenset):
            continue
        if count + len(pending) + len(children) > MAX_ITEMS:
            raise WeightsError(f"{title} describes endlessly nested data: nothing of it was used.")
        pending.extend(children)


def module_tensors(module: Module, title: str, *, script: bool = False) -> dict[str, Tensor]:
    """Return the state dict of a module: parameters and saved buffers by dotted name.

    torch's and NVIDIA's modules keep tensors and modules in tables; of a TorchScript (`script`)
    every attribute counts. `title` is the file, for messages. WeightsError if modules hold
    themselves, or are too many.
    """
    tensors: dict[str, Tensor] = {}
    pending = [("", module, 0)]
    visits = 0
    while pending:
        prefix, current, depth = pending.pop()
        visits += 1
        too_many = max(visits, len(pending), len(tensors)) > MAX_ITEMS
        if too_many or depth > MAX_NESTING or len(prefix) > MAX_NAME_LENGTH:
            raise WeightsError(f"{title} describes endlessly nested modules.")
        groups = [current.state.get(key, {}) for key in ("_parameters", "_buffers", "_modules")]
        if script:
            groups = [current.state, {}, current.state]
        left_out = current.state.get("_non_persistent_buffers_set", set())
        is_sound = all(isinstance(group, dict) for group in groups) and isinstance(left_out, set)
        if not is_sound:
            raise WeightsError(f"{title} has a damaged network {module.class_name}.")
        saved = {name: value for name, value in groups[1].items() if name not in left_out}
        for name, value in {**groups[0], **saved}.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{name}"] = value
        inner = [(k, v) for k, v in groups[2].items() if isinstance(v, Module)]
        pending.extend((f"{prefix}{k}.", v, depth + 1) for k, v in reversed(inner))
    return tensors
