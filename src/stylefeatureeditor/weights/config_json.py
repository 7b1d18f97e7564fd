"""Frozen config dataclasses to plain JSON values and back, strictly."""

from __future__ import annotations

import dataclasses
import reprlib
import types
import typing
from typing import Any, Literal, TypeVar, cast

from stylefeatureeditor.errors import ConfigError, WeightsError

Config = TypeVar("Config")


def to_plain(config: object) -> dict[str, Any]:
    """Return a config as nested dicts, lists, numbers and strings."""
    return dataclasses.asdict(cast("Any", config))


def from_plain(kind: type[Config], content: object, where: str = "config") -> Config:
    """Build a config from what `to_plain` gave, in JSON's types (tuples may be lists).

    Args:
        kind: the dataclass; its fields say what to expect. A missing field takes its default.
        content: a dict.
        where: how errors call the place.

    Raises:
        WeightsError: a field is unknown, or its value is of another type or out of range.
    """
    if not isinstance(content, dict):
        raise WeightsError(f"{where} must be an object, got {type(content).__name__}")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(content) - set(hints))
    if unknown:
        raise WeightsError(
            f"{where}: unknown field {unknown[0]!r}; was it written by a newer version?"
        )
    values = {
        name: _value(hints[name], value, f"{where}.{name}") for name, value in content.items()
    }
    try:
        return kind(**values)
    except ConfigError as error:
        raise WeightsError(f"{where}: {error}") from error


def _value(hint: Any, value: object, where: str) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        options = [option for option in typing.get_args(hint) if option is not types.NoneType]
        return None if value is None else _value(options[0], value, where)
    if dataclasses.is_dataclass(hint):
        return from_plain(cast("type", hint), value, where)
    if typing.get_origin(hint) is tuple:
        return _tuple(typing.get_args(hint), value, where)
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            known = ", ".join(map(repr, typing.get_args(hint)))
            raise WeightsError(f"{where} must be one of {known}, got {reprlib.repr(value)}")
        return value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise WeightsError(f"{where} must be {hint.__name__}, got {reprlib.repr(value)}")
    return value


def _tuple(kinds: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise WeightsError(f"{where} must be a list, got {type(value).__name__}")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise WeightsError(f"{where} must have {len(kinds)} entries, got {len(value)}")
    return tuple(_value(k, v, where) for k, v in zip(kinds, value, strict=True))
