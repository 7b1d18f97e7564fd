"""Every network alone, and what a user asks for: invert, edit, edit again, a strip, a batch.

Run as a program it edits one photo once, and prints GiB at the peak and of the weights:
python -m benchmarks.inference SIZE DEVICE
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchmarks.measure import Work, flop, peak_memory, run_process, timed
from benchmarks.models import config_of, direction_of, random_model
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.records import Codes
from stylefeatureeditor.runtimes.quick import quicken

STRENGTHS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
BATCH = 8
MAX_SECONDS = 15.0  # of a single piece of work, from which on two repeats must do


@dataclass(frozen=True)
class Item:
    """A row of the report.

    Attributes:
        name: of the row.
        work: what is timed.
        times: how often the arithmetic of `counted` it does.
        counted: None counts `work` itself.
    """

    name: str
    work: Work
    times: int = 1
    counted: Work | None = None


def network_items(sfe: Sfe, photo: Tensor) -> list[Item]:
    """Return every network alone."""
    model, layer = sfe.model, sfe.model.config.feature_layer
    inversion = sfe.invert(photo)
    seen, features, codes = inversion.encoder_pixels, inversion.features, inversion.codes
    generator, fuser = model.generator, model.inverter.fuser
    assert fuser is not None
    start = generator.run_to(codes, layer)
    three = Codes.cat([codes] * 3)
    works: dict[str, Work] = {
        "e4e E": lambda: model.e4e(seen),
        "Feature-Style encoder": lambda: model.inverter.encoder(seen),
        "Fuser": lambda: fuser(features, start.features),
        "Feature Editor H": lambda: model.feature_editor(features, features),
        "G up to layer k, 1 code": lambda: generator.run_to(codes, layer),
        "G up to layer k, 3 codes": lambda: generator.run_to(three, layer),
        "G from layer k": lambda: generator.synthesize_from(features, codes, layer, start.rgb),
        "G whole": lambda: generator.synthesize(codes),
    }
    return [Item(name, work) for name, work in works.items()]


def method_items(sfe: Sfe, photo: Tensor, *, batch: int = BATCH) -> list[Item]:
    """Return what a user asks for."""
    direction = direction_of(sfe.model.config)
    known = sfe.invert(photo)
    sfe.edit(known, {direction: 1.0})
    photos = photo.repeat(batch, 1, 1, 1)
    strengths = torch.tensor(STRENGTHS)

    def fresh_edit(photos: Tensor) -> Tensor:
        return sfe.edit(sfe.invert(photos), {direction: 1.0})

    def edit_again() -> Tensor:
        return sfe.edit(known, {direction: 2.0})

    return [
        Item("invert", lambda: sfe.reconstruct(sfe.invert(photo))),
        Item("fresh edit", lambda: fresh_edit(photo)),
        Item("re-edit", edit_again),
        Item(
            f"strip of {len(STRENGTHS)} strengths",
            lambda: sfe.edit(known, {direction: strengths}),
            len(STRENGTHS),
            edit_again,
        ),
        Item(
            f"fresh edit of {batch} photos",
            lambda: fresh_edit(photos),
            batch,
            lambda: fresh_edit(photo),
        ),
    ]


def edit_again(size: int, device: str) -> Work:
    """Return a re-edit at one size, on a model of its own."""
    sfe = Sfe(quicken(random_model(config_of(size))).to(device))
    items = method_items(sfe, torch.rand(1, 3, size, size, device=device) * 2 - 1)
    return next(item.work for item in items if item.name == "re-edit")


def measured(item: Item, rate: float, seconds: float) -> dict[str, object]:
    """Return one row of the report: its arithmetic, floor and times."""
    operations = item.times * flop(item.counted or item.work)
    is_long = operations / rate > MAX_SECONDS
    timing = timed(item.work, seconds=seconds, least=2 if is_long else 3)
    floor = operations / rate
    row = {"name": item.name, "gflop": operations / 1e9, "floor": floor, **asdict(timing)}
    return row | {"ratio": timing.median / floor}


def peak_of_fresh_edit(size: int, device: str) -> dict[str, float]:
    """Return GiB at the peak of a fresh edit in a process of its own, and of its weights."""
    command = [sys.executable, "-m", "benchmarks.inference", str(size), device]
    found: dict[str, float] = json.loads(run_process(command).output.splitlines()[-1])
    return found


def _edit_once(size: int, device: str) -> dict[str, float]:
    model = quicken(random_model(config_of(size))).to(device)
    sfe = Sfe(model)
    photo = torch.zeros(1, 3, size, size, device=device)
    sfe.edit(sfe.invert(photo), {direction_of(model.config): 1.0})
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    return {"peak": peak_memory(device), "weights": weights / 2**30}


if __name__ == "__main__":
    print(json.dumps(_edit_once(int(sys.argv[1]), sys.argv[2])))
