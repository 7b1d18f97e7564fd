"""What a run of the built-in model has reached, in a few small files; and a run made of them.

    python runs/builtin_keep.py pack OUT KEEP
    python runs/builtin_keep.py unpack KEEP OUT

OUT holds a folder for each stage (`builtin_gpu.sh`). KEEP gets part-1.safetensors and so on, in
float16, all of them or none: the classifiers, the newest finished model with its discriminator, and
the networks of the stage under way with the steps they have taken. From these `unpack` makes an OUT
on which the same command goes on. Nothing in the files can run code.

Left out are the moments of the optimisers, G beside its average, and older discriminators: a stage
that goes on needs some hundred steps until it is where it was.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from stylefeatureeditor.files import finish_moves, together
from stylefeatureeditor.model import Model
from stylefeatureeditor.training.checkpoints import (
    flatten,
    load_checkpoint,
    restore,
    save_checkpoint,
)
from stylefeatureeditor.training.run_folder import DISCRIMINATOR, GENERATOR
from stylefeatureeditor.weights.checkpoint import CONFIG_FILE, load_config, save_model
from stylefeatureeditor.weights.storage import load_tensors, read_json, save_tensors, write_json
from stylefeatureeditor.weights.trained import COMMANDS, RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

CLASSIFIERS = ("attributes", "judge")  # no later stage holds them
LATER = (*CLASSIFIERS, "e4e", "inverter", "editor")  # after the generators
PART_BYTES = 14_500_000  # of tensors: with its header a file has less than 15 MB
MOST_PARTS = 8
STATE = "state"  # first word of the names of tensors of the stage under way
TAKEN_FROM = {  # parts of a phase that are left out, and what stands in for them
    "generator": "average",
    "first_discriminator": "discriminator",
    "first_discriminator_edit": "discriminator",
    "first_discriminator_inversion": "discriminator",
}
NAME = re.compile(r"[a-z0-9-]+/model/\w+\.(json|safetensors)")  # of a kept file, inside OUT


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    packing, unpacking = commands.add_parser("pack"), commands.add_parser("unpack")
    for command, folders in ((packing, ("out", "keep")), (unpacking, ("keep", "out"))):
        for folder in folders:
            command.add_argument(folder, type=Path)
    given = parser.parse_args()
    if given.command == "pack":
        record = pack(given.out, given.keep)
    else:
        record = unpack(given.keep, given.out)
    running = record["stage"] and f"{record['stage']} up to step {record['step']}"
    reached = ", ".join(filter(None, (*record["done"], running)))
    sys.stdout.write(f"{given.command}ed: {reached or 'nothing'}\n")


def pack(out: Path, keep: Path) -> dict[str, Any]:
    """Write KEEP in place of an older one; return the record in it.

    Args:
        out: the run.
        keep: folder of the files.
    """
    generators = sorted(out.glob("generator-*"), key=lambda run: int(run.name.partition("-")[2]))
    stages = [*(run.name for run in generators), *LATER]
    done = [stage for stage in stages if (out / stage / "model" / RECORD).is_file()]
    records = {stage: read_json(out / stage / "model" / RECORD) for stage in done}
    record: dict[str, Any] = {"done": records, "stage": None, "files": {}, "texts": {}}
    tensors: dict[str, Tensor] = {}
    state: dict[str, Any] = {}
    for stage in stages:
        loaded = None if stage in done else load_checkpoint(out / stage / "checkpoints")
        if loaded is not None:
            state = loaded[1]["phase"]
            slim = {name: _slim(part) for name, part in state.items() if name not in TAKEN_FROM}
            left_out = sorted(state.keys() & TAKEN_FROM.keys())
            record |= {"stage": stage, "step": loaded[0], "left_out": left_out}
            record["state"] = flatten(slim, STATE, tensors)
            break

    kept = [stage for stage in done if stage in CLASSIFIERS]
    if "average" not in state:  # a generator under way has taken over from the smaller one
        kept += [stage for stage in done if stage not in CLASSIFIERS][-1:]
    for stage in kept:
        untrained = COMMANDS.keys() - records[stage]["steps"].keys()
        for file in sorted((out / stage / "model").iterdir()):
            name = f"{stage}/model/{file.name}"
            if file.suffix == ".json" and file.name != RECORD:
                record["texts"][name] = read_json(file)
            elif file.suffix == ".safetensors" and file.stem not in untrained:
                content, record["files"][name] = load_tensors(file)
                if file.name != DISCRIMINATOR or "discriminator" not in state:
                    tensors |= {f"{name}:{key}": tensor for key, tensor in content.items()}
    _write(keep, tensors, record)
    return record


def unpack(keep: Path, out: Path) -> dict[str, Any]:
    """Make a run of KEEP; return the record in it. A stage counts as done once all of it is there.

    Args:
        keep: what `pack` has written.
        out: the run; none of its stages should have begun.
    """
    tensors, record = _read(keep)
    state = restore(record["state"], tensors) if record["stage"] else {}
    for name, text in record["texts"].items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write_json(out / name, text)
        if Path(name).name == CONFIG_FILE:  # networks that are not trained yet are of no account
            folder = (out / name).parent
            save_model(Model(load_config(folder)), folder, float_dtype=torch.float16)
    networks = dict(state)
    for name, header in record["files"].items():
        own = {
            k.removeprefix(f"{name}:"): t for k, t in tensors.items() if k.startswith(f"{name}:")
        }
        if Path(name).name == DISCRIMINATOR:
            own = networks.setdefault("discriminator", own)  # the stage under way has a newer one
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        save_tensors(out / name, own, header)
    if record["stage"]:
        state |= {name: networks[TAKEN_FROM[name]] for name in record["left_out"]}
        _begin(out / record["stage"], record["step"], state)
    for stage, content in record["done"].items():
        folder = out / stage / "model"
        folder.mkdir(parents=True, exist_ok=True)
        if stage.startswith("generator") and any(folder.iterdir()):  # a larger one may grow from it
            drawing, judging = (
                load_tensors(folder / name)[0] for name in (GENERATOR, DISCRIMINATOR)
            )
            pair = {"generator": drawing, "average": drawing, "discriminator": judging}
            _begin(out / stage, content["steps"]["generator"], pair)
        write_json(folder / RECORD, content)
    return record


def _slim(part: Any) -> Any:
    """Return an optimiser's state without its moments, anything else as it is."""
    if not isinstance(part, dict) or part.keys() != {"state", "param_groups"}:
        return part
    taken = max((int(own["step"]) for own in part["state"].values()), default=0)
    groups = [group | {"before": group.get("before", 0) + taken} for group in part["param_groups"]]
    return {"state": {}, "param_groups": groups}


def _begin(run: Path, step: int, state: dict[str, Any]) -> None:
    """Leave a checkpoint for a run to go on from."""
    whole = {"phase": state, "scaler": None}
    save_checkpoint(run / "checkpoints", step, whole, lambda _folder: None, keep=1)


def _write(keep: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        size += tensor.numel() * (2 if tensor.is_floating_point() else tensor.element_size())
        if size > PART_BYTES and parts[-1]:
            parts.append({})
            size = tensor.numel() * 2
        parts[-1][name] = tensor
    if len(parts) > MOST_PARTS:
        sys.exit(f"the run would need {len(parts)} files, more than {MOST_PARTS}")
    mark = {"set": secrets.token_hex(8), "parts": str(len(parts))}
    with together(keep) as stage:
        for number, part in enumerate(parts, 1):
            header = mark | ({"record": json.dumps(record)} if number == 1 else {})
            save_tensors(stage / f"part-{number}.safetensors", part, header, torch.float16)
    number = len(parts) + 1
    while (keep / f"part-{number}.safetensors").is_file():  # of an older, larger set
        (keep / f"part-{number}.safetensors").unlink()
        number += 1


def _read(keep: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    finish_moves(keep)
    tensors, header = load_tensors(keep / "part-1.safetensors")
    for number in range(2, int(header["parts"]) + 1):
        more, other = load_tensors(keep / f"part-{number}.safetensors")
        if other["set"] != header["set"]:
            sys.exit(f"the files in {keep} are not of the same save: take another copy of them")
        tensors |= more
    record = json.loads(header["record"])
    for name in (*record["texts"], *record["files"]):
        if not NAME.fullmatch(name):
            sys.exit(f"{keep} names a file that no run has: {name}")
    return tensors, record


if __name__ == "__main__":
    main()
