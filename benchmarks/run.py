"""Time everything a user waits for, and write docs/PERFORMANCE.md.

    python -m benchmarks.run                      # every size, about fifty minutes on two cores
    python -m benchmarks.run --sizes 1024 --skip training processes
    python -m benchmarks.run --sizes 1024 --only methods
    python -m benchmarks.run --sizes 64 --seconds 1 --no-report
    python -m benchmarks.run --sizes --skip processes  # the web page alone

Close other programs first: what counts are ratios within one run. Each row is kept as soon as it
is measured, in `benchmarks/results`; a later run replaces the rows that it measures again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import stylefeatureeditor
from benchmarks.engines import engine_rows
from benchmarks.inference import measured, method_items, network_items, peak_of_fresh_edit
from benchmarks.measure import ROOT, best_convolution_rate
from benchmarks.methods import SIZE as SIZE_OF_METHODS
from benchmarks.methods import WORDS, method_row
from benchmarks.models import SIZES, config_of, random_model
from benchmarks.processes import edit_process, process_row, short_processes
from benchmarks.report import write_report
from benchmarks.training import PHASES, training_row
from benchmarks.web_page import missing, web_rows
from stylefeatureeditor.device import best_device
from stylefeatureeditor.files import atomic_path
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.runtimes.quick import quicken

RESULTS = Path(__file__).parent / "results"
PARTS = ("networks", "method", "memory", "engines", "methods", "training", "processes", "web")
SAME = ("cpu", "threads", "torch")  # figures of other machines or builds are not mixed


class Results:
    """The figures of one device: those of earlier runs on this machine, and this run's.

    Args:
        path: the JSON file.
        machine: what the figures depend on.
        device: "cpu", "cuda" or "mps".
    """

    def __init__(self, path: Path, machine: dict[str, Any], device: str) -> None:
        self.path = path
        self.machine = machine
        self.content: dict[str, Any] = {"device": device, "sizes": {}, "processes": [], "web": []}
        if path.exists():
            known = json.loads(path.read_text())
            if all(known.get("machine", {}).get(key) == machine[key] for key in SAME):
                self.content |= known
        self.content["machine"] = machine

    def size(self, size: int) -> dict[str, Any]:
        """Return what is known of a size, to be filled."""
        lists = ("rows", "engines", "methods", "training")
        empty: dict[str, Any] = {"memory": {}, **{part: [] for part in lists}}
        found: dict[str, Any] = self.content["sizes"].setdefault(str(size), {})
        for part, nothing in empty.items():
            found.setdefault(part, nothing)
        return found

    def put(self, rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
        """Put a row in the place of the one of its name, or last; write the file; print it."""
        row = {**row, "commit": self.machine["commit"]}
        places = [place for place, known in enumerate(rows) if known["name"] == row["name"]]
        if places:
            rows[places[0]] = row
        else:
            rows.append(row)
        self.write()
        figures = {k: v for k, v in row.items() if isinstance(v, float)}
        print(f"  {row['name']:28s}", *(f"{k} {v:.3g}" for k, v in figures.items()), flush=True)

    def write(self) -> None:
        """Write the file, whole or not at all."""
        self.content["sizes"] = dict(sorted(self.content["sizes"].items(), key=_number))
        self.path.parent.mkdir(exist_ok=True)
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(self.content, indent=1) + "\n")


def run_inference(results: Results, size: int, options: argparse.Namespace) -> None:
    """Time the networks and the method at one size."""
    device = results.content["device"]
    part = results.size(size)
    rate = best_convolution_rate(device)
    print(f"\n{size} px; best convolution rate {rate / 1e9:.0f} GFLOP/s", flush=True)
    sfe = Sfe(quicken(random_model(config_of(size))).to(device))
    photo = torch.rand(1, 3, size, size, device=device) * 2 - 1
    with torch.no_grad():
        items = [] if "networks" in options.skip else network_items(sfe, photo)
        items += [] if "method" in options.skip else method_items(sfe, photo)
        for item in items:
            if item.name not in options.skip:
                row = measured(item, rate, options.seconds)
                results.put(part["rows"], {**row, "rate": rate})


def run_engines(results: Results, size: int, seconds: float) -> None:
    """Time a re-edit on other engines and in other precisions."""
    print(f"\n{size} px, engines", flush=True)
    for row in engine_rows(size, results.content["device"], seconds):
        results.put(results.size(size)["engines"], row)


def run_methods(results: Results, options: argparse.Namespace) -> None:
    """Time the methods of the paper's Table 1; one that fails leaves its reason."""
    print(f"\n{SIZE_OF_METHODS} px, methods", flush=True)
    for word in WORDS:
        if word in options.skip:
            continue
        try:
            row = method_row(word, results.content["device"], options.seconds)
        except RuntimeError as error:
            row = {"name": word, "failed": str(error)}
            print(f"  {error}", flush=True)
        results.put(results.size(SIZE_OF_METHODS)["methods"], row)


def run_training(results: Results, size: int, skip: list[str]) -> None:
    """Time the training steps of one size; a phase that fails leaves its reason."""
    print(f"\n{size} px, training", flush=True)
    for phase in PHASES:
        if phase in skip:
            continue
        try:
            row = training_row(phase, size, results.content["device"])
        except RuntimeError as error:
            row = {"name": phase, "failed": str(error)}
            print(f"  {error}", flush=True)
        results.put(results.size(size)["training"], row)


def run_processes(results: Results, sizes: list[int]) -> None:
    """Time whole processes."""
    print("\nprocesses", flush=True)
    rows = results.content["processes"]
    for name, command in short_processes().items():
        results.put(rows, process_row(name, command))
    for size in sizes:
        with edit_process(size, results.content["device"]) as command:
            results.put(rows, process_row(f"sfe edit, {size} px", command))


def run_web(results: Results) -> None:
    """Time the web page, if there is a browser."""
    print("\nweb page", flush=True)
    lacking = missing()
    if lacking:
        print(f"  left out: {lacking}", flush=True)
        return
    for row in web_rows(results.content["device"]):
        results.put(results.content["web"], row)


def this_machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "version": stylefeatureeditor.__version__,
        "load": os.getloadavg()[0],  # of the minute before
        "commit": commit,
    }


def main() -> None:
    """Run the benchmarks that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument(
        "--skip", nargs="+", default=[], help=f"parts ({', '.join(PARTS)}) or rows, by name"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each row, about")
    parser.add_argument("--no-report", action="store_true", help="leave docs/PERFORMANCE.md alone")
    options = parser.parse_args()
    options.skip += [part for part in PARTS if part not in options.only]
    device = best_device()
    results = Results(RESULTS / f"{device}.json", this_machine(), device)
    for size in options.sizes:
        if not {"networks", "method"} <= set(options.skip):
            run_inference(results, size, options)
        if "memory" not in options.skip:
            found = peak_of_fresh_edit(size, device)
            results.size(size)["memory"] = found
            print(f"  fresh edit, peak {found['peak']:.2f} GiB, weights {found['weights']:.2f}")
        if "engines" not in options.skip:
            run_engines(results, size, options.seconds)
        if "methods" not in options.skip and size == SIZE_OF_METHODS:
            run_methods(results, options)
        if "training" not in options.skip:
            run_training(results, size, options.skip)
        results.write()
    if "processes" not in options.skip:
        run_processes(results, options.sizes)
    if "web" not in options.skip:
        run_web(results)
    if not options.no_report:
        write_report(RESULTS, ROOT / "docs" / "PERFORMANCE.md")


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo")
    names = lines.read_text().splitlines() if lines.exists() else []
    found = [line.split(":", 1)[1].strip() for line in names if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


def _number(item: tuple[str, Any]) -> int:
    return int(item[0])


if __name__ == "__main__":
    main()
