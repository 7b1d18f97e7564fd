"""Which networks of a model folder have been trained: its training.json, {"steps": {part: steps}}.

A folder without one came from elsewhere: all of its networks count as trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.files import member
from stylefeatureeditor.weights.storage import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RECORD = "training.json"
COMMANDS = {  # part: what trains it
    "generator": "sfe train generator",
    "e4e": "sfe train e4e",
    "inverter": "sfe train inverter",
    "feature_editor": "sfe train editor",
}


def read_record(folder: Path) -> dict[str, int]:
    """Return the steps of each trained network; WeightsError if the record is damaged."""
    file = member(folder, RECORD)
    if not file.is_file():
        return dict.fromkeys(COMMANDS, 0)
    steps = read_json(file).get("steps")
    if not isinstance(steps, dict) or any(type(count) is not int for count in steps.values()):
        raise WeightsError(f"{file} should hold 'steps' by network, whole numbers")
    return steps


def need_trained(folder: Path, trained: Iterable[str], parts: Iterable[str]) -> None:
    """Raise ConfigError unless all these parts are trained."""
    for part in parts:
        if part not in trained:
            raise ConfigError(f"{folder} has no trained {part}: `{COMMANDS[part]}` makes it")
