"""Configs as JSON and back: strict, because the file may come from anywhere."""

import json
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
import torch

from stylefeatureeditor.errors import ConfigError, SfeError, WeightsError
from stylefeatureeditor.model import Framing, Model, ModelConfig
from stylefeatureeditor.weights.config_json import from_plain, to_plain
from tiny import tiny_config


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    count: int = 1
    rate: float = 0.5
    name: str | None = None
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    pair: tuple[float, float] = (0.0, 1.0)
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None

    def __post_init__(self):
        if self.count < 0:
            raise ConfigError("count must not be negative")


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        tiny_config(),
        tiny_config(cars=True),
        replace(
            tiny_config(),
            catalog="ffhq",
            blend="residual",
            framing=Framing(scale=1.2, shift=(0.0, -0.1)),
            inverter=replace(tiny_config().inverter, fuser=None),
            generator=replace(tiny_config().generator, clamp=256.0),
        ),
    ],
)
def test_a_config_comes_back_from_its_json(config):
    assert from_plain(ModelConfig, json.loads(json.dumps(to_plain(config)))) == config


def test_a_missing_field_takes_its_default():
    assert from_plain(Outer, {"inner": {}}) == Outer()


def test_a_whole_number_may_stand_for_a_float_and_a_list_for_a_tuple():
    outer = from_plain(Outer, {"rate": 2, "pair": [1, 2.5], "inner": {"sizes": [3]}, "maybe": {}})
    assert outer == Outer(rate=2.0, pair=(1.0, 2.5), inner=Inner((3,)), maybe=Inner())
    assert type(outer.rate) is type(outer.pair[0]) is float


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "config must be an object, got list"),
        (None, "config must be an object, got NoneType"),
        ({"later": 1}, "unknown field 'later'; was it written by a newer version"),
        ({"inner": {"later": 1}}, "config.inner: unknown field 'later'"),
        ({"inner": 3}, "config.inner must be an object"),
        ({"count": 1.0}, "config.count must be int, got 1.0"),
        ({"count": True}, "config.count must be int, got True"),
        ({"count": None}, "config.count must be int, got None"),
        ({"rate": "1"}, "config.rate must be float, got '1'"),
        ({"flag": 0}, "config.flag must be bool"),
        ({"name": 3}, "config.name must be str"),
        ({"kind": "c"}, "config.kind must be one of 'a', 'b', got 'c'"),
        ({"kind": []}, "config.kind must be one of"),
        ({"pair": [1.0]}, "config.pair must have 2 entries, got 1"),
        ({"pair": "ab"}, "config.pair must be a list, got str"),
        ({"inner": {"sizes": [1, "2"]}}, "config.inner.sizes must be int, got '2'"),
        ({"count": -1}, "config: count must not be negative"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(content, sentence):
    with pytest.raises(WeightsError, match=sentence):
        from_plain(Outer, content)


def leaves(content, path=()):
    """Every path to a number, text or None in nested dicts and lists."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        if isinstance(value, (dict, list)):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def with_value(content, path, value):
    """A copy of nested dicts and lists with another value at a path."""
    if not path:
        return value
    copy = content.copy()
    copy[path[0]] = with_value(content[path[0]], path[1:], value)
    return copy


PLAIN = json.loads(json.dumps(to_plain(tiny_config(cars=True))))


@pytest.mark.parametrize("value", [0, -1, 3, "x", None, True, float("nan"), [], {}], ids=repr)
def test_a_config_that_was_tampered_with_is_refused_or_can_be_built(value):
    """Never a TypeError, a ZeroDivisionError or a network that cannot be made."""
    for path in leaves(PLAIN):
        try:
            config = from_plain(ModelConfig, with_value(PLAIN, path, value))
        except SfeError:
            continue
        with torch.device("meta"):
            assert Model(config).config == config, path
