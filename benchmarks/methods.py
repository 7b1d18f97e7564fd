"""The methods of the paper's Table 1 beside each other: published sizes, 1024 px, random weights.

    invert       X -> X^, its picture included
    fresh edit   X -> X^ and X'
    re-edit      another X' of an inverted photo

Each runs in a process of its own. Those that fit every photo take minutes or hours there: a few
steps are timed, and what a whole photo takes is counted from them.

Run as a program it measures one: python -m benchmarks.methods WORD DEVICE SECONDS
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.measure import peak_memory, run_process, seconds_of
from benchmarks.models import config_of, direction_of, random_network
from stylefeatureeditor.evaluation import paper
from stylefeatureeditor.methods.e4e import E4eMethod
from stylefeatureeditor.methods.load import KINDS
from stylefeatureeditor.methods.optimisation import WOptimisation, WOptimisationConfig
from stylefeatureeditor.methods.pti import PivotalTuning, PivotalTuningConfig
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.metrics.perceptual import Lpips
from stylefeatureeditor.metrics.perceptual_vector import PerceptualVector, lpips_vector
from stylefeatureeditor.model import Model
from stylefeatureeditor.runtimes.quick import quicken

if TYPE_CHECKING:
    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.methods.method import Method

SIZE = 1024
FITTED = ("w+", "pti")
SAME_WORK = ("restyle-e4e",)  # as restyle-psp does
WORDS = ("sfe", "e4e", *(word for word in KINDS if word not in SAME_WORK), *FITTED)
IN_PAPER = {
    "sfe": "SFE",
    "e4e": "e4e",
    "psp": "pSp",
    "feature-style": "Feature-Style",
    "restyle-psp": "ReStyle",
    "styleres": "StyleRes",
    "hyperstyle": "HyperStyle",
    "hfgi": "HFGI",
    "hyperinverter": "HyperInverter",
    "style-transformer": "StyleTransformer",
    "padinv": "Padding Inverter",
    "pti": "PTI",
}
STEPS = 3  # of every stage of a fitted method; the first is not counted
MOST = 10  # repeats


class Clocked(PerceptualVector):
    """LPIPS that notes when it is asked for a gradient: once per step.

    Args:
        vector: whose vectors it gives.
    """

    def __init__(self, vector: PerceptualVector) -> None:
        self.name, self.vector = vector.name, vector
        self.times: list[float] = []

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return v, (B, any)."""
        if pixels.requires_grad:
            if pixels.is_cuda:
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())
        return self.vector(pixels)


def method_row(word: str, device: str, seconds: float) -> dict[str, Any]:
    """Return a method's row of the report, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.methods", word, device, str(seconds)]
    found: dict[str, Any] = json.loads(run_process(command).output.splitlines()[-1])
    return found


def paper_seconds(word: str) -> float | None:
    """Return the seconds per edit that the paper states, on a V100; None for what it lacks."""
    stated = {row.method: row.values["seconds"] for row in paper.FACES}
    return stated.get(IN_PAPER.get(word, ""))


def times_of(
    method: Method, photo: Tensor, direction: EditDirection, seconds: float
) -> dict[str, Any]:
    """Invert, edit and edit again, once to warm up and then for about `seconds`."""

    def once() -> tuple[float, float, float]:
        known: list[Inversion] = []

        def invert() -> None:
            known.append(method.invert(photo))
            method.reconstruct(known[0])

        inverted = seconds_of(invert)
        first = seconds_of(lambda: method.edit(known[0], {direction: 1.0}))
        again = seconds_of(lambda: method.edit(known[0], {direction: 2.0}))
        return inverted, inverted + first, again

    once()
    samples = [once()]
    while sum(fresh + again for _, fresh, again in samples) < seconds and len(samples) < MOST:
        samples.append(once())
    names = ("invert", "fresh", "again")
    medians = dict(zip(names, map(median, zip(*samples, strict=True)), strict=True))
    return {**medians, "repeats": len(samples)}


def times_of_fitted(
    method: Method,
    photo: Tensor,
    direction: EditDirection,
    clock: Clocked,
    schedule: tuple[int, ...],
) -> dict[str, Any]:
    """Run `STEPS` steps of every stage, and count from them what all of `schedule` takes."""
    inversion = method.invert(photo)
    assert len(clock.times) == STEPS * len(schedule)
    stages = [clock.times[start : start + STEPS] for start in range(0, len(clock.times), STEPS)]
    each = [median(after - before for before, after in pairwise(stage)) for stage in stages]
    invert = sum(count * step for count, step in zip(schedule, each, strict=True))
    again = seconds_of(lambda: method.edit(inversion, {direction: 1.0}))
    counted = [[count, step] for count, step in zip(schedule, each, strict=True)]
    return {"invert": invert, "fresh": invert + again, "again": again, "stages": counted}


def measure(word: str, device: str, seconds: float) -> dict[str, Any]:
    """Return a row: seconds, and GiB at the peak and of the weights."""
    network = _network(word).to(device)
    photo = torch.rand(1, 3, SIZE, SIZE, device=device) * 2 - 1
    direction = direction_of(config_of(SIZE))
    if word in FITTED:
        clock = Clocked(lpips_vector(Lpips("alex").to(device)))
        method, schedule = _fitted(word, network, clock)
        found = times_of_fitted(method, photo, direction, clock, schedule)
    else:
        method = _method(word, network)
        found = times_of(method, photo, direction, seconds)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())
    memory = {"peak": peak_memory(device), "weights": weights / 2**30}
    return {"name": word, "title": method.name, **found, **memory, "paper": paper_seconds(word)}


def _network(word: str) -> Any:
    """The networks that a method uses, of published size."""
    if word in KINDS:
        kind = KINDS[word]
        return quicken(random_network(lambda: kind.network(kind.config())))
    unused = {"sfe": (), "e4e": ("inverter", "feature_editor")}
    lacking = unused.get(word, ("inverter", "feature_editor", "e4e"))
    return quicken(random_network(lambda: _without(lacking)))


def _without(unused: tuple[str, ...]) -> Model:
    model = Model(config_of(SIZE))
    for name in unused:
        setattr(model, name, nn.Identity())
    return model


def _method(word: str, network: Any) -> Method:
    if word in KINDS:
        network.name = KINDS[word].title
        return network
    return Sfe(network) if word == "sfe" else E4eMethod(network)


def _fitted(word: str, model: Model, clock: Clocked) -> tuple[Method, tuple[int, ...]]:
    """A method that runs `STEPS` steps a stage, and the steps of its own schedule."""
    if word == "w+":
        own = WOptimisationConfig()
        return WOptimisation(model, clock, WOptimisationConfig(steps=STEPS)), (own.steps,)
    whole = PivotalTuningConfig()
    short = PivotalTuningConfig(projection_steps=STEPS, tuning_steps=STEPS, enough=0)
    method = PivotalTuning(model, clock, clock, short)
    return method, (whole.projection_steps, whole.tuning_steps)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
