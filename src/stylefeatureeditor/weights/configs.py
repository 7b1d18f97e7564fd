"""Frozen config dataclasses, as plain values and as TOML, YAML or JSON files.

    plain = to_plain(config)                        nested dicts, lists, numbers, strings, None
    config = from_plain(ModelConfig, plain)         strict: a model's file may come from anywhere
    config = changed(preset, read_mapping(path))    what a user wrote over a preset

Field types may be bool, int, float, str, Path, Literal, other dataclasses, tuples, dict by str, and
one of these or None. Where None cannot be written, as in TOML, it is "none".
"""

from __future__ import annotations

import dataclasses
import json
import re
import reprlib
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from stylefeatureeditor.data.row_filter import nearest
from stylefeatureeditor.errors import ConfigError, DependencyError, WeightsError
from stylefeatureeditor.files import atomic_path, regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Config = TypeVar("Config")

DEEPEST = 32  # levels in a YAML file; its reader takes the square of their number in time
_NONE = "none"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_plain(config: Any) -> Any:
    """Return a config as nested dicts, lists, numbers, strings and None."""
    if dataclasses.is_dataclass(config):
        return {f.name: to_plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(key): to_plain(item) for key, item in config.items()}
    if isinstance(config, (tuple, list)):
        return [to_plain(item) for item in config]
    return str(config) if isinstance(config, Path) else config


def from_plain(kind: type[Config], content: object, where: str = "config") -> Config:
    """Build a dataclass `kind` from what `to_plain` gave; a missing field takes its default.

    Errors call the place `where`. WeightsError if a field is unknown, or its value is of another
    type or out of range.
    """
    try:
        return _dataclass(kind, None, content, where, loose=False)
    except ConfigError as error:
        raise WeightsError(str(error)) from error


def changed(config: Config, values: object, where: str = "settings") -> Config:
    """Return a config changed by nested values, as a user writes them.

    Whole floats may stand for integers and one value for a list of one. In a field that is a
    dictionary, given keys are added to those it has, and "none" takes one away. ConfigError if a
    name or a value does not fit.
    """
    return _dataclass(type(config), config, values, where, loose=True)


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Return the nested values of a TOML, YAML or JSON file.

    ConfigError if it is missing, malformed, or of another kind; DependencyError if it is YAML, and
    pyyaml is not installed.
    """
    readers = {".toml": tomllib.loads, ".json": json.loads, ".yaml": _yaml, ".yml": _yaml}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"a configuration file ends in .toml, .yaml or .json, got {path}")
    try:
        values = reader(regular(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # a ConfigError is a ValueError
        reason = " ".join(str(error).split())
        raise ConfigError(f"the configuration {path} cannot be read: {reason}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} should hold names and values, got {type(values).__name__}")
    return values


def write_config(config: Any, path: Path) -> None:
    """Write a dataclass, whole or not at all, as TOML or JSON by the suffix of `path`."""
    plain = to_plain(config)
    text = json.dumps(plain, indent=2) + "\n" if path.suffix == ".json" else to_toml(plain)
    with atomic_path(path) as part:
        part.write_text(text, "utf-8")


def changed_keys(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the dotted names at which two nested mappings differ, sorted."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        old, new = (_NONE if value is None else value for value in (old, new))
        return [] if old == new else [path]
    names = sorted(old.keys() | new.keys())
    inner = [(old.get(n), new.get(n), f"{path}.{n}" if path else n) for n in names]
    return [key for one, other, here in inner for key in changed_keys(one, other, here)]


def to_toml(values: Mapping[str, Any], path: str = "") -> str:
    """Return a TOML table: its own values first, then its tables."""
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines = [f"{_key(k)} = {_toml_value(v)}\n" for k, v in values.items() if k not in tables]
    text = "".join(lines)
    for key, table in tables.items():
        here = f"{path}.{_key(key)}" if path else _key(key)
        text += f"\n[{here}]\n{to_toml(table, here)}"
    return text


def _dataclass(kind: Any, now: Any, content: object, where: str, *, loose: bool) -> Any:
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where} must be an object, got {type(content).__name__}")
    hints = typing.get_type_hints(kind)
    fields = [field.name for field in dataclasses.fields(kind) if field.init]
    values = {}
    for key, value in content.items():
        name = str(key).replace("-", "_") if loose else key
        if name not in fields:
            raise ConfigError(
                f"{where}: unknown field {name!r}; was it written by a newer version? Else "
                f"{nearest(str(name), fields)}"
            )
        old = None if now is None else getattr(now, name)
        values[name] = _value(hints[name], old, value, f"{where}.{name}", loose=loose)
    try:
        return kind(**values) if now is None else dataclasses.replace(now, **values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except TypeError as error:
        raise ConfigError(f"{where} needs more fields: {error}") from error


def _value(hint: Any, now: Any, value: Any, where: str, *, loose: bool) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (arm,) = (one for one in inner if one is not types.NoneType)
        return None if _is_none(value) else _value(arm, now, value, where, loose=loose)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, now, value, where, loose=loose)
    if origin is dict:
        return _dict(inner[1], now, value, where, loose=loose)
    if origin is tuple:
        return _tuple(inner, value, where, loose=loose)
    return _scalar(hint, value, where, loose=loose)


def _scalar(hint: Any, value: Any, where: str, *, loose: bool) -> Any:
    if typing.get_origin(hint) is Literal:
        inner = typing.get_args(hint)
        if value not in inner:
            known = ", ".join(map(repr, inner))
            raise ConfigError(f"{where} must be one of {known}, got {reprlib.repr(value)}")
        return value
    if hint is Path and type(value) is str:
        return Path(value)
    if hint is float and type(value) is int:
        return float(value)
    if loose and hint is int and type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not hint:
        raise ConfigError(f"{where} must be {hint.__name__}, got {reprlib.repr(value)}")
    return value


def _dict(kind: Any, now: Any, value: Any, where: str, *, loose: bool) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be values by name, got {reprlib.repr(value)}")
    kept = {key: item for key, item in (now or {}).items() if key not in value}
    new = {
        str(key): _value(kind, None, item, f"{where}.{key}", loose=loose)
        for key, item in value.items()
        if not _is_none(item)
    }
    return kept | new


def _tuple(kinds: tuple[Any, ...], value: Any, where: str, *, loose: bool) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        if not loose or isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a list, got {type(value).__name__}")
        value = [value]
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise ConfigError(f"{where} must have {len(kinds)} entries, got {len(value)}")
    return tuple(_value(k, None, v, where, loose=loose) for k, v in zip(kinds, value, strict=True))


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() == _NONE)


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise DependencyError(
            "this configuration is YAML: run `pip install pyyaml`, or write it as TOML"
        ) from error
    try:
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):  # before anything is built of it
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise ConfigError(
                    f"it nests its values more than {DEEPEST} deep or repeats them by *name: "
                    "write them out plainly"
                )
        return _numbers(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise ConfigError(str(error)) from error


def _numbers(value: Any) -> Any:
    """YAML 1.1 takes 1e-4 for text; return it as the number it looks like."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    is_number = isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value)
    return float(value) if is_number else value


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_text(key)


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON may hold it


def _toml_value(value: Any) -> str:
    if value is None or isinstance(value, str):
        return _toml_text(_NONE if value is None else value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    return repr(value)  # an int, or a float: Python and TOML write inf and nan alike
