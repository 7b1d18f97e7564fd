"""What our nodes use of ComfyUI's V3 schema, written after its `comfy_api/latest`.

Parameters have its names and order, and what it would refuse is refused: an input of two meanings,
a node without `execute`, a dropdown without options. `modules()` stands in for the package.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any


@dataclass
class Input:
    """Base of all inputs."""

    id: str
    display_name: str | None = None
    optional: bool = False
    tooltip: str | None = None
    kind: str = field(default="", init=False)


@dataclass
class StringInput(Input):
    """A line of text."""

    default: str | None = None
    multiline: bool = False


@dataclass
class BooleanInput(Input):
    """A switch."""

    default: bool | None = None


@dataclass
class FloatInput(Input):
    """A number in a range."""

    default: float | None = None
    min: float | None = None
    max: float | None = None
    step: float | None = None


class ComboInput(Input):
    """A dropdown."""

    def __init__(self, id: str, options: list[str], default: str | None = None, **others: Any):  # noqa: A002
        super().__init__(id, **others)
        assert options
        assert default is None or default in options
        self.options, self.default = options, default


@dataclass
class Option:
    """A choice of a dynamic dropdown, and the inputs that it brings."""

    key: str
    inputs: list[Input]


class DynamicComboInput(Input):
    """A dropdown whose choice brings inputs."""

    def __init__(self, id: str, options: list[Option], **others: Any):  # noqa: A002
        super().__init__(id, **others)
        assert options
        self.options = options


@dataclass
class Output:
    """An output."""

    id: str | None = None
    display_name: str | None = None
    tooltip: str | None = None
    is_output_list: bool = False
    kind: str = field(default="", init=False)


def kind_of(name: str, base: type = Input) -> SimpleNamespace:
    """A type of links, with its Input and Output."""

    def made(cls: type) -> type:
        return type(cls.__name__, (cls,), {"kind": name, "__init__": _named(cls, name)})

    return SimpleNamespace(Input=made(base), Output=made(Output), io_type=name)


def _named(cls: type, name: str) -> Any:
    def init(self: Any, *words: Any, **others: Any) -> None:
        cls.__init__(self, *words, **others)
        self.kind = name

    return init


@dataclass
class Schema:
    """What a node is."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    description: str = ""
    is_output_node: bool = False


class NodeOutput:
    """What a node gives, in the order of its outputs."""

    def __init__(self, *args: Any) -> None:
        self.args = args


class ComfyNode(ABC):
    """A node is its class: nothing is kept in it."""

    @classmethod
    @abstractmethod
    def define_schema(cls) -> Schema:
        """Say what the node is."""

    @classmethod
    def GET_SCHEMA(cls) -> Schema:  # noqa: N802
        """Return the schema after its checks."""
        schema = cls.define_schema()
        names = [one.id for one in schema.inputs]
        assert len(set(names)) == len(names)
        given = inspect.signature(cls.execute).parameters
        assert set(given) == set(names), f"{schema.node_id}: execute takes {list(given)}"
        for one in schema.inputs:
            assert not one.optional or given[one.id].default is None
        return schema


class ComfyExtension(ABC):
    """What a pack of nodes gives to ComfyUI."""

    @abstractmethod
    async def get_node_list(self) -> list[type[ComfyNode]]:
        """Return the nodes."""


IO = SimpleNamespace(
    Schema=Schema,
    ComfyNode=ComfyNode,
    NodeOutput=NodeOutput,
    Custom=kind_of,
    Image=kind_of("IMAGE"),
    Mask=kind_of("MASK"),
    String=kind_of("STRING", StringInput),
    Boolean=kind_of("BOOLEAN", BooleanInput),
    Float=kind_of("FLOAT", FloatInput),
    Combo=kind_of("COMBO", ComboInput),
    DynamicCombo=SimpleNamespace(Input=DynamicComboInput, Option=Option),
)


def modules() -> dict[str, ModuleType]:
    """What takes the place of ComfyUI's modules."""
    latest = ModuleType("comfy_api.latest")
    latest.io, latest.ComfyExtension = IO, ComfyExtension  # type: ignore[attr-defined]
    return {"comfy_api": ModuleType("comfy_api"), "comfy_api.latest": latest}
