"""A pickle reader that can only make data: it has no way to import or call anything.

A pickle is a program for a small stack machine. This is that machine, over `pickletools`' parser,
without the parts that make pickles dangerous. A global becomes an opaque `Symbol` if the reader
knows its name, else reading stops; a call is the reader's own harmless function; attributes can
be set on nothing but the reader's own stand-ins. Memo slots, dictionary keys and sizes are
limited, so that a small file cannot ask for much memory or time.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from stylefeatureeditor.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

MAX_OPCODES = 5_000_000
MAX_ITEMS = 100_000

# fmt: off
_LITERALS = frozenset([
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
])
# fmt: on
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], object]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = frozenset(["PUT", "BINPUT", "LONG_BINPUT"])
_GETS = frozenset(["GET", "BINGET", "LONG_BINGET"])
_KEY_TYPES = (str, bytes, int, float, type(None))


@dataclass(frozen=True)
class Symbol:
    """An allowed global name, and what a call of it makes."""

    name: str
    make: Callable[..., object]


class RestrictedUnpickler:
    """Run one pickle; a subclass says which globals exist and what BUILD means for them."""

    def __init__(self, stream: BinaryIO, title: str) -> None:
        self.stream = stream
        self.title = title  # the file, for messages
        self.memo: dict[int, Any] = {}
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below each MARK

    def find(self, module: str, name: str) -> Symbol | None:
        """Return what stands for `module.name`, or None to refuse it."""
        raise NotImplementedError

    def build(self, target: object, state: object) -> None:
        """Give a stand-in its state, or raise."""
        raise NotImplementedError

    def persistent(self, key: object) -> object:
        """Return the object kept outside the pickle under `key`, or raise."""
        raise NotImplementedError

    def load(self) -> Any:
        """Return what the pickle describes.

        Raises:
            WeightsError: it is damaged, or asks for anything but data.
        """
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(self.stream)):
                if count > MAX_OPCODES:
                    self.refuse("is too long a pickle")
                if opcode.name == "STOP":
                    if self.outer or len(self.stack) != 1:
                        self.refuse("is a damaged pickle")
                    return self.stack.pop()
                self.step(opcode.name, argument)
            raise EOFError
        except WeightsError:
            raise
        except Exception as error:
            raise WeightsError(
                f"{self.title} is not a readable weight file: its pickle is damaged or truncated."
            ) from error

    def refuse(self, what: str) -> NoReturn:
        """Stop reading, with one sentence that names the file."""
        raise WeightsError(f"{self.title} {what}: nothing of it was loaded or run.")

    def step(self, opcode: str, argument: Any) -> None:
        """Execute one instruction."""
        stack = self.stack
        if opcode in _LITERALS:
            stack.append(argument)
        elif opcode in _PUTS or opcode == "MEMOIZE":
            slot = len(self.memo) if opcode == "MEMOIZE" else int(argument)
            if not 0 <= slot <= len(self.memo):  # writers number their slots one after another
                self.refuse(f"asks for memo slot {slot} out of order")
            self.memo[slot] = stack[-1]
        elif opcode in _GETS:
            stack.append(self.memo[int(argument)])
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            stack.append(_EMPTY[opcode]())
        elif opcode in _TUPLES:
            size = _TUPLES[opcode]
            stack[-size:] = [tuple(stack[-size:])] if len(stack) >= size else self.underflow()
        elif opcode not in ("PROTO", "FRAME"):
            method = getattr(self, f"op_{opcode.lower()}", None)
            if method is None:
                self.refuse(f"uses the pickle instruction {opcode}, which no weight file needs")
            method(argument)

    def underflow(self) -> NoReturn:
        """The program takes more than it has put."""
        self.refuse("is a damaged pickle")

    def items(self) -> list[Any]:
        """Everything above the last MARK."""
        items, self.stack = self.stack, self.outer.pop()
        return items

    def key(self, key: object) -> Any:
        """A key of a dictionary or an item of a set: only what hashes fast."""
        if not isinstance(key, _KEY_TYPES):
            self.refuse(f"uses a {type(key).__name__} as a key")
        return key

    def update(self, target: object, items: list[Any]) -> None:
        """Put key, value, key, value into a dictionary."""
        if not isinstance(target, dict) or len(items) % 2:
            self.refuse("is a damaged pickle")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.key(key)] = value

    def op_mark(self, _: object) -> None:
        """Open a group."""
        self.outer.append(self.stack)
        self.stack = []

    def op_pop(self, _: object) -> None:
        """Drop the top, which may be a mark."""
        if self.stack:
            self.stack.pop()
        else:
            self.items()

    def op_pop_mark(self, _: object) -> None:
        """Drop a group."""
        self.items()

    def op_dup(self, _: object) -> None:
        """Repeat the top."""
        self.stack.append(self.stack[-1])

    def op_tuple(self, _: object) -> None:
        """Close a group as a tuple."""
        items = self.items()
        self.stack.append(tuple(items))

    def op_list(self, _: object) -> None:
        """Close a group as a list."""
        items = self.items()
        self.stack.append(items)

    def op_dict(self, _: object) -> None:
        """Close a group as a dictionary."""
        items = self.items()
        self.stack.append({})
        self.update(self.stack[-1], items)

    def op_frozenset(self, _: object) -> None:
        """Close a group as a set."""
        items = self.items()
        self.stack.append(frozenset(map(self.key, items)))

    def op_append(self, _: object) -> None:
        """Add one item to a list."""
        self.extend([self.stack.pop()])

    def op_appends(self, _: object) -> None:
        """Add a group to a list."""
        self.extend(self.items())

    def extend(self, items: list[Any]) -> None:
        """Add to the list on top; appending to anything else would be a call."""
        if type(self.stack[-1]) is not list:
            self.refuse(f"appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def op_additems(self, _: object) -> None:
        """Add a group to a set."""
        items = self.items()
        if type(self.stack[-1]) is not set:
            self.refuse(f"adds to a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(map(self.key, items))

    def op_setitem(self, _: object) -> None:
        """Set one item of a dictionary."""
        value, key = self.stack.pop(), self.stack.pop()
        self.update(self.stack[-1], [key, value])

    def op_setitems(self, _: object) -> None:
        """Set a group of items of a dictionary."""
        items = self.items()
        self.update(self.stack[-1], items)

    def op_global(self, argument: str) -> None:
        """Name something by `module name`."""
        self.push_symbol(*argument.split(" ", 1))

    def op_stack_global(self, _: object) -> None:
        """Name something by two strings on the stack."""
        name, module = self.stack.pop(), self.stack.pop()
        self.push_symbol(module, name)

    def push_symbol(self, module: str, name: str) -> None:
        """Push the stand-in of a known global."""
        if not isinstance(module, str) or not isinstance(name, str):
            self.refuse("is a damaged pickle")
        symbol = self.find(module, name)
        if symbol is None:
            self.refuse(f"asks for {module[:80]}.{name[:80]}, which could run code")
        self.stack.append(symbol)

    def op_reduce(self, _: object) -> None:
        """Call a known global."""
        arguments, symbol = self.stack.pop(), self.stack.pop()
        if not isinstance(symbol, Symbol) or not isinstance(arguments, tuple):
            self.refuse("calls something that is not a known name")
        self.stack.append(symbol.make(*arguments))

    def op_newobj(self, _: object) -> None:
        """Make an instance of a known global: for a stand-in, the same as a call."""
        self.op_reduce(_)

    def op_build(self, _: object) -> None:
        """Give the object on top its state."""
        state = self.stack.pop()
        self.build(self.stack[-1], state)

    def op_persid(self, argument: str) -> None:
        """Fetch an object kept elsewhere, by a text key."""
        self.stack.append(self.persistent(argument))

    def op_binpersid(self, _: object) -> None:
        """Fetch an object kept elsewhere."""
        self.stack.append(self.persistent(self.stack.pop()))


def check_size(value: object, title: str) -> None:
    """Raise WeightsError if walking through `value` would not end, or would take long.

    Lists that share or hold themselves make a few bytes describe endlessly many items.
    """
    pending, count = [value], 0
    while pending:
        item = pending.pop()
        count += 1
        if isinstance(item, dict):
            children = list(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            children = list(item)
        else:
            continue
        if count + len(pending) + len(children) > MAX_ITEMS:
            raise WeightsError(f"{title} describes endlessly nested data: nothing of it was used.")
        pending.extend(children)
