"""`sfe models`: what is on this machine, fetching published files, converting them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.app.cli.options import add_command, add_json
from stylefeatureeditor.app.cli.output import Progress, print_json, print_table, readable_size
from stylefeatureeditor.errors import WeightsError

if TYPE_CHECKING:
    import argparse

    from stylefeatureeditor.app.cli.options import Commands
    from stylefeatureeditor.weights.sources import Source

GROUP_MODELS = {  # a group that makes a model: what it is made of
    "ffhq": {"sfe": "sfe-editor", "generator": "stylegan2-ffhq", "e4e": "e4e-ffhq"}
}


def add_to(commands: Commands) -> None:
    """Add `sfe models` and its commands."""
    group = commands.add_parser(
        "models", help="list, fetch and convert models", allow_abbrev=False
    ).add_subparsers(metavar="COMMAND", required=True, dest="models_command")

    listing = add_command(
        group,
        "list",
        list_models,
        text="show the models on this machine and the files that are published",
        example="sfe models list",
    )
    add_json(listing)

    pull = add_command(
        group,
        "pull",
        pull_files,
        text="download published files, after showing source, size, licence and SHA-256\n"
        "`ffhq` is also converted, once, to a model of that name.",
        example="sfe models pull ffhq\nsfe models pull mappers --yes",
    )
    pull.add_argument("name", metavar="NAME", help="a group or file that `sfe models list` shows")
    pull.add_argument("--yes", action="store_true", help="do not ask before downloading")

    convert = add_command(
        group,
        "convert",
        convert_files,
        text="make a model folder from published checkpoints; no code in them is run\n"
        "without --sfe, each file given becomes a part that training can start from",
        example="sfe models convert --sfe sfe_editor_light.pt \\\n"
        "    --generator stylegan2-ffhq-config-f.pt --e4e e4e_ffhq_encode.pt -o my_model",
    )
    _add_convert_options(convert)

    info = add_command(
        group,
        "info",
        show_info,
        text="show a model's sizes, parameters, origin and SHA-256",
        example="sfe models info my_model",
    )
    info.add_argument(
        "model", metavar="NAME|DIR", help="a name that `sfe models list` shows, or a model folder"
    )
    add_json(info)


def _add_convert_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sfe", metavar="FILE", type=Path, help="StyleFeatureEditor, phase 2")
    parser.add_argument(
        "--generator",
        metavar="FILE",
        type=Path,
        help="StyleGAN2, .pt or NVIDIA's .pkl; left out, the copy in a full --sfe file is taken",
    )
    parser.add_argument("--e4e", metavar="FILE", type=Path, help="e4e encoder; left out, likewise")
    parser.add_argument(
        "--ir-se50", metavar="FILE", type=Path, help="ArcFace IR-SE50, as a part only"
    )
    parser.add_argument(
        "--iresnet50", metavar="FILE", type=Path, help="ArcFace iresnet50, as a part only"
    )
    parser.add_argument(
        "--directions",
        metavar="FOLDER",
        type=Path,
        help="released direction files, copied into the model folder",
    )
    parser.add_argument("--name", help="what the model is called; the folder's name if left out")
    parser.add_argument(
        "--catalog",
        choices=("ffhq", "cars", "none"),
        default="ffhq",
        help="published directions that fit the generator (%(default)s)",
    )
    parser.add_argument(
        "--half", action="store_true", help="store float16: half the size, results move by 1e-3"
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="the folder to make"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the model that DIR holds already"
    )


def convert_files(args: argparse.Namespace) -> int:
    """Run `sfe models convert`."""
    from stylefeatureeditor.app.cli.converting import convert_parts, convert_to_folder
    from stylefeatureeditor.weights.checkpoint import CONFIG_FILE
    from stylefeatureeditor.weights.convert import ReleasedFiles

    if args.sfe is None:
        names = ("generator", "e4e", "ir_se50", "iresnet50")
        given = {name: path for name in names if (path := getattr(args, name)) is not None}
        for path in convert_parts(given, args.output, half=args.half, overwrite=args.overwrite):
            print(path)
        return 0
    if args.ir_se50 or args.iresnet50:
        raise WeightsError("--ir-se50 and --iresnet50 are parts for training: leave out --sfe")
    if (args.output / CONFIG_FILE).exists() and not args.overwrite:
        raise WeightsError(
            f"{args.output} holds a model already; name another folder, or pass --overwrite"
        )
    if args.directions and not args.directions.is_dir():
        raise WeightsError(f"--directions must be a folder, there is none at {args.directions}")
    convert_to_folder(
        ReleasedFiles(args.sfe, args.generator, args.e4e),
        args.output,
        name=args.name or args.output.resolve().name,
        catalog=None if args.catalog == "none" else args.catalog,
        directions=sorted(args.directions.iterdir()) if args.directions else (),
        half=args.half,
    )
    print(args.output)
    return 0


def list_models(args: argparse.Namespace) -> int:
    """Run `sfe models list`."""
    from stylefeatureeditor.weights.local_models import local_models
    from stylefeatureeditor.weights.sources import GROUPS, SOURCES

    here = local_models()
    if args.json:
        print_json(
            {
                "local": {name: str(folder) for name, folder in here.items()},
                "groups": {name: list(files) for name, files in GROUPS.items()},
                "published": [_source_row(source) for source in SOURCES.values()],
            }
        )
        return 0
    print("On this machine")
    print_table([(name, str(folder)) for name, folder in here.items()] or [("none",)], "  ")
    for group, files in GROUPS.items():
        sources = [SOURCES[name] for name in files]
        print(f"\nsfe models pull {group}")
        _print_sources(sources)
    grouped = {name for files in GROUPS.values() for name in files}
    print("\nSingle files, by name")
    _print_sources([source for name, source in SOURCES.items() if name not in grouped])
    return 0


def _print_sources(sources: list[Source]) -> None:
    print_table(
        [
            (
                source.name,
                readable_size(source.size),
                source.what,
                source.licence or "licence not stated",
            )
            for source in sources
        ],
        "  ",
    )


def _source_row(source: Source) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(source).items()}


def pull_files(args: argparse.Namespace) -> int:
    """Run `sfe models pull`: nothing is fetched before the user has seen what and whence."""
    from stylefeatureeditor.weights.download import fetch
    from stylefeatureeditor.weights.local_models import files_folder, local_models, pulled_folder
    from stylefeatureeditor.weights.sources import find_sources

    sources = find_sources(args.name)
    if args.name in GROUP_MODELS and args.name in local_models():
        print(f"{args.name} is here already: {local_models()[args.name]}")
        return 0
    downloads = files_folder()
    missing = [source for source in sources if not (downloads / source.file_name).exists()]
    for source in missing:
        print(f"{source.name}: {source.what}")
        print(f"  from     {source.urls[0]}")
        print(f"  size     {readable_size(source.size)}")
        print(f"  licence  {source.licence or 'not stated'}")
        print(f"  SHA-256  {source.sha256 or 'not stated, so it cannot be checked'}")
    if missing:
        print(f"to {downloads}", flush=True)
        if not args.yes and sys.stdin.isatty() and not _agrees():
            print("nothing was downloaded")
            return 0
    for source in sources:
        with Progress(source.name, source.size, in_bytes=True) as bar:
            path = fetch(source, downloads, bar.update)
            if source in missing:
                bar.say(str(path))
    _install(args.name, sources, downloads, pulled_folder())
    return 0


def _agrees() -> bool:
    try:
        return input("Download? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _install(name: str, sources: tuple[Source, ...], downloads: Path, models: Path) -> None:
    """Convert a group that makes a model, and give direction files to the models there are."""
    from stylefeatureeditor.app.cli.converting import convert_to_folder, copy_directions
    from stylefeatureeditor.weights.convert import ReleasedFiles
    from stylefeatureeditor.weights.sources import SOURCES

    directions = [
        downloads / source.file_name for source in SOURCES.values() if source.feeds == "directions"
    ]
    if parts := GROUP_MODELS.get(name):
        files = {role: downloads / SOURCES[part].file_name for role, part in parts.items()}
        convert_to_folder(
            ReleasedFiles(**files), models / name, name=name, catalog=name, directions=directions
        )
        print(f"{name} is ready: {models / name}")
    elif any(source.feeds == "directions" for source in sources):
        for model in GROUP_MODELS:
            if (models / model).is_dir():
                copy_directions(directions, models / model)


def show_info(args: argparse.Namespace) -> int:
    """Run `sfe models info`."""
    import torch

    from stylefeatureeditor.app.cli.converting import CONVERTED_FROM
    from stylefeatureeditor.model import Model
    from stylefeatureeditor.weights.checkpoint import load_config
    from stylefeatureeditor.weights.config_json import to_plain
    from stylefeatureeditor.weights.direction_files import load_own_directions
    from stylefeatureeditor.weights.local_models import find_model
    from stylefeatureeditor.weights.storage import load_tensors, sha256_file

    folder = find_model(args.model)
    config = load_config(folder)
    with torch.device("meta"):
        model = Model(config)
    files: dict[str, dict[str, Any]] = {}
    header: dict[str, str] = {}
    networks = dict(model.named_children())
    with Progress(f"reading {folder}", len(networks)) as bar:
        for number, (name, network) in enumerate(networks.items()):
            bar.update(number)
            path = folder / f"{name}.safetensors"
            tensors, header = load_tensors(path)
            dtypes = {str(t.dtype)[6:] for t in tensors.values() if t.is_floating_point()}
            files[name] = {
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "stored_as": "+".join(sorted(dtypes)),
                "bytes": path.stat().st_size,
                "sha256": sha256_file(path),
            }
    content = {
        "name": config.name,
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
        ("crop", f"{content['size']} x {content['size']} pixels"),
        ("seen by the encoders", f"{config['encoder_size']} x {config['encoder_size']} pixels"),
        ("feature layer", f"{config['feature_layer']}, Delta at layer {config['delta_layer']}"),
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
