"""Pickles that would create a file if anything in them were called."""

from __future__ import annotations

import builtins
import functools
import os
import pickle
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Call:
    """Pickles as `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.recipe = (function, arguments)

    def __call__(self) -> None:
        """pickle asks that a called thing can be called."""

    def __reduce__(self) -> Any:
        return self.recipe


def calls(mark: Path) -> dict[str, Any]:
    """Objects whose pickle creates `mark`, one per way to call."""
    touch = f"touch '{mark}'"
    code = f"open({str(mark)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, touch),
        "builtins.eval": Call(builtins.eval, code),
        "builtins.exec": Call(builtins.exec, code),
        "nested reduce": {"weights": [Call(list, (Call(os.system, touch),))]},
        "getattr": Call(Call(getattr, Call(builtins.__import__, "os"), "system"), touch),
        "partial": Call(Call(functools.partial, os.system, touch)),
        "open": Call(builtins.open, str(mark), "w"),
    }


def pickles(mark: Path, protocol: int = 4) -> dict[str, bytes]:
    """The same as bytes, and some that only an assembler writes."""
    touch = f"touch '{mark}'".encode()
    argument = b"X" + struct.pack("<I", len(touch)) + touch + b"\x85R."
    by_hand = {
        "dotted attribute": _stack_global("torch.serialization", "os.system") + argument,
        "dotted numpy": _stack_global("numpy._core.multiarray", "os.system") + argument,
        "other name of an allowed module": b"\x80\x02cnumpy.core.multiarray\nfromfile\n" + argument,
        "numpy's own exec": b"\x80\x02cnumpy.testing._private.utils\nrunstring\n" + argument,
        "INST": b"(X" + struct.pack("<I", len(touch)) + touch + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nX" + struct.pack("<I", len(touch)) + touch + b"o.",
    }
    written = {name: pickle.dumps(call, protocol) for name, call in calls(mark).items()}
    return written | by_hand


def _stack_global(module: str, name: str) -> bytes:
    parts = [b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)]
    return b"\x80\x04" + b"".join(parts) + b"\x93"
