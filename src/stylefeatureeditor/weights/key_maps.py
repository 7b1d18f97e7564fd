"""Published tensor names to ours, by tables of renames.

    body.#.res_layer.#.*     blocks.{1}.{2:ir}.{3}
    body.#.shortcut_layer.*  blocks.{1}.shortcut.{2}
    *.resample_filter        !
    fc.*                     -

Left, theirs: # is a number, * anything, {a|b} one of those words. Right, ours: {1} is what the
first of them stood for, {1+1}, {1-1}, {1/2} a number made of it, {1:ir} its name in LISTS. "-"
leaves the tensor out; so does "!", if it is the filter that our layers build themselves ("!4": with
a gain of 4). Every name must match a line, the first counts, and no two may go to one place: a
renamed or additional tensor is an error, and nothing is dropped unseen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.generator.layers import blur_kernel

State = dict[str, Tensor]
PLACE = re.compile(r"#|\*|\{[^}]+\}")
FIELD = re.compile(r"\{(\d)(?::(\w+)|((?:[-+/]\d+)*))\}")


def _list(names: str) -> dict[str, str]:
    return {str(index): name for index, name in enumerate(names.split())}


def _pairs(names: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in names.split())


LISTS: dict[str, dict[str, str]] = {
    "ir": _list("norm1 conv1 activation conv2 norm2 excite"),
    "content": _list("norm1 conv1 norm2 activation conv2 norm3"),
    "iresnet": _pairs("bn1=norm1 conv1=conv1 bn2=norm2 prelu=activation conv2=conv2 bn3=norm3"),
    "resnet": _pairs("conv=conv bn=norm"),
    "rosinality": _pairs(
        "conv.weight=conv.weight conv.modulation.weight=conv.affine.weight bias=bias "
        "conv.modulation.bias=conv.affine.bias noise.weight=noise_strength activate.bias=bias"
    ),
    "nvidia": _pairs(
        "weight=conv.weight affine.weight=conv.affine.weight affine.bias=conv.affine.bias "
        "noise_const=noise noise_strength=noise_strength bias=bias"
    ),
    "hammer": _pairs(
        "weight=conv.weight style.weight=conv.affine.weight style.bias=conv.affine.bias "
        "noise=noise noise_strength=noise_strength bias=bias"
    ),
    "deltaedit": _pairs("sm=style cm=condition fm=fusion"),
    # HyperStyle counts conv1, to_rgb1, then (conv, conv, to_rgb) per resolution
    "hyperstyle": {str(i): str(i - (i + 1) // 3) for i in range(40) if i % 3 != 1},
}


@dataclass(frozen=True)
class KeyMap:
    """The map of one published layout."""

    what: str  # the layout, for messages
    table: str  # lines as above

    def __call__(self, state: Mapping[str, Tensor]) -> State:
        """Return the state with our names.

        WeightsError if the layout lacks a name, or a filter is another one than ours.
        """
        if not isinstance(state, Mapping):
            raise WeightsError(f"{self.what}: a table of tensors was expected")
        result: State = {}
        for key, tensor in state.items():
            if not isinstance(key, str) or not isinstance(tensor, Tensor):
                raise WeightsError(f"{self.what}: {str(key)[:80]!r} is no name of a tensor")
            name = self._ours(key, tensor)
            if name in result:
                raise WeightsError(f"{self.what}: {key!r} is there under another name too")
            if name is not None:
                result[name] = tensor
        return result

    def _ours(self, key: str, tensor: Tensor) -> str | None:
        for pattern, target in self._lines:
            if match := pattern.fullmatch(key):
                if target == "-":
                    return None
                if target.startswith("!"):
                    if not is_kernel(tensor, float(target[1:] or 1)):
                        raise WeightsError(
                            f"{key}: another resampling filter than [1, 3, 3, 1] is not supported"
                        )
                    return None
                try:
                    return FIELD.sub(partial(_fill, match), target)
                except KeyError:
                    break
        raise WeightsError(f"{self.what}: the checkpoint holds {key!r}, which that layout lacks")

    @cached_property
    def _lines(self) -> list[tuple[re.Pattern[str], str]]:
        lines = (line.split() for line in self.table.splitlines() if line.strip())
        return [(_pattern(theirs), ours) for theirs, ours in lines]


def _pattern(theirs: str) -> re.Pattern[str]:
    groups = {"#": r"(\d{1,6})", "*": "(.+)"}
    words = (
        groups.get(place) or "(" + "|".join(map(re.escape, place[1:-1].split("|"))) + ")"
        for place in PLACE.findall(theirs)
    )
    fixed = map(re.escape, PLACE.split(theirs))
    return re.compile(
        "".join(part for pair in zip(fixed, (*words, ""), strict=True) for part in pair)
    )


def _fill(match: re.Match[str], field: re.Match[str]) -> str:
    text = match[int(field[1])]
    if field[2]:
        return LISTS[field[2]][text]
    for sign, number in re.findall(r"([-+/])(\d+)", field[3] or ""):
        value = int(number)
        text = str({"+": int(text) + value, "-": int(text) - value, "/": int(text) // value}[sign])
    return text


def under(theirs: str, ours: str, table: str) -> str:
    """Return the lines of a table with something before each name."""
    lines = (line.split() for line in table.splitlines() if line.strip())
    return "".join(f"{theirs}{a} {b if b[0] in '-!' else ours + b}\n" for a, b in lines)


def is_kernel(tensor: Tensor, gain: float = 1.0) -> bool:
    """Tell whether a tensor holds the filter that our layers build themselves."""
    kernel = blur_kernel(gain=gain)
    return tensor.shape == kernel.shape and torch.allclose(tensor.float(), kernel)


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> State:
    """Return the entries under `prefix`, the prefix removed."""
    named = ((key, value) for key, value in state.items() if isinstance(key, str))
    return {key[len(prefix) :]: value for key, value in named if key.startswith(prefix)}


def split(state: Mapping[str, Tensor], prefixes: tuple[str, ...], what: str) -> dict[str, State]:
    """Return the entries under each prefix, "prefix." removed.

    WeightsError if a prefix has no entry, or a key has no such prefix.
    """
    parts = {prefix: without_prefix(state, f"{prefix}.") for prefix in prefixes}
    for key in state:
        if not key.startswith(tuple(f"{prefix}." for prefix in prefixes)):
            raise WeightsError(f"{what}: the checkpoint holds {key!r}, which that layout lacks")
    for prefix, part in parts.items():
        if not part:
            raise WeightsError(f"{what}: the checkpoint holds nothing under '{prefix}.'")
    return parts


def joined(**parts: Mapping[str, Tensor]) -> State:
    """Return one state of several networks, each under its name."""
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}
