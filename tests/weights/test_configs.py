"""Configs as plain values and back, strictly from model files and as users write them."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from stylefeatureeditor.errors import ConfigError, SfeError, WeightsError
from stylefeatureeditor.model import Framing, Model, ModelConfig
from stylefeatureeditor.weights.configs import (
    changed,
    changed_keys,
    from_plain,
    read_mapping,
    to_plain,
    write_config,
)
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


# --- what a user writes over a preset ---------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Loss:
    lpips: float = 0.8
    identity: float = 0.1

    def __post_init__(self):
        if self.lpips < 0:
            raise ConfigError("lpips cannot be negative")


@dataclass(frozen=True, kw_only=True)
class Run:
    steps: int = 10
    loss: Loss = Loss()
    source: tuple[str, ...] = ()
    fit: Literal["crop", "pad"] = "crop"
    limit: float | None = 1.0
    extra: Loss | None = None
    weights: Path | None = None
    strengths: dict[str, tuple[float, ...]] = field(default_factory=lambda: {"age": (-3.0, 3.0)})


@pytest.mark.parametrize("suffix", ["toml", "yaml", "json"])
def test_a_file_changes_what_it_names(tmp_path, suffix):
    text = {
        "toml": 'steps = 1e3\nfit = "pad"\nsource = "a"\n[loss]\nlpips = 1\nidentity = 1e-4\n',
        "yaml": "steps: 1e3\nfit: pad\nsource: a\nloss:\n  lpips: 1\n  identity: 1e-4\n",
        "json": '{"steps":1e3,"fit":"pad","source":"a","loss":{"lpips":1,"identity":1e-4}}',
    }[suffix]
    file = tmp_path / f"run.{suffix}"
    file.write_text(text)
    loss = Loss(lpips=1.0, identity=1e-4)
    expected = Run(limit=None, steps=1000, fit="pad", source=("a",), loss=loss)
    assert changed(Run(limit=None), read_mapping(file)) == expected


def test_keys_are_added_to_a_dictionary_and_none_takes_one_away():
    assert changed(Run(), {"strengths": {"smile": [1]}}).strengths == {
        "age": (-3.0, 3.0),
        "smile": (1.0,),
    }
    assert changed(Run(), {"strengths": {"age": "none"}, "limit": "none"}) == Run(
        strengths={}, limit=None
    )


def test_a_missing_branch_is_made_by_naming_a_leaf():
    assert changed(Run(), {"extra": {"identity": 2}}).extra == Loss(identity=2.0)


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_written_config_reads_back_as_itself(tmp_path, suffix):
    run = Run(
        limit=math.inf,
        source=('a "b"\\c.zip', "ü"),
        weights=Path("x/y.pt"),
        extra=Loss(lpips=1e-30),
        strengths={"eye width": (1.0,), "age": ()},
    )
    write_config(run, tmp_path / f"run.{suffix}")
    assert changed(Run(), read_mapping(tmp_path / f"run.{suffix}")) == run


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": {"lpip": 1}}, r"settings.loss: unknown field 'lpip'.* did you mean lpips\?"),
        ({"stepss": 1}, r"settings: unknown field 'stepss'.* did you mean steps"),
        ({"loss": {"lpips": "abc"}}, r"settings.loss.lpips must be float, got 'abc'"),
        ({"steps": 3.5}, r"settings.steps must be int, got 3.5"),
        ({"fit": "stretch"}, r"settings.fit must be one of 'crop', 'pad', got 'stretch'"),
        ({"loss": 3}, r"settings.loss must be an object"),
        ({"loss": {"lpips": -1}}, r"settings.loss: lpips cannot be negative"),
        ({"source": {"a": 1}}, r"settings.source must be a list, got dict"),
    ],
)
def test_a_mistake_of_a_user_is_one_sentence(values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        changed(Run(), values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.toml", "steps = = 3"), ("a.yaml", "a: [1"), ("a.ini", "x"), ("a.json", "[1]")],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=r"a\.\w+") as caught:
        read_mapping(tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_mapping(tmp_path / "missing.toml")


def test_changed_keys_are_named_by_path():
    old, new = to_plain(Run()), to_plain(Run(steps=3, loss=Loss(identity=0.0)))
    assert changed_keys(old, new) == ["loss.identity", "steps"]
    assert changed_keys(old, old) == []
    assert changed_keys({"extra": "none"}, {"extra": None}) == []
