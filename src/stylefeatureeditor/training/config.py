"""A run's configuration: one tree of frozen dataclasses, from a preset, a file and flags.

    config = load_config(presets.paper(), Path("mine.toml"), ["--loss.lpips", "0.5", "--no-mirror"])

The file (TOML, YAML or JSON) changes the preset, the flags change both. A flag names a field by its
path with dots; several values follow one flag. An unknown name is an error that says which ones are
near. `None` is written "none", also in files. In a field that is a dictionary, given keys are added
to those of the preset, and "none" takes one away.

Field types may be bool, int, float, str, Path, Literal, other dataclasses, tuple, list, dict by
str, and unions of these; modules of configs import such types for real, not for checking only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import reprlib
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from stylefeatureeditor.data.row_filter import nearest
from stylefeatureeditor.errors import ConfigError, DependencyError
from stylefeatureeditor.files import atomic_path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Config = TypeVar("Config")

DEEPEST = 32  # levels in a YAML file; its reader takes the square of their number in time
_NONE = "none"
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_VALUE = re.compile(r"-[\d.]|-inf$|[^-]|$|-$")  # what follows a flag and is no flag: -3 is a value
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def load_config(
    default: Config, file: Path | None = None, flags: Sequence[str] = (), prog: str | None = None
) -> Config:
    """Return `default` changed by a file and then by flags.

    With `--help` or `-h` among the flags, every field is printed with its value so far, and the
    program ends.

    Args:
        default: a frozen dataclass, for instance a preset.
        file: .toml, .yaml, .yml or .json.
        flags: command-line words such as "--loss.lpips", "0.5".
        prog: what the help calls the program.

    Raises:
        ConfigError: the file cannot be read, or a name or a value does not fit.
        DependencyError: YAML or help is asked for, and its package is not installed.
    """
    config = from_mapping(default, read_mapping(file)) if file else default
    if "--help" in flags or "-h" in flags:
        _show_help(config, prog)
    return from_mapping(config, parse_flags(config, flags))


def from_mapping(default: Config, values: Mapping[str, Any]) -> Config:
    """Return the dataclass `default` changed by nested `values`, checked against its types.

    Raises:
        ConfigError: a name or a value does not fit.
    """
    return _changed(default, values, "")


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Return the nested values of a TOML, YAML or JSON file.

    Raises:
        ConfigError: it is missing, malformed, or of another kind.
        DependencyError: it is YAML, and pyyaml is not installed.
    """
    suffix = path.suffix.lower()
    try:
        text = path.read_text("utf-8")
        if suffix == ".toml":
            values = tomllib.loads(text)
        elif suffix == ".json":
            values = json.loads(text)
        elif suffix in (".yaml", ".yml"):
            values = _parse_yaml(text, path)
        else:
            raise ConfigError(f"a configuration file ends in .toml, .yaml or .json, got {path}")
    except (OSError, ValueError, RecursionError) as error:  # a ConfigError is a ValueError
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"the configuration {path} cannot be read: {error}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} should hold names and values, got {type(values).__name__}")
    return values


def parse_flags(config: Any, flags: Sequence[str]) -> dict[str, Any]:
    """Return the nested values that flags give, as words; `config` tells --x.no-y from --x.y.

    Raises:
        ConfigError: a word is no flag, or a flag lies inside another.
    """
    values: dict[str, Any] = {}
    words = list(flags)
    while words:
        flag = words.pop(0)
        if not flag.startswith("--") or flag == "--":
            raise ConfigError(f"expected a flag such as --a.b before {flag!r}")
        name, equals, value = flag[2:].partition("=")
        given: Any = [value] if equals else []
        while not equals and words and _VALUE.match(words[0]):
            given.append(words.pop(0))
        parts = name.split(".")
        if not given:
            last = parts[-1].replace("-", "_")
            if last.startswith("no_") and not _has(config, [*parts[:-1], last]):
                parts[-1], given = last[3:], "false"
            else:
                given = "true"
        place = values
        for part in parts[:-1]:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--{name} lies inside a flag that already has a value")
            place = inner
        place[parts[-1]] = given if isinstance(given, str) or len(given) > 1 else given[0]
    return values


def to_mapping(config: Any) -> dict[str, Any]:
    """Return a dataclass as nested dictionaries of plain values, as `write_config` writes them."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def write_config(config: Any, path: Path) -> None:
    """Write a dataclass, whole or not at all, as TOML or JSON by the suffix of `path`."""
    values = to_mapping(config)
    text = json.dumps(values, indent=2) + "\n" if path.suffix == ".json" else _toml(values)
    with atomic_path(path) as part:
        part.write_text(text, "utf-8")


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the paths at which two results of `to_mapping` differ, sorted."""
    first, second = dict(_leaves(old, "")), dict(_leaves(new, ""))
    missing = object()
    keys = sorted(first.keys() | second.keys())
    return [key for key in keys if first.get(key, missing) != second.get(key, missing)]


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise DependencyError(
            f"{path} is YAML: run `pip install pyyaml`, or write it as TOML"
        ) from error
    try:
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):  # before anything is built of it
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise ConfigError(
                    f"{path} nests its values more than {DEEPEST} deep or repeats them by *name: "
                    "write them out plainly"
                )
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise ConfigError(f"the configuration {path} cannot be read: {where}") from error


def _show_help(config: Any, prog: str | None) -> typing.NoReturn:
    try:
        import tyro
    except ImportError as error:
        raise DependencyError("the list of flags needs tyro: run `pip install tyro`") from error
    # an optional part shows the fields it has, as our flags name them
    whole = (tyro.conf.AvoidSubcommands,)
    tyro.cli(type(config), default=config, args=["--help"], prog=prog, config=whole)
    raise AssertionError("the help ends the program")


def _has(config: Any, parts: Sequence[str]) -> bool:
    for part in parts:
        name = part.replace("-", "_")
        if not dataclasses.is_dataclass(config) or not hasattr(config, name):
            return False
        config = getattr(config, name)
    return True


def _changed(default: Any, values: Mapping[str, Any], path: str) -> Any:
    """Return a dataclass changed by values; `default` is an instance, or the class itself."""
    kind = default if isinstance(default, type) else type(default)
    hints = typing.get_type_hints(kind)
    fields = {field.name for field in dataclasses.fields(kind) if field.init}
    new: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in fields:
            here = f"{path}{key}"
            raise ConfigError(f"there is no setting {here!r}; {nearest(name, fields)}")
        now = None if default is kind else getattr(default, name)
        new[name] = _convert(hints[name], value, now, f"{path}{name}")
    if default is not kind:
        return dataclasses.replace(default, **new)
    try:
        return kind(**new)
    except TypeError as error:
        raise ConfigError(f"{path.rstrip('.')} needs more settings: {error}") from error


def _convert(hint: Any, value: Any, now: Any, path: str) -> Any:
    """Return `value` as the type `hint`; `now` is what the field holds so far."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(inner, value, now, path)
    if origin is typing.Literal:
        for choice in inner:
            if value == choice or (isinstance(value, str) and value == str(choice)):
                return choice
        raise _misfit(path, f"one of {', '.join(map(str, inner))}", value)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _misfit(path, "settings of its own by name", value)
        return _changed(
            now if isinstance(now, typing.cast("type", hint)) else hint, value, f"{path}."
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _misfit(path, f"values by name, such as {path}.name", value)
        kept = {**(now or {}), **{str(key): item for key, item in value.items()}}
        return {
            key: _convert(inner[1], item, None, f"{path}.{key}") if key in value else item
            for key, item in kept.items()
            if not _is_none(item)
        }
    if origin in (tuple, list):
        return _convert_sequence(origin, inner, value, path)
    return _convert_scalar(hint, value, path)


def _convert_union(inner: Sequence[Any], value: Any, now: Any, path: str) -> Any:
    if type(None) in inner and _is_none(value):
        return None
    arms = sorted((arm for arm in inner if arm is not type(None)), key=lambda arm: arm is str)
    if len(arms) == 1:
        return _convert(arms[0], value, now, path)
    for arm in arms:  # text takes anything: it comes last
        with contextlib.suppress(ConfigError):
            return _convert(arm, value, now, path)
    names = " or ".join(getattr(arm, "__name__", str(arm)) for arm in arms)
    raise _misfit(path, names, value)


def _convert_sequence(
    origin: type, inner: Sequence[Any], value: Any, path: str
) -> tuple[Any, ...] | list[Any]:
    if isinstance(value, Mapping):
        raise _misfit(path, "a list of values", value)
    items = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
    if origin is tuple and inner[-1] is not Ellipsis:
        if len(items) != len(inner):
            raise _misfit(path, f"{len(inner)} values", value)
        kinds = list(inner)
    else:
        kinds = [inner[0]] * len(items)
    return origin(
        _convert(kind, item, None, f"{path}[{i}]")
        for i, (kind, item) in enumerate(zip(kinds, items, strict=True))
    )


def _convert_scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is bool:
        truth = value if isinstance(value, bool) else _TRUTH.get(str(value).lower())
        if truth is None:
            raise _misfit(path, "true or false", value)
        return truth
    if hint is float:
        with contextlib.suppress(ValueError, TypeError):
            if not isinstance(value, bool):
                return float(value)
        raise _misfit(path, "a number", value)
    if hint is int:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            if not isinstance(value, bool):
                return value if isinstance(value, int) else _whole(value)
        raise _misfit(path, "a whole number", value)
    if hint in (str, Path):
        if isinstance(value, (Mapping, list, tuple)):
            raise _misfit(path, "one value", value)
        return hint(value)
    raise TypeError(f"{path}: a configuration field cannot be of type {hint}")


def _whole(value: Any) -> int:
    """Return 100000 for "100000", "1e5" and 1e5; ValueError for anything with a fraction."""
    number = float(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() == _NONE)


def _misfit(path: str, wanted: str, value: Any) -> ConfigError:
    return ConfigError(f"{path} should be {wanted}, got {reprlib.repr(value)}")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if value is None:
        return _NONE
    return str(value) if isinstance(value, Path) else value


def _leaves(values: Mapping[str, Any], path: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        here = f"{path}{key}"
        found += _leaves(value, f"{here}.") if isinstance(value, Mapping) else [(here, value)]
    return found


def _toml(values: Mapping[str, Any], path: str = "") -> str:
    """Return a TOML table: its own values first, then its tables."""
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines = [f"{_key(k)} = {_toml_value(v)}\n" for k, v in values.items() if k not in tables]
    text = "".join(lines)
    for key, table in tables.items():
        here = f"{path}.{_key(key)}" if path else _key(key)
        text += f"\n[{here}]\n{_toml(table, here)}"
    return text


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_text(key)


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON may hold it


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    return repr(value)  # an int, or a float: Python and TOML write inf and nan alike
