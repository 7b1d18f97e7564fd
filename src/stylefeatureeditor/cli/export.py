"""`sfe export`: the networks of a model as graphs for other engines."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.options import MODEL, Args, Commands, add_command, add_common, flag
from stylefeatureeditor.cli.output import Progress, warn
from stylefeatureeditor.errors import ConfigError, DirectionError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.editor import Editor


def add_to(commands: Commands) -> None:
    """Add `sfe export`."""
    parser = add_command(
        commands,
        "export",
        export_model,
        text="write a model's networks as ONNX, OpenVINO or PyTorch .pt2 graphs\n"
        "`sfe edit --backend onnx` then finds them in the model folder; graphs.json names the\n"
        "inputs and outputs of each. Every graph takes any batch.",
        example="sfe export my_model --format onnx\n"
        "sfe export my_model --format openvino --precision int8 --photos crops/",
    )
    parser.add_argument("model", metavar="NAME|DIR", help=MODEL)
    parser.add_argument(
        "--format", choices=("onnx", "openvino", "pt2"), required=True, help="of the files"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "int8"),
        default="float32",
        help="int8, for openvino and processors without bfloat16, is less exact (%(default)s)",
    )
    parser.add_argument(
        "--photos",
        metavar="PHOTO",
        nargs="+",
        type=Path,
        default=[],
        help="photos, or folders of them, whose middle squares int8 learns its ranges from",
    )
    add_common(
        parser,
        "--output",
        metavar="DIR",
        type=Path,
        help="a model folder to make, of the graphs alone; the model's own folder if left out",
    )
    flag(parser, "--overwrite", "replace an earlier export")


def export_model(args: Args) -> int:
    """Run `sfe export`."""
    if args.precision == "int8" and args.format != "openvino":
        raise ConfigError("int8 is made for openvino: add --format openvino")
    if (args.precision == "int8") != bool(args.photos):
        raise ConfigError("--photos go with --precision int8, which learns its ranges from them")
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.methods.sfe import Sfe
    from stylefeatureeditor.runtimes.choose import export_folder
    from stylefeatureeditor.runtimes.export import MANIFEST, export_graphs
    from stylefeatureeditor.runtimes.graphs import inference_graphs
    from stylefeatureeditor.runtimes.quantize import quantizer, record
    from stylefeatureeditor.weights.checkpoint import save_config
    from stylefeatureeditor.weights.direction_files import save_directions
    from stylefeatureeditor.weights.local_models import find_model

    source = find_model(args.model)
    target = args.output or source
    folder = export_folder(target, args.format, args.precision)
    if (folder / MANIFEST).is_file() and not args.overwrite:
        raise WeightsError(f"{folder} holds graphs already; pass --overwrite to replace them")
    with Progress("loading the model"):
        editor = Editor.from_pretrained(source, device="cpu")
    change = None
    if args.precision == "int8":
        with Progress("reading photos"):
            calls = record(editor.model, _crops(args.photos, editor), _edits(editor), Sfe)
        change = quantizer(calls)
    done = count(1)
    with Progress("graphs", len(inference_graphs(editor.model))) as bar:
        export_graphs(
            editor.model,
            folder,
            args.format,
            change=change,
            precision=args.precision,
            done=lambda _name: bar.update(next(done)),
        )
    if target.resolve() != source.resolve():
        config = editor.model.config  # with it the graphs are a model of their own
        save_directions(editor.directions, config.catalog, editor.folder, target)
        save_config(config, target)
    print(folder)
    return 0


def _crops(paths: list[Path], editor: Editor) -> Iterator[Tensor]:
    from stylefeatureeditor.cli.batch import PHOTO_SUFFIXES
    from stylefeatureeditor.photo.align import whole_photo_as_face
    from stylefeatureeditor.photo.image import read_photo

    for path in paths:
        for photo in sorted(path.iterdir()) if path.is_dir() else [path]:
            if photo == path or photo.suffix.lower() in PHOTO_SUFFIXES:
                yield whole_photo_as_face(read_photo(photo), editor.size).pixels


def _edits(editor: Editor) -> list[tuple[EditDirection, float]]:
    """The ends of the useful range of every direction whose files are here."""
    edits = []
    for entry in editor.directions.entries:
        try:
            direction = editor.direction(entry.name)
        except (DirectionError, WeightsError):
            continue
        edits += [(direction, strength) for strength in entry.useful_range]
    if not edits:
        warn("the model knows no direction: int8 learns from photos that are not edited")
    return edits
