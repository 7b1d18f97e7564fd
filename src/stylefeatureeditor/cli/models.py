"""`sfe models`: what is on this machine, fetching published files, converting them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.cli.options import (
    MODEL,
    Args,
    Commands,
    add_command,
    add_common,
    add_group,
    flag,
    whole,
)
from stylefeatureeditor.cli.output import Progress, print_json, print_table
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import CONFIG_FILE, member, readable_size, sha256_file
from stylefeatureeditor.weights import sources
from stylefeatureeditor.weights.sources import GROUP_MODELS, find_sources

if TYPE_CHECKING:
    from torch import nn

    from stylefeatureeditor.weights.sources import Source


def add_to(commands: Commands) -> None:
    """Add `sfe models` and its commands."""
    group = add_group(commands, "models", "list, fetch and convert models")
    listing = add_command(
        group,
        "list",
        list_models,
        text="show the models on this machine and the files that are published",
        example="sfe models list",
    )
    add_common(listing, "--json")

    pull = add_command(
        group,
        "pull",
        pull_files,
        text="download published files, after showing source, size, licence and SHA-256\n"
        "`ffhq` and the methods that the paper compares with are also converted, once, to a model\n"
        "of that name.",
        example="sfe models pull ffhq\nsfe models pull psp\nsfe models pull mappers --yes",
    )
    pull.add_argument("name", metavar="NAME", help="a group or file that `sfe models list` shows")
    flag(pull, "--yes", "do not ask before downloading")

    convert = add_command(
        group,
        "convert",
        convert_files,
        text="make a model folder from published checkpoints; no code in them is run\n"
        "--generator alone gives a generator that training can start from",
        example="sfe models convert --sfe sfe_editor_light.pt \\\n"
        "    --generator stylegan2-ffhq-config-f.pt --e4e e4e_ffhq_encode.pt -o my_model\n"
        "sfe models convert --method feature-style 143_enc.pth psp_ffhq_encode.pt -o my_fse",
    )
    convert.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        type=Path,
        help="with --method: the files that it is published as",
    )
    convert.add_argument(
        "--method",
        metavar="NAME",
        help="a method that the paper compares with, as `sfe models list` calls it, such as psp",
    )
    convert.add_argument("--sfe", metavar="FILE", type=Path, help="StyleFeatureEditor, phase 2")
    convert.add_argument(
        "--generator",
        metavar="FILE",
        type=Path,
        help="StyleGAN2, .pt or NVIDIA's .pkl; left out, the copy in a full --sfe file is taken",
    )
    convert.add_argument("--e4e", metavar="FILE", type=Path, help="e4e encoder; left out, likewise")
    convert.add_argument(
        "--directions",
        metavar="FOLDER",
        type=Path,
        help="released direction files, such as the release's editings/: those in it and in its "
        "folders are copied into the model folder",
    )
    convert.add_argument("--name", help="what the model is called; the folder's name if left out")
    convert.add_argument(
        "--catalog",
        choices=("auto", "ffhq", "cars", "none"),
        default="auto",
        help="published directions that fit the generator; auto takes ffhq for one of 1024 px and "
        "18 styles, and none for any other (%(default)s)",
    )
    convert.add_argument(
        "--class",
        dest="label",
        type=whole,
        metavar="N",
        help="the class to draw, of a conditional generator, from 0",
    )
    flag(convert, "--draw-noise", "draw noise buffers that the generator's file lacks, seeded")
    flag(convert, "--half", "store float16: half the size, results move by 1e-3")
    add_common(
        convert, "--output", metavar="DIR", type=Path, required=True, help="the folder to make"
    )
    flag(convert, "--overwrite", "replace the model that DIR holds already")

    info = add_command(
        group,
        "info",
        show_info,
        text="show a model's sizes, parameters, origin and SHA-256",
        example="sfe models info my_model",
    )
    info.add_argument("model", metavar="NAME|DIR", help=MODEL)
    add_common(info, "--json")


def convert_files(args: Args) -> int:
    """Run `sfe models convert`."""
    from stylefeatureeditor.methods.converting import (
        convert_generator_alone,
        convert_method,
        convert_to_folder,
        find_directions,
    )
    from stylefeatureeditor.weights.convert import ReleasedFiles

    _check_convert(args)
    alone = args.sfe is None and args.method is None
    if not alone and (args.output / CONFIG_FILE).exists() and not args.overwrite:
        raise WeightsError(
            f"{args.output} holds a model already; name another folder, or pass --overwrite"
        )
    about = {
        "name": args.name or args.output.resolve().name,
        "catalog": None if args.catalog == "none" else args.catalog,
        "directions": find_directions(args.directions) if args.directions else (),
        "half": args.half,
    }
    drawn = {"draw_noise": args.draw_noise, "label": args.label}
    made = args.output
    with Progress(f"converting to {args.output}"):
        if alone:
            how = {"half": args.half, "overwrite": args.overwrite, **drawn}
            made = convert_generator_alone(args.generator, args.output, **how)
        elif args.method is not None:
            convert_method(args.method, args.files, args.output, **about)
        else:
            files = ReleasedFiles(args.sfe, args.generator, args.e4e)
            convert_to_folder(files, args.output, **drawn, **about)
    print(made)
    return 0


def _check_convert(args: Args) -> None:
    """Raise WeightsError for options that do not go together."""
    if args.method is None and args.files:
        raise WeightsError(f"say what {args.files[0]} is: --method NAME, or --sfe FILE and others")
    if args.method is not None:
        if args.sfe or args.generator or args.e4e or args.draw_noise or args.label is not None:
            raise WeightsError("--method takes its files without options: --method NAME FILE ...")
    elif args.sfe is None and args.e4e:
        raise WeightsError(
            "--e4e makes a model with --sfe alone; training reads the file as it is: "
            f"`sfe train e4e --tune-from {args.e4e}`"
        )
    elif args.sfe is None and args.generator is None:
        raise WeightsError(
            "nothing to convert: pass --sfe with --generator and --e4e for a model, or --generator "
            "alone for one that training can start from"
        )
    elif args.sfe is None and args.directions:
        raise WeightsError("--directions belong to a model: pass --sfe or --method with them")


def list_models(args: Args) -> int:
    """Run `sfe models list`."""
    from stylefeatureeditor.methods.folder import local_methods
    from stylefeatureeditor.methods.load import KINDS
    from stylefeatureeditor.weights.local_models import local_models

    here, methods = local_models(), local_methods()
    known, groups = sources.SOURCES, sources.GROUPS
    if args.json:
        print_json(
            {
                "local": {name: str(folder) for name, folder in here.items()},
                "methods": methods,
                "groups": {name: list(files) for name, files in groups.items()},
                "published": [vars(source) for source in known.values()],
            }
        )
        return 0
    print("On this machine")
    rows = [
        (n, str(folder), KINDS[methods[n]].title if n in methods else "")
        for n, folder in here.items()
    ]
    print_table(rows or [("none",)], "  ")
    for group, files in groups.items():
        if group not in KINDS:
            print(f"\nsfe models pull {group}")
            _print_sources([known[name] for name in files])
    print("\nMethods that the paper compares with: sfe models pull NAME")
    for word, kind in KINDS.items():
        print(f"  {word}  {kind.title}{'' if kind.sources else ': no weights are published'}")
        _print_sources([known[name] for name in kind.sources], "    ")
    grouped = {name for files in groups.values() for name in files}
    print("\nSingle files, by name")
    _print_sources([source for name, source in known.items() if name not in grouped])
    return 0


def _print_sources(files: list[Source], indent: str = "  ") -> None:
    print_table(
        [(each.name, readable_size(each.size), each.what, each.terms) for each in files], indent
    )


def pull_files(args: Args) -> int:
    """Run `sfe models pull`: nothing is fetched before the user has seen what and whence."""
    from stylefeatureeditor.methods.load import KINDS
    from stylefeatureeditor.weights.download import fetch
    from stylefeatureeditor.weights.local_models import files_folder, local_models

    wanted = find_sources(args.name)
    if args.name in (*GROUP_MODELS, *KINDS) and args.name in local_models():
        print(f"{args.name} is here already: {local_models()[args.name]}")
        return 0
    downloads = files_folder()
    missing = [source for source in wanted if not (downloads / source.file_name).exists()]
    for source in missing:
        print(f"{source.name}: {source.what}")
        print(f"  from     {source.urls[0]}")
        print(f"  size     {readable_size(source.size)}")
        print(f"  licence  {source.terms}")
        print(f"  SHA-256  {source.sha256 or 'not stated, so it cannot be checked'}")
    if missing:
        print(f"to {downloads}", flush=True)
        if not args.yes and sys.stdin.isatty() and not _agrees():
            print("nothing was downloaded")
            return 0
    for source in wanted:
        with Progress(source.name, source.size, in_bytes=True) as bar:
            path = fetch(source, downloads, bar.update)
            if source in missing:
                bar.say(str(path))
    _install(args.name, wanted)
    return 0


def _agrees() -> bool:
    try:
        return input("Download? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _install(name: str, pulled: tuple[Source, ...]) -> None:
    """Convert files that make a model, and give direction files to the models there are."""
    from stylefeatureeditor.methods.converting import (
        convert_method,
        convert_pulled,
        copy_directions,
        pulled_directions,
    )
    from stylefeatureeditor.methods.load import KINDS
    from stylefeatureeditor.weights.local_models import files_folder, pulled_folder

    directions = pulled_directions()
    if name in GROUP_MODELS:
        folder = convert_pulled(name, GROUP_MODELS[name])
        print(f"{name} is ready: {folder}")
    elif name in KINDS:
        folder = pulled_folder() / name
        paths = [files_folder() / source.file_name for source in pulled]
        convert_method(name, paths, folder, name=name, catalog="ffhq", directions=directions)
        print(f"{name} is ready: {folder}")
    elif any(source.feeds == "directions" for source in pulled):
        for folder in (pulled_folder() / model for model in (*GROUP_MODELS, *KINDS)):
            if folder.is_dir():
                copy_directions(directions, folder)


def show_info(args: Args) -> int:
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
    from stylefeatureeditor.weights.storage import load_tensors

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
        rows = None
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
        *((key.replace("_", " "), value) for key, value in content["header"].items()),
    ]
    print_table(rows, "  ")
    print("networks")
    networks = [
        (
            name,
            f"{item['parameters']:,} parameters",
            item["stored_as"],
            readable_size(item["bytes"]),
            item["sha256"],
        )
        for name, item in content["networks"].items()
    ]
    print_table(networks, "  ")
    if content["converted_from"]:
        print("converted from")
        keys = ("role", "file", "sha256")
        origin = [[str(row.get(key, "")) for key in keys] for row in content["converted_from"]]
        print_table(origin, "  ")
