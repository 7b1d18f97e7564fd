"""A small run of the fuzzer, and that it sees what it is to see; `make fuzz` is the large run."""

from __future__ import annotations

import logging
from random import Random

import pytest

from fuzz import campaign
from fuzz.campaign import lay_out, try_one
from fuzz.targets import TARGETS, Target
from stylefeatureeditor.errors import WeightsError

INPUTS = 12  # of each target, other ones than the first of the large run
FIRST = 1_000_000
pytestmark = pytest.mark.usefixtures("one_thread")
NOT_READ = {  # sound, but not what their reader is for
    "pictures as masks",  # turned by EXIF: another size
    "torch checkpoints, TorchScript",
    "NVIDIA pickles",
    "numpy pickles",
    "attribute tables",
    "generators saved whole",  # two formats before zip, and traps
}


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_inputs_are_read_or_refused_in_a_sentence(target, tmp_path):
    lay_out(target, tmp_path)
    outcomes = [try_one(target, FIRST + number, tmp_path) for number in range(INPUTS)]
    assert not [outcome for outcome in outcomes if outcome.kind == "defect"]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_fuzzer_starts_from_files_that_are_read(target, tmp_path):
    lay_out(target, tmp_path)
    read = 0
    for name, content in target.seeds().items():
        if content:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        try:
            target.read(tmp_path / name)
        except campaign.SfeError:
            assert target.name in NOT_READ
        else:
            read += 1
    assert read


def _target(read) -> Target:
    return Target("self", 1, lambda: {"a.bin": b"abc"}, lambda *_: b"x", read)


def _raises(error):
    def read(_):
        raise error

    return read


def _spins(_):
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "kind", "what"),
    [
        (lambda _: None, "read", ""),
        (_raises(WeightsError("no such tensor")), "refused", "no such tensor"),
        (_raises(KeyError("tensor")), "defect", "KeyError"),
        (_raises(RecursionError("deep")), "defect", "RecursionError"),
        (_raises(MemoryError()), "defect", "MemoryError"),
        (_raises(WeightsError("")), "defect", "not one sentence"),
        (_spins, "defect", "CPU time"),
    ],
)
def test_the_fuzzer_tells_a_refusal_from_a_defect(read, kind, what, tmp_path, monkeypatch):
    monkeypatch.setattr(campaign, "MAX_CPU_SECONDS", 0.1)
    outcome = try_one(_target(read), 0, tmp_path)
    assert outcome.kind == kind
    assert what in outcome.what
    assert list(tmp_path.iterdir()) == []


def test_the_fuzzer_sees_memory_taken(tmp_path, monkeypatch):
    sizes = iter((100.0, 100.0 + campaign.MAX_GROWTH_MIB + 1))
    monkeypatch.setattr(campaign, "_peak_mib", lambda: next(sizes))
    assert "took 1025 MiB" in try_one(_target(lambda _: None), 0, tmp_path).what


def test_an_input_is_a_function_of_its_number():

    for target in TARGETS:
        once, again = (target.case(Random(f"{target.name} 7")) for _ in range(2))
        assert once == again, target.name
