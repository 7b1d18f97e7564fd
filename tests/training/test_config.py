"""A run's configuration from a preset, a file and flags."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training.config import (
    changed_keys,
    from_mapping,
    load_config,
    to_mapping,
    write_config,
)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Weights.

    Attributes:
        lpips: weight of LPIPS.
        identity: weight of the identity loss.
    """

    lpips: float = 0.8
    identity: float = 0.1

    def __post_init__(self) -> None:
        if self.lpips < 0:
            raise ConfigError("lpips cannot be negative")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run.

    Attributes:
        steps: how long.
    """

    steps: int = 10
    loss: Loss = Loss()
    source: tuple[str, ...] = ()
    betas: tuple[float, float] = (0.9, 0.999)
    fit: Literal["crop", "pad"] = "crop"
    mirror: bool = True
    limit: float | None = 1.0
    extra: Loss | None = None
    weights: Path | None = None
    strengths: dict[str, tuple[float, ...]] = field(default_factory=lambda: {"age": (-3.0, 3.0)})


def test_flags_change_nested_fields_of_every_kind():
    flags = "--loss.lpips 0.5 --betas 0.95 .9 --fit pad --no-mirror --limit none --steps=1e3"
    run = load_config(Run(), flags=[*flags.split(), "--source", "a.zip", "b.zip"])
    assert run == Run(
        loss=Loss(lpips=0.5),
        betas=(0.95, 0.9),
        fit="pad",
        mirror=False,
        limit=None,
        steps=1000,
        source=("a.zip", "b.zip"),
    )


def test_negative_numbers_after_a_flag_are_values():
    run = load_config(Run(), flags=["--strengths.smile", "-2", "-.5", "3", "--mirror"])
    assert run.strengths == {"age": (-3.0, 3.0), "smile": (-2.0, -0.5, 3.0)}


def test_none_takes_a_key_out_of_a_dictionary():
    assert load_config(Run(), flags=["--strengths.age", "none"]).strengths == {}


def test_one_value_fills_a_list():
    assert load_config(Run(), flags=["--source", "a.zip"]).source == ("a.zip",)


def test_a_missing_branch_is_made_by_naming_a_leaf():
    assert load_config(Run(), flags=["--extra.identity", "2"]).extra == Loss(identity=2.0)


@pytest.mark.parametrize("suffix", ["toml", "yaml"])
def test_flags_win_over_the_file_and_the_file_over_the_preset(tmp_path: Path, suffix: str):
    text = {
        "toml": 'steps = 5\nfit = "pad"\n[loss]\nlpips = 1\nidentity = 1e-4\n',
        "yaml": "steps: 5\nfit: pad\nloss:\n  lpips: 1\n  identity: 1e-4\n",
    }[suffix]
    file = tmp_path / f"run.{suffix}"
    file.write_text(text)
    run = load_config(Run(limit=None), file, ["--steps", "7"])
    assert run == Run(limit=None, steps=7, fit="pad", loss=Loss(lpips=1.0, identity=1e-4))


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_written_config_reads_back_as_itself(tmp_path: Path, suffix: str):
    run = Run(
        limit=math.inf,
        source=('a "b"\\c.zip', "ü"),
        weights=Path("x/y.pt"),
        extra=Loss(lpips=1e-30),
        strengths={"eye width": (1.0,), "age": ()},
    )
    write_config(run, tmp_path / f"run.{suffix}")
    assert load_config(Run(), tmp_path / f"run.{suffix}") == run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--loss.lpip", "1"], r"no setting 'loss.lpip'; did you mean lpips\?"),
        (["--stepss", "1"], r"no setting 'stepss'; did you mean steps or"),
        (["--loss.lpips", "abc"], r"loss.lpips should be a number, got 'abc'"),
        (["--steps", "3.5"], r"steps should be a whole number, got '3.5'"),
        (["--steps", "3", "4"], r"steps should be a whole number, got \['3', '4'\]"),
        (["--fit", "stretch"], r"fit should be one of crop, pad, got 'stretch'"),
        (["--betas", "1"], r"betas should be 2 values"),
        (["--mirror", "perhaps"], r"mirror should be true or false"),
        (["--loss", "3"], r"loss should be settings of its own by name"),
        (["--loss.lpips", "-1"], r"lpips cannot be negative"),
        (["lpips"], r"expected a flag such as --a.b before 'lpips'"),
    ],
)
def test_a_mistake_in_a_flag_is_one_sentence(flags: list[str], message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(Run(), flags=flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.toml", "steps = = 3"), ("a.yaml", "a: [1"), ("a.ini", "x"), ("a.json", "[1]")],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=r"a\.\w+") as caught:
        load_config(Run(), tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Run(), tmp_path / "missing.toml")


def test_a_whole_number_with_a_fraction_is_refused_from_a_file():
    with pytest.raises(ConfigError, match="whole number"):
        from_mapping(Run(), {"steps": 2.5})
    assert from_mapping(Run(), {"steps": 2**60 + 1}).steps == 2**60 + 1


def test_help_shows_every_flag_with_its_value(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        load_config(Run(steps=123), flags=["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--loss.lpips" in shown
    assert "weight of LPIPS" in shown
    assert "123" in shown


def test_changed_keys_are_named_by_path():
    old, new = to_mapping(Run()), to_mapping(Run(steps=3, loss=Loss(identity=0.0)))
    assert changed_keys(old, new) == ["loss.identity", "steps"]
    assert changed_keys(old, old) == []
