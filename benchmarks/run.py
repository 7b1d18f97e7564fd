"""Time everything a user waits for, and write docs/PERFORMANCE.md.

    python -m benchmarks.run                      # every size, about fifteen minutes on two cores
    python -m benchmarks.run --sizes 1024 --no-report

Close other programs first: what counts are ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import stylefeatureeditor  # sets how torch takes memory, so it comes before torch  # isort: skip
import torch

from benchmarks.measure import Work, best_convolution_rate, flop, timed
from benchmarks.models import SIZES, random_model
from benchmarks.report import write_report
from stylefeatureeditor.device import best_device
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.pipeline import Pipeline
from stylefeatureeditor.records import Codes

RESULTS = Path(__file__).parent / "results"
STRENGTHS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)


def network_work(pipeline: Pipeline, photo: torch.Tensor) -> dict[str, Work]:
    """Return every network alone."""
    model, layer = pipeline.model, pipeline.model.config.feature_layer
    inversion = pipeline.invert(photo)
    seen, features = inversion.encoder_pixels, inversion.features
    codes, start = inversion.codes, model.generator.run_to(inversion.codes, layer)
    three = Codes.cat([codes] * 3)
    fuser = model.inverter.fuser
    return {
        "e4e E": lambda: model.e4e(seen),
        "Feature-Style encoder": lambda: model.inverter.encoder(seen),
        "Fuser": lambda: fuser(features, start.features),
        "Feature Editor H": lambda: model.feature_editor(features, features),
        "G up to layer k, 1 code": lambda: model.generator.run_to(codes, layer),
        "G up to layer k, 3 codes": lambda: model.generator.run_to(three, layer),
        "G from layer k": lambda: model.generator.synthesize_from(
            features, codes, layer, start.rgb
        ),
        "G whole": lambda: model.generator.synthesize(codes),
    }


def method_work(pipeline: Pipeline, photo: torch.Tensor) -> dict[str, Work]:
    """Return what a user asks for."""
    width = pipeline.model.config.generator.style_dim
    direction = EditDirection.linear(torch.randn(width) / width**0.5)
    known = pipeline.invert(photo)
    pipeline.edit(known, {direction: 1.0})
    eight = photo.repeat(8, 1, 1, 1)
    return {
        "invert": lambda: pipeline.reconstruct(pipeline.invert(photo)),
        "fresh edit": lambda: pipeline.edit(pipeline.invert(photo), {direction: 1.0}),
        "re-edit": lambda: pipeline.edit(known, {direction: 2.0}),
        "strip of 7 strengths": lambda: pipeline.edit(known, {direction: torch.tensor(STRENGTHS)}),
        "fresh edit of 8 photos": lambda: pipeline.edit(pipeline.invert(eight), {direction: 1.0}),
    }


def measured(name: str, work: Work, rate: float) -> dict[str, object]:
    """Return one row of the report, and print it."""
    operations = flop(work)
    timing = timed(work)
    row = {"name": name, "gflop": operations / 1e9, "floor": operations / rate, **asdict(timing)}
    row["ratio"] = timing.median / (operations / rate)
    print(
        f"{name:28s} {operations / 1e9:9.1f} GFLOP  {timing.median * 1e3:9.1f} ms  "
        f"{row['ratio']:.2f} x floor",
        flush=True,
    )
    return row


def peak_of_fresh_edit(size: int) -> dict[str, float]:
    """Return GiB at the peak of a fresh edit in a process of its own, and of its weights."""
    code = (
        "import stylefeatureeditor, resource, torch\n"
        "from benchmarks.models import random_model\n"
        "from benchmarks.run import method_work, Pipeline\n"
        "from stylefeatureeditor.editing.direction import EditDirection\n"
        f"model = random_model({size})\n"
        "pipeline = Pipeline(model)\n"
        "direction = EditDirection.linear(torch.randn(model.config.generator.style_dim))\n"
        "weights = sum(p.numel() * p.element_size() for p in model.parameters())\n"
        f"photo = torch.zeros(1, 3, {size}, {size})\n"
        "pipeline.edit(pipeline.invert(photo), {direction: 1.0})\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, weights)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, weights = (float(word) / 2**30 for word in done.stdout.split())
    return {"peak": peak, "weights": weights}


def processes() -> list[dict[str, object]]:
    """Return the time of whole processes: importing, and the command line's help."""
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "import stylefeatureeditor": [sys.executable, "-c", "import stylefeatureeditor"],
        "import torch and Editor": [
            sys.executable,
            "-c",
            "import torch, stylefeatureeditor as sfe; sfe.Editor",
        ],
        "sfe --help": [sys.executable, "-m", "stylefeatureeditor", "--help"],
    }
    rows = []
    for name, command in commands.items():
        timing = timed(
            lambda command=command: subprocess.run(command, capture_output=True, check=True),
            most=7,
        )
        rows.append({"name": name, **asdict(timing)})
        print(f"{name:28s} {timing.median:.2f} s", flush=True)
    return rows


def machine() -> dict[str, object]:
    """Return what the figures depend on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "version": stylefeatureeditor.__version__,
        "commit": commit,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Run the benchmarks that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--skip", nargs="+", default=[], help="rows to leave out, by name")
    parser.add_argument("--no-report", action="store_true", help="leave docs/PERFORMANCE.md alone")
    options = parser.parse_args()
    device = best_device()
    report: dict[str, object] = {"machine": machine(), "device": device, "sizes": {}}
    with torch.no_grad():
        for size in options.sizes:
            rate = best_convolution_rate(device)
            print(f"\n{size} px; best convolution rate {rate / 1e9:.0f} GFLOP/s", flush=True)
            pipeline = Pipeline(random_model(size).to(device))
            photo = torch.rand(1, 3, size, size, device=device) * 2 - 1
            works = network_work(pipeline, photo) | method_work(pipeline, photo)
            rows = [
                measured(name, work, rate)
                for name, work in works.items()
                if name not in options.skip
            ]
            del works, pipeline
            report["sizes"][size] = {"rate": rate, "rows": rows, "memory": peak_of_fresh_edit(size)}
    report["processes"] = processes()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{device}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    if not options.no_report:
        write_report(RESULTS, Path(__file__).parents[1] / "docs" / "PERFORMANCE.md")


if __name__ == "__main__":
    main()
