"""Checkpoints: exact, whole or not at all, verified, pruned."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch

from stylefeatureeditor.errors import TrainingError
from stylefeatureeditor.training.checkpoints import (
    list_checkpoints,
    load_checkpoint,
    remove_leftovers,
    save_checkpoint,
)

if TYPE_CHECKING:
    from pathlib import Path

STATE: dict[str, Any] = {"weights": torch.arange(6.0).reshape(2, 3)}


def save(folder: Path, step: int, state: dict[str, Any] | None = None, keep: int = 9) -> Path:
    state = {**STATE, "step": step} if state is None else state
    return save_checkpoint(folder, step, state, lambda _: None, keep)


def steps(folder: Path) -> list[int]:
    return [step for step, _ in list_checkpoints(folder)]


def test_a_state_comes_back_as_it_was(tmp_path: Path):
    shared = torch.randn(3, 4)
    adam = torch.optim.Adam([torch.nn.Parameter(torch.randn(4))])
    adam.param_groups[0]["params"][0].sum().backward()
    adam.step()
    state = {
        "adam": adam.state_dict(),
        "a.b": torch.tensor(1),
        "a": {"b": torch.tensor(2), 3: torch.tensor([True, False]), "3": None},
        "shared": [shared, shared.T, shared[1:]],
        "plain": (0.1, 1e-300, float("inf"), 2**70, "wörd", True, []),
        "half": torch.randn(2, 2, 2, 2, dtype=torch.bfloat16).to(memory_format=torch.channels_last),
        "empty": torch.empty(0, 3),
    }
    save(tmp_path, 7, state)
    found = load_checkpoint(tmp_path)
    assert found is not None
    step, loaded = found
    assert (step, loaded["plain"]) == (7, state["plain"])
    assert list(loaded["a"]) == ["b", 3, "3"]
    assert loaded["adam"]["param_groups"] == state["adam"]["param_groups"]
    pairs = [
        (loaded["a.b"], state["a.b"]),
        (loaded["a"]["b"], state["a"]["b"]),
        (loaded["a"][3], state["a"][3]),
        (loaded["half"], state["half"]),
        (loaded["empty"], state["empty"]),
        (loaded["adam"]["state"][0]["exp_avg_sq"], state["adam"]["state"][0]["exp_avg_sq"]),
        *zip(loaded["shared"], state["shared"], strict=True),
    ]
    for ours, theirs in pairs:
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
):
    save(tmp_path, 5)
    file = save(tmp_path, 10) / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(data if damage == "flip" else data[: len(data) // 2])
    with caplog.at_level(logging.WARNING):
        found = load_checkpoint(tmp_path)
    assert found is not None
    assert (found[0], found[1]["step"]) == (5, 5)
    assert "step-00000010 is damaged and passed over" in caplog.text
    save(tmp_path, 8, keep=1)
    assert steps(tmp_path) == [8]


def test_none_readable_is_an_error_and_none_there_is_not(tmp_path: Path):
    assert load_checkpoint(tmp_path / "missing") is None
    assert load_checkpoint(tmp_path) is None
    (save(tmp_path, 5) / "state.json").write_text("{}")
    with pytest.raises(TrainingError, match="none of the 1 checkpoints"):
        load_checkpoint(tmp_path)


def test_only_the_newest_are_kept(tmp_path: Path):
    for step in (1, 2, 10, 100_000_000):
        save(tmp_path, step, keep=2)
    assert steps(tmp_path) == [10, 100_000_000]


def test_a_step_can_be_saved_again(tmp_path: Path):
    save(tmp_path, 5)
    save(tmp_path, 5, {"new": torch.ones(1)})
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert list(found[1]) == ["new"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_save_that_fails_leaves_no_trace(tmp_path: Path):
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError("the disk is full")

    save(tmp_path, 1)
    with pytest.raises(TrainingError, match=r"the disk is full.*--resume"):
        save_checkpoint(tmp_path, 2, STATE, fail, 3)
    with pytest.raises(FloatingPointError, match=r"state\.weights is not finite after step 2"):
        save(tmp_path, 2, {"weights": torch.tensor([1.0, torch.inf])})
    with pytest.raises(TypeError, match=r"state\.x: a state is built of tensors and plain values"):
        save(tmp_path, 2, {"x": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path):
    save(tmp_path, 1)
    (tmp_path / ".half" / "model").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_sums_are_those_that_sha256sum_reads(tmp_path: Path):
    folder = save(tmp_path, 1)
    names = [line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert names == ["state.safetensors", "state.json"]
    assert json.loads((folder / "state.json").read_text())["step"] == 1
