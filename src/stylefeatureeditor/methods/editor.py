"""Photos through any method: found, cropped, inverted, edited, and pasted back.

    crop -> method.invert -> method.edit -> region * X' + (1 - region) * X^ -> the whole photo

Only our own method has a Delta that a mask can confine before the picture is drawn; for the others
the mask chooses between two finished pictures, edit and reconstruction. Pasting back is the same.

Shapes: B faces, S side of a crop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from stylefeatureeditor.device import find_device
from stylefeatureeditor.editing.delta import resize
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import ConfigError, PhotoError, check_shape
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.folder import (
    MethodConfig,
    MethodModel,
    load_method,
    method_of,
    save_method,
)
from stylefeatureeditor.methods.method import ComparedMethod, SeveralEdits
from stylefeatureeditor.methods.methods import KINDS
from stylefeatureeditor.pipeline import Pipeline, check_region, check_rows
from stylefeatureeditor.records import Codes
from stylefeatureeditor.weights.direction_files import load_directions, save_directions
from stylefeatureeditor.weights.local_models import find_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from stylefeatureeditor.editing.catalog import Catalog
    from stylefeatureeditor.editing.direction import EditDirection, Strength
    from stylefeatureeditor.methods.method import Method


@dataclass
class MethodInversion(Inversion):
    """What a method knows of B faces.

    `codes`, `features` and `rgb` are empty: what a method keeps is its own matter.

    Attributes:
        states: one per face, each of a batch of one.
    """

    states: tuple[Any, ...] = ()

    def rows(self, start: int, end: int) -> MethodInversion:
        """Return the faces from `start` up to `end`."""
        part: Any = super(MethodInversion, replace(self, states=())).rows(start, end)
        return replace(part, states=self.states[start:end])

    def map(self, function: Callable[[Tensor], Tensor]) -> MethodInversion:
        """Return the record with `function` applied to every tensor but the faces' own."""
        whole: Any = super().map(function)
        return replace(whole, states=tuple(map_tensors(function, s) for s in self.states))

    @classmethod
    def _joined(cls, parts: list[Any]) -> MethodInversion:
        states = tuple(state for part in parts for state in part.states)
        return cls(**vars(Inversion._joined(parts)), states=states)


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Return a record, mapping or sequence with `function` applied to every tensor in it."""
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{f.name: map_tensors(function, getattr(value, f.name)) for f in fields(value)}
        )
    if isinstance(value, Mapping):
        return {key: map_tensors(function, item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map_tensors(function, item) for item in value)
    return value


class MethodPipeline(Pipeline):
    """Runs a method face by face.

    Args:
        method: on its device.
        model: its networks, of which the config and the generator are asked.
    """

    def __init__(self, method: Method[Any], model: MethodModel) -> None:
        self.method = method
        self.model = model  # type: ignore[assignment]
        self.fingerprint = hashlib.sha256(method.identity.encode()).hexdigest()[:16]

    @torch.no_grad()
    def invert(self, photos: Tensor) -> MethodInversion:
        """Return what the method knows of aligned photos, (B, 3, size, size) in [-1, 1].

        Raises:
            ShapeError: another shape.
            PhotoError: the tensor holds integers.
        """
        check_shape("photos", photos, (None, 3, self.method.size, self.method.size))
        if not photos.is_floating_point():
            raise PhotoError(f"aligned photos must be floats in [-1, 1], got {photos.dtype}")
        photos = photos.to(self.device, torch.float32)
        states = tuple(self.method.invert(photo) for photo in photos.split(1))
        pixels = torch.cat([state.reconstruction for state in states])
        nothing = pixels.new_empty(len(photos), 0)
        return MethodInversion(
            codes=Codes(nothing),
            features=nothing,
            rgb=nothing,
            encoder_pixels=photos,
            model=self.fingerprint,
            pixels=pixels,
            states=states,
        )

    def reconstruct(self, inversion: Inversion) -> Tensor:
        """Return X^, (B, 3, size, size)."""
        self._take(inversion)
        assert inversion.pixels is not None
        return inversion.pixels

    @torch.no_grad()
    def edit(
        self,
        inversion: Inversion,
        edits: Mapping[EditDirection, Strength],
        region: Tensor | None = None,
        *,
        size: int | None = None,
        dtype: torch.dtype = torch.float32,  # noqa: ARG002
    ) -> Tensor:
        """Return X', (R, 3, size, size); arguments and errors as `Pipeline.edit`.

        Methods draw in float32 at their full side; for a smaller `size` the picture is then
        averaged down.
        """
        before = self.reconstruct(inversion)
        after = self._edited(inversion, edits, region) if edits else before
        return after if size is None else functional.interpolate(after, (size, size), mode="area")

    def _edited(
        self,
        inversion: Inversion,
        edits: Mapping[EditDirection, Strength],
        region: Tensor | None,
    ) -> Tensor:
        before = self.reconstruct(inversion)
        assert isinstance(inversion, MethodInversion)
        check_rows(edits)
        if region is not None:
            check_region(region, len(inversion))
        count = max([len(s) for s in edits.values() if isinstance(s, Tensor) and s.ndim] or [1])
        faces = len(inversion)
        drawn = []
        for row in range(max(count, faces)):
            own = SeveralEdits({d: _row(strength, row) for d, strength in edits.items()})
            drawn.append(self.method.edit(inversion.states[row if faces > 1 else 0], own, 1.0))
        after = torch.cat(drawn)
        if region is None:
            return after
        return before + resize(region.to(after), after.shape[-1]) * (after - before)

    def find_anchor(self, inversion: Inversion) -> None:
        """Do nothing: no method but ours has a second encoder."""
        self._take(inversion)


class MethodEditor(Editor):
    """One method, ready to edit photos: `Editor` with other networks inside.

    Args:
        method: on its device.
        model: its networks.
        directions: the directions it knows by name.
        folder: where published direction files lie, in a folder `directions`.
    """

    def __init__(
        self,
        method: Method[Any],
        model: MethodModel,
        directions: Catalog | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(model, directions, folder)  # type: ignore[arg-type]
        self.method, self.networks = method, model
        self.pipeline: MethodPipeline = MethodPipeline(method, model)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # methods run in PyTorch and float32 alone
        cls, name: str | Path = "psp", *, device: str = "auto"
    ) -> MethodEditor:
        """Return the editor of a method's folder; arguments and errors as `Editor`'s."""
        place, folder = find_device(device), find_model(name)
        model = load_method(folder).to(place)
        directions = load_directions(folder, model.config.catalog)
        title = KINDS[model.config.method].title
        return cls(ComparedMethod(model.network, title), model, directions, folder)

    @classmethod
    def around(cls, method: Method[Any], editor: Editor, word: str = "own") -> MethodEditor:
        """Return an editor that works by a method and is like another in everything else.

        Args:
            method: works with the generator of `editor`'s model.
            editor: gives directions, framing of the crops, and the way back into the photo.
            word: what the method is called.
        """
        config = editor.model.config
        about = MethodConfig(
            method=word,
            name=config.name,
            catalog=config.catalog,
            framing=config.framing,
            blend=config.blend,
            generator=config.generator,
        )
        return cls(method, MethodModel(editor.model, about), editor.directions, editor.folder)

    def save_pretrained(self, folder: str | Path, *, half: bool = False) -> None:
        """Write the method and its own directions; as `Editor.save_pretrained`.

        Raises:
            ConfigError: the method fits each photo and has no networks of its own.
        """
        folder = Path(folder)
        if not isinstance(self.method, ComparedMethod):
            raise ConfigError(f"{self.method.name} has no weights of its own: save its model")
        save_method(self.networks, folder, float_dtype=torch.float16 if half else None)
        save_directions(self.directions, self.networks.config.catalog, self.folder, folder)


def _row(strength: Strength, row: int) -> Strength:
    if isinstance(strength, Tensor) and strength.ndim:
        return float(strength[row if len(strength) > 1 else 0])
    return strength


def open_editor(model: str | Path, device: str = "auto") -> Editor:
    """Return the editor of a model, ours or a method's.

    Raises:
        WeightsError: there is none, or it is damaged.
        ConfigError: the device is not there.
    """
    folder = find_model(model)
    held = method_of(folder)
    if held is None:
        return Editor.from_pretrained(folder, device=device)
    editor = MethodEditor.from_pretrained(folder, device=device)
    if folder.name != held:
        editor.method.name += f" ({folder.name})"
    return editor
