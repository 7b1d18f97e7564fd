"""A GPU that is not there: the CPU computes, and tensors say that they are on "cuda:0" or "mps:0".

    with FakeGpu("cuda") as gpu:
        editor = tiny_editor().to("cuda")
        with gpu.counting() as waits:
            editor.edit(photos, {"smile": 1.0})
    assert waits.total() <= 1           # by "editor.py:350 item" and the like

What a real one refuses is refused: tensors of two devices in one call, numpy, a CPU generator, and
on MPS float64 and what `LACKING` names. Whenever the CPU would have to wait for the GPU, the place
is counted. Blind to what happens in C++ alone, such as the backward pass, and to other threads.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "/stylefeatureeditor/"
CPU = torch.device("cpu")
# their answer is on the CPU, or its shape depends on what is in the tensor
READ = {"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "__contains__", "equal"}
READ |= {"nonzero", "argwhere", "allclose", "unique", "bincount", "masked_select"}
READ |= {"eigh", "svd", "svdvals", "cholesky", "solve", "inv", "lstsq"}
# take tensors of two devices
MIXED = {"copy_", "__set__", "_has_compatible_shallow_copy_type", "__setitem__", "__getitem__"}
MOVES = (Tensor.to, Tensor.cpu, Tensor.cuda, Tensor.type_as)
ANSWERS: dict[str, Any] = {
    "is_available": True,
    "is_built": True,
    "is_macos_or_newer": True,
    "is_bf16_supported": True,
    "device_count": 1,
    "current_device": 0,
    "get_device_name": "none",
    "max_memory_allocated": 0,
    **dict.fromkeys(
        ("synchronize", "set_device", "reset_peak_memory_stats", "set_rng_state", "get_rng_state"),
        None,
    ),
}


def _uneven_pooling(x: Tensor, size: Any) -> bool:
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    return any(have % want for have, want in zip(x.shape[-2:], sides, strict=True))


LACKING = {  # what MPS refuses, of torch 2.4 to 2.9
    functional.adaptive_avg_pool2d: _uneven_pooling,
    functional.grid_sample: lambda x, *_, **__: x.requires_grad,  # it has no backward pass
}


class FakeGpu(TorchFunctionMode):
    """Everything in the block sees a GPU.

    Args:
        kind: "cuda" or "mps".
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.device = torch.device(kind, 0)
        self.waits: Counter[str] = Counter()
        # by address; a weak reference keeps the address from being used again
        self.there: dict[int, StorageWeakRef] = {}
        self.pinned: dict[int, StorageWeakRef] = {}
        self.patches = ExitStack()

    def __enter__(self) -> FakeGpu:
        kind, autocast = self.device.type, torch.autocast

        def on_cpu(_kind: str, *args: Any, **kwargs: Any) -> torch.autocast:
            return autocast("cpu", *args, **kwargs)

        for module in (getattr(torch, kind), getattr(torch.backends, kind)):
            told = {
                name: mock.Mock(return_value=answer)
                for name, answer in ANSWERS.items()
                if hasattr(module, name)
            }
            self.patches.enter_context(mock.patch.multiple(module, **told))
        self.patches.enter_context(mock.patch("torch.autocast", on_cpu))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.patches.close()

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Give a counter of the waits in the block."""
        before, self.waits = self.waits, Counter()
        try:
            yield self.waits
        finally:
            self.waits = before + self.waits

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), func.__name__
        if func in MOVES:
            return self._moved(func, *args, **kwargs)
        if name == "_parse_to":
            return func(*args, **kwargs)
        if func is Tensor.pin_memory:
            return self._marked(args[0].clone(), self.pinned)
        return self._called(func, name, args, kwargs)

    def _called(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        here = [x for x in tensors if not self._is_there(x) and x.ndim and x.device == CPU]
        any_there = any(map(self._is_there, tensors))
        if any_there:
            if name == "__get__" and func.__self__ in (Tensor.device, Tensor.is_cuda):
                is_cuda = self.device.type == "cuda"
                return self.device if func.__self__ is Tensor.device else is_cuda
            self._refuse(func, here, args, kwargs)
            self._count_reading(name, here, args)
        wanted = kwargs.get("device")
        is_made = wanted is not None and torch.device(wanted).type == self.device.type
        if is_made:
            kwargs["device"] = CPU
            if kwargs.get("generator"):
                raise RuntimeError(f"{name}: a CPU generator for {self.device}")
            if name in ("tensor", "as_tensor"):
                self._count(name)
        result = func(*args, **kwargs)
        if is_made or (any_there and wanted is None):
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor) and leaf.device == CPU:
                    self._marked(leaf, self.there)
        return result

    def _is_there(self, x: Tensor) -> bool:
        return x.layout == torch.strided and x.untyped_storage()._cdata in self.there

    def _marked(self, x: Tensor, place: dict[int, StorageWeakRef]) -> Tensor:
        if place is self.there and self.device.type == "mps" and x.dtype == torch.float64:
            raise TypeError("MPS has no float64")
        reference = StorageWeakRef(x.untyped_storage())
        for known in (self.there, self.pinned):
            known.pop(reference.cdata, None)
        place[reference.cdata] = reference
        return x

    def _refuse(self, func: Any, here: list[Tensor], args: Any, kwargs: Any) -> None:
        """Raise what a GPU would."""
        name = func.__name__
        is_indexed = name == "__getitem__" and not self._is_there(args[0])
        if here and (name not in MIXED or is_indexed):
            raise RuntimeError(f"{name}: tensors on {self.device} and on the CPU")
        if name in ("numpy", "__array__"):
            raise TypeError(f"{name}: a tensor on {self.device}")
        if self.device.type == "mps" and func in LACKING and LACKING[func](*args, **kwargs):
            raise NotImplementedError(f"{name}: not on MPS")

    def _count_reading(self, name: str, here: list[Tensor], args: Any) -> None:
        """Count a call on a tensor that is there if the CPU waits for it."""
        index = args[1] if name in ("__getitem__", "__setitem__") else ()
        parts = index if isinstance(index, tuple) else (index,)
        chosen = any(isinstance(part, Tensor) and part.dtype == torch.bool for part in parts)
        listed = any(isinstance(part, list) for part in parts)
        finds = name in ("where", "new_tensor") and len(args) < 3
        copies = here and name in ("copy_", "__getitem__", "__setitem__")
        if name in READ or copies or chosen or listed or finds:
            self._count(name)

    def _moved(self, func: Any, x: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        to, dtype, layout = CPU if func is Tensor.cpu else self.device, None, None
        waits = True
        if args and isinstance(args[0], Tensor):  # to where another one is
            to = self.device if self._is_there(args[0]) else args[0].device
            dtype = args[0].dtype
        elif func is Tensor.to:
            to, dtype, not_blocking, layout = torch._C._nn._parse_to(*args, **kwargs)
            waits = not (not_blocking and x.untyped_storage()._cdata in self.pinned)
        was = self._is_there(x)
        will = was if to is None else to.type == self.device.type
        if was != will and waits:
            self._count("copy to the GPU" if will else "copy to the CPU")
        y = x.to(
            to if to is not None and to.type == "meta" else x.device,
            dtype or x.dtype,
            copy=copy or was != will,
            memory_format=layout or torch.preserve_format,
        )
        if y is x or y.is_meta:
            return y
        return self._marked(y, self.there) if will else y

    def _count(self, what: str) -> None:
        frame = sys._getframe(2)
        while frame.f_back and PACKAGE not in frame.f_code.co_filename:
            frame = frame.f_back
        file = frame.f_code.co_filename.split(PACKAGE)[-1]
        self.waits[f"{file}:{frame.f_lineno} {what}"] += 1
