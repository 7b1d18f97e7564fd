"""Nodes for ComfyUI: load a model, invert a photo, name directions, edit.

    Load -> Invert -> Edit -> IMAGE        Direction -> Direction -> Edit

IMAGE is (B, H, W, C) in [0, 1] and MASK (B, H, W), 1 = may change; B photos are edited alike.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from comfy_api.latest import ComfyExtension, io

from stylefeatureeditor import Editor
from stylefeatureeditor.errors import MaskError, SfeError
from stylefeatureeditor.methods.folder import load_any_config
from stylefeatureeditor.weights.direction_files import load_directions
from stylefeatureeditor.weights.local_models import local_models

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.inversion.record import Inversion

    Inverted = tuple[Editor, list[Inversion]]
    Edits = dict[str, float]

CATEGORY = "StyleFeatureEditor"
Model, Inversions = io.Custom("SFE_MODEL"), io.Custom("SFE_INVERSIONS")
Directions = io.Custom("SFE_DIRECTIONS")
logger = logging.getLogger(__name__)


class Load(io.ComfyNode):
    """A model, by its name, its folder or its place on the Hub."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SFELoad",
            display_name="Load model",
            category=CATEGORY,
            inputs=[
                io.String.Input(
                    "model",
                    default="faces",
                    tooltip="a name that `sfe models list` shows, a model folder, or ORG/NAME of "
                    "the Hugging Face Hub",
                ),
                io.Combo.Input("device", options=["auto", "cpu", "cuda", "mps"], default="auto"),
            ],
            outputs=[Model.Output("model")],
        )

    @classmethod
    def execute(cls, model: str, device: str) -> io.NodeOutput:
        """Open the model."""
        return io.NodeOutput(Editor.from_pretrained(model, device=device))


class Invert(io.ComfyNode):
    """What the model knows of each photo's face; further edits of it are quick."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SFEInvert",
            display_name="Invert photo",
            category=CATEGORY,
            inputs=[
                Model.Input("model"),
                io.Image.Input("image"),
                io.String.Input(
                    "face", default="largest", tooltip="largest, all, or a number; 1 is the largest"
                ),
                io.Boolean.Input(
                    "aligned", default=False, tooltip="the image is an aligned crop: search no face"
                ),
            ],
            outputs=[Inversions.Output("inversions")],
        )

    @classmethod
    def execute(cls, model: Editor, image: Tensor, face: str, aligned: bool) -> io.NodeOutput:  # noqa: FBT001
        """Invert each image of the batch."""
        which: Any = int(face) if face.isdecimal() else face.strip()
        photos = [to_pixels(each) for each in image]
        inversions = [model.invert(photo, face=which, aligned=aligned) for photo in photos]
        return io.NodeOutput((model, inversions))


class Direction(io.ComfyNode):
    """A direction and how far to move along it, added to those before it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node; each direction has a slider of its own range."""
        options = [
            io.DynamicCombo.Option(
                name,
                [io.Float.Input("strength", default=high / 2, min=low, max=high, step=0.05)],
            )
            for name, (low, high) in known_ranges().items()
        ]
        return io.Schema(
            node_id="SFEDirection",
            display_name="Edit direction",
            category=CATEGORY,
            inputs=[
                io.DynamicCombo.Input("direction", options=options),
                Directions.Input("before", optional=True),
            ],
            outputs=[Directions.Output("directions")],
        )

    @classmethod
    def execute(cls, direction: dict[str, Any], before: Edits | None = None) -> io.NodeOutput:
        """Add one edit; the same direction twice is one of both strengths together."""
        name, edits = direction["direction"], before or {}
        return io.NodeOutput({**edits, name: edits.get(name, 0.0) + direction["strength"]})


class Edit(io.ComfyNode):
    """The whole photos, their faces edited; without directions as the model redraws them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SFEEdit",
            display_name="Edit photo",
            category=CATEGORY,
            inputs=[
                Inversions.Input("inversions"),
                Directions.Input("directions", optional=True),
                io.Mask.Input(
                    "mask", optional=True, tooltip="of the image's size; white may change"
                ),
                io.Combo.Input(
                    "region",
                    options=["none", "face"],
                    default="none",
                    tooltip="where the edit may act if no mask is there: everywhere, or the face",
                ),
            ],
            outputs=[io.Image.Output("image")],
        )

    @classmethod
    def execute(
        cls,
        inversions: Inverted,
        region: str,
        directions: Edits | None = None,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Edit each photo and paste its face back."""
        editor, known = inversions
        edits = directions or {}
        for sentence in editor.warnings(edits):
            logger.warning(sentence)
        if mask is not None and len(mask) not in (1, len(known)):
            raise MaskError(f"{len(known)} images need as many masks, or 1; there are {len(mask)}")
        photos = []
        for number, inversion in enumerate(known):
            where = region if mask is None else mask[number % len(mask)].cpu().numpy()
            photos.append(np.asarray(editor.edit(inversion, edits, mask=where).photo))
        return io.NodeOutput(torch.from_numpy(np.stack(photos)).float() / 255)


def to_pixels(image: Tensor) -> np.ndarray:
    """Return an image (H, W, C) in [0, 1] as uint8."""
    return (255 * image.cpu().float().clamp(0, 1)).round().byte().numpy()


def known_ranges() -> dict[str, tuple[float, float]]:
    """Return direction -> useful range, of all models on this machine together."""
    ranges: dict[str, tuple[float, float]] = {}
    for name, folder in local_models().items():
        try:
            known = load_directions(folder, load_any_config(folder).catalog)
        except SfeError as error:  # the others shall show
            logger.warning("the directions of %s cannot be read: %s", name, error)
            continue
        for entry in known.entries:
            low, high = entry.useful_range
            before = ranges.get(entry.name, (low, high))
            ranges[entry.name] = (min(low, before[0]), max(high, before[1]))
    return ranges


class Nodes(ComfyExtension):
    """What ComfyUI asks for its nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the nodes."""
        return [Load, Invert, Direction, Edit]


async def comfy_entrypoint() -> Nodes:
    """Return the extension; ComfyUI calls this when it starts."""
    return Nodes()
