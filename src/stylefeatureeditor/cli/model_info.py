"""`sfe models info`: what a model folder holds, and what it was made of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.cli.options import add_command, add_json
from stylefeatureeditor.cli.output import Progress, print_json, print_table
from stylefeatureeditor.files import member, readable_size

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torch import nn

    from stylefeatureeditor.cli.options import Commands


def add_to(commands: Commands) -> None:
    """Add `sfe models info`."""
    info = add_command(
        commands,
        "info",
        show_info,
        text="show a model's sizes, parameters, origin and SHA-256",
        example="sfe models info my_model",
    )
    info.add_argument(
        "model", metavar="NAME|DIR", help="a name that `sfe models list` shows, or a model folder"
    )
    add_json(info)


def show_info(args: argparse.Namespace) -> int:
    """Run `sfe models info`."""
    from stylefeatureeditor.methods.converting import CONVERTED_FROM
    from stylefeatureeditor.methods.folder import MethodConfig, load_any_config
    from stylefeatureeditor.weights.configs import to_plain
    from stylefeatureeditor.weights.direction_files import load_own_directions
    from stylefeatureeditor.weights.local_models import find_model

    folder = find_model(args.model)
    config = load_any_config(folder)
    files, header = _files(folder)
    content = {
        "name": config.name,
        "method": config.method if isinstance(config, MethodConfig) else "sfe",
        "folder": str(folder),
        "size": config.generator.size,
        "own_directions": [entry.name for entry in load_own_directions(folder).entries],
        "networks": files,
        CONVERTED_FROM: _provenance(header.get(CONVERTED_FROM)),
        "header": {key: value for key, value in header.items() if key != CONVERTED_FROM},
        "config": to_plain(config),
    }
    if args.json:
        print_json(content)
    else:
        _print_info(content)
    return 0


def _networks(folder: Path) -> dict[str, nn.Module]:
    """The networks of a folder without their weights, by the stem of their file."""
    import torch

    from stylefeatureeditor.methods.folder import NETWORK_FILE, method_of, network_of
    from stylefeatureeditor.model import Model
    from stylefeatureeditor.weights.checkpoint import load_config

    with torch.device("meta"):
        if method_of(folder) is not None:
            return {NETWORK_FILE.partition(".")[0]: network_of(folder)}
        return dict(Model(load_config(folder)).named_children())


def _files(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """A row for each file of weights, and the header of the last."""
    from stylefeatureeditor.weights.storage import load_tensors, sha256_file

    files: dict[str, dict[str, Any]] = {}
    header: dict[str, str] = {}
    networks = _networks(folder)
    with Progress(f"reading {folder}", len(networks)) as bar:
        for number, (name, network) in enumerate(networks.items()):
            bar.update(number)
            path = member(folder, f"{name}.safetensors")
            tensors, header = load_tensors(path)
            dtypes = {str(t.dtype)[6:] for t in tensors.values() if t.is_floating_point()}
            files[name] = {
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "stored_as": "+".join(sorted(dtypes)),
                "bytes": path.stat().st_size,
                "sha256": sha256_file(path),
            }
    return files, header


def _provenance(text: str | None) -> list[dict[str, Any]]:
    """The origin that a header states; empty if it states none that can be read."""
    try:
        rows = json.loads(text or "[]")
    except ValueError:
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _print_info(content: dict[str, Any]) -> None:
    config = content["config"]
    print(f"{content['name']}  {content['folder']}")
    rows = [
        ("method", content["method"]),
        ("crop", f"{content['size']} x {content['size']} pixels"),
    ]
    if "feature_layer" in config:
        side, layer = config["encoder_size"], config["feature_layer"]
        rows += [
            ("seen by the encoders", f"{side} x {side} pixels"),
            ("feature layer", f"{layer}, Delta at layer {config['delta_layer']}"),
        ]
    rows += [
        ("published directions", config["catalog"] or "none"),
        ("own directions", ", ".join(content["own_directions"]) or "none"),
        ("paste-back", config["blend"]),
    ]
    rows += [(key.replace("_", " "), value) for key, value in content["header"].items()]
    print_table(rows, "  ")
    print("networks")
    print_table(
        [
            (
                name,
                f"{item['parameters']:,} parameters",
                item["stored_as"],
                readable_size(item["bytes"]),
                item["sha256"],
            )
            for name, item in content["networks"].items()
        ],
        "  ",
    )
    if content["converted_from"]:
        print("converted from")
        keys = ("role", "file", "sha256")
        origin = [[str(row.get(key, "")) for key in keys] for row in content["converted_from"]]
        print_table(origin, "  ")
