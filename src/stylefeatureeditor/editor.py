"""Editor: a photo becomes the same photo with its face edited.

photo -> find and align a face -> method.invert -> method.edit -> paste back

The method is ours (Eq. 1-7, `methods/sfe.py`) or any other that keeps to `methods/method.py`.
Faces of several photos pass the networks together; memory is bounded by `batch_size` faces, however
many a photo has.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from stylefeatureeditor.device import find_device
from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry, range_warning
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.editing.direction_names import TEXT_THRESHOLDS, check_sizes
from stylefeatureeditor.errors import (
    ConfigError,
    DirectionError,
    FaceError,
    PhotoError,
    SfeError,
    check_shape,
)
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.masks.edit_mask import Region, find_region
from stylefeatureeditor.methods.folder import save_method
from stylefeatureeditor.methods.loader import open_method
from stylefeatureeditor.methods.method import Method
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.model import Framing
from stylefeatureeditor.photo.align import crop, ffhq_quad, whole_photo_as_face
from stylefeatureeditor.photo.image import read_photo, to_tensor, turned, visible
from stylefeatureeditor.photo.landmarks import choose_face, face_in_box, find_faces, turn_sentence
from stylefeatureeditor.photo.result import Blend, EditResult
from stylefeatureeditor.records import AlignedFace, Codes, FaceBox, Photo
from stylefeatureeditor.weights import hub
from stylefeatureeditor.weights.code_files import read_codes
from stylefeatureeditor.weights.direction_files import (
    PUBLISHED,
    load_directions,
    read_direction_file,
    save_directions,
)
from stylefeatureeditor.weights.styleclip_files import load_delta_edits, load_text_edits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from PIL import Image

    from stylefeatureeditor.editing.deltaedit import DeltaEdit
    from stylefeatureeditor.editing.direction import Strength
    from stylefeatureeditor.editing.direction_names import TextMethod
    from stylefeatureeditor.editing.styleclip import StyleClipGlobal
    from stylefeatureeditor.masks.edit_mask import Mask
    from stylefeatureeditor.model import Model
    from stylefeatureeditor.photo.session_file import SavedPhoto
    from stylefeatureeditor.runtimes.choose import Backend, Precision

    PhotoSource = str | Path | bytes | Image.Image | np.ndarray
    Edits = (  # a mapping's key type is invariant
        Mapping[str, Strength]
        | Mapping[EditDirection, Strength]
        | Mapping[str | EditDirection, Strength]
    )

Which = Literal["largest", "all"] | int | tuple["np.ndarray", ...] | FaceBox
logger = logging.getLogger(__name__)


def align(
    photo: PhotoSource | Photo,
    *,
    face: Which = "largest",
    size: int = 1024,
    framing: Framing | None = None,
) -> list[AlignedFace]:
    """Return the faces of a photo, cropped and upright as FFHQ crops them, the largest first.

    Args:
        photo: anything `read_photo` takes.
        face: "largest", "all", a number from 1, the (68, 2) landmarks of faces, or a `FaceBox`
            around brows, chin and cheeks.
        size: side of the crops in pixels.
        framing: how the crop differs from FFHQ's; None is FFHQ's.

    Raises:
        PhotoError: the photo cannot be read.
        FaceError: no face was found, or not the one asked for.
        DependencyError: the extra `faces` is not installed.
    """
    photo = photo if isinstance(photo, Photo) else read_photo(photo)
    pixels = visible(photo)
    framing = framing or Framing()
    if isinstance(face, FaceBox):
        known = [face_in_box(pixels, face.edges).landmarks]
    elif isinstance(face, tuple):
        known = list(face)
    else:
        found = choose_face(find_faces(pixels, all_sizes=face != "largest"), face)
        known = [one.landmarks for one in found]
    aligned = []
    for points in known:
        quad = ffhq_quad(points, framing.scale, framing.shift)
        aligned.append(AlignedFace(to_tensor(crop(pixels, quad, size)), photo.pixels, quad, points))
    return aligned


class Editor:
    """One method, ready to edit photos.

    Args:
        model: our networks, or any method.
        directions: the directions it knows by name; None means those of its folder.
        folder: where published direction files lie, in a folder `directions`; None means the one
            that the method came from.
    """

    def __init__(
        self, model: Model | Method, directions: Catalog | None = None, folder: Path | None = None
    ) -> None:
        self.method = model if isinstance(model, Method) else Sfe(model)
        self.folder = folder or self.method.folder
        if directions is None and self.folder is not None:
            directions = load_directions(self.folder, self.method.config.catalog)
        self.directions = directions or Catalog()
        self._loaded: dict[CatalogEntry, EditDirection] = {}
        self._text: dict[str, StyleClipGlobal | DeltaEdit] = {}

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "faces",
        *,
        device: str = "auto",
        backend: Backend = "torch",
        precision: Precision = "float32",
        compiled: bool = False,
        method: str | None = None,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: Path | None = None,
        local_files_only: bool = False,
    ) -> Editor:
        """Return the editor of a model: a built-in or pulled name, a model folder, or the Hub's.

        Args:
            name: "faces", a name that `sfe models list` shows, a path, or ORG/NAME of the Hugging
                Face Hub, where safetensors and JSON alone are read.
            device: "cpu", "cuda", "mps", or "auto" for the best there is.
            backend: "torch"; "onnx" and "openvino" run what `sfe export` made of the model.
            precision: "float32"; "bfloat16", "float16" and "int8" are faster and less exact.
            compiled: torch.compile and CUDA graphs; the first picture then takes minutes.
            method: as `sfe edit --method`; None takes the method that the model holds.
            revision: of the Hub: a branch, tag or commit; None is main.
            token: of the Hub; None takes the one that the user has logged in with, if any.
            cache_dir: of the Hub; None means huggingface_hub's own.
            local_files_only: take the Hub's models from the cache and ask nobody.

        Raises:
            WeightsError: there is no such model, or its files are damaged, or not exported.
            ConfigError: there is no such method, the device is not there, or the choices do not
                agree.
            DependencyError: the backend, or for the Hub the extra `hub`, is not installed.
            DownloadError: the Hub does not give the model.
        """
        if hub.names_repository(name):
            name = hub.pull(
                str(name),
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
            )
        return cls(
            open_method(
                name,
                device=device,
                method=method,
                backend=backend,
                precision=precision,
                compiled=compiled,
            )
        )

    def save_pretrained(self, folder: str | Path, *, half: bool = False) -> None:
        """Write the method and its own directions to a folder that `from_pretrained` reads.

        Args:
            folder: made if it is not there.
            half: store float16 weights, half the size; results move by about 1e-3.

        Raises:
            ConfigError: the method works on another's networks.
            WeightsError: the folder cannot be written.
        """
        folder = Path(folder)
        save_method(self.method, folder, float_dtype=torch.float16 if half else None)
        save_directions(self.directions, self.method.config.catalog, self.folder, folder)

    def push_to_hub(
        self,
        repository: str,
        *,
        half: bool = False,
        revision: str | None = None,
        token: str | None = None,
        private: bool | None = None,
        message: str | None = None,
        license: str | None = None,  # noqa: A002  # the Hub's word
        base_model: str | None = None,
        measured: Mapping[str, Mapping[str, float]] | None = None,
    ) -> str:
        """Upload the method, its directions and a model card to the Hugging Face Hub.

        Args:
            repository: ORG/NAME; made if it is not there.
            half: as in `save_pretrained`.
            revision: a branch, made if it is not there; None is main.
            token: None takes the one that the user has logged in with.
            private: who may see a new repository; None leaves it to the organisation.
            message: of the commit.
            license: an identifier of the Hub, such as mit, for the card.
            base_model: ORG/NAME of the model that this one was trained from, for the card.
            measured: row -> metric -> value, for the card.

        Returns:
            The address of the commit.

        Raises:
            ConfigError: the method works on another's networks.
            DownloadError: the Hub refuses, or does not answer.
            DependencyError: the extra `hub` is not installed.
        """
        with TemporaryDirectory() as name:
            folder = Path(name)
            self.save_pretrained(folder, half=half)
            text = hub.card(
                repository,
                size=self.size,
                method=self.method.name,
                directions=[entry.name for entry in self.directions.entries if entry.tensors],
                license=license,
                base_model=base_model,
                measured=measured,
            )
            (folder / hub.CARD).write_text(text, encoding="utf-8")
            return hub.push(
                folder,
                repository,
                revision=revision,
                token=token,
                private=private,
                message=message,
            )

    @property
    def model(self) -> Model:
        """The networks: our four, or another method's own."""
        known: Any = self.method
        return known.model if hasattr(known, "model") else known

    @property
    def size(self) -> int:
        """Side of an aligned crop in pixels."""
        return self.method.size

    def to(self, device: str | torch.device) -> Editor:
        """Move the networks to a device ("auto" picks cuda, then mps, then cpu); return self.

        Raises:
            ConfigError: the device is not there, or the backend runs on the CPU alone.
        """
        place, generator = find_device(device), self.method.generator
        if place != self.method.device and getattr(generator, "is_fixed", False):
            raise ConfigError(
                f"this backend runs on {self.method.device} alone: open the model on {place} with "
                "the backend torch"
            )
        self.method.to(place)
        return self

    def align(self, photo: PhotoSource | Photo, *, face: Which = "largest") -> list[AlignedFace]:
        """Return faces cropped the way this model wants them; see `align`."""
        return align(photo, face=face, size=self.size, framing=self.method.config.framing)

    def invert(
        self,
        photo: PhotoSource | Photo | Tensor,
        *,
        face: Which = "largest",
        aligned: bool = False,
    ) -> Inversion:
        """Return what the method knows of a photo's face, and its reconstruction.

        Args:
            photo: a photo; or aligned crops as a tensor, (B, 3, size, size) in [-1, 1].
            face: which face of the photo: "largest", "all", a number from 1, or where it is.
            aligned: the photo is an aligned crop already, or a `FaceBox` says where in it the crop
                is: no face is searched.

        Raises:
            PhotoError, FaceError, DependencyError, ShapeError: as `align` and `Method.invert`.
        """
        inversion = self._encode(photo, face=face, aligned=aligned)
        self.method.reconstruct(inversion)
        return inversion

    def from_codes(
        self,
        codes: str | Path | Tensor,
        photo: PhotoSource | Photo | Tensor | None = None,
        *,
        face: Which = "largest",
        aligned: bool = False,
    ) -> Inversion:
        """Return an inversion of codes that another tool found; edits start from it.

        Args:
            codes: a .pt, .npy or .npz file of W or W+ codes, or a tensor (B, N, D).
            photo: the photo of the codes, if it is there: our method fits F_k to it.
            face: as in `invert`.
            aligned: as in `invert`.

        Raises:
            WeightsError, ShapeError: the codes are no codes, or of another generator.
            ConfigError: the method draws from more than codes.
        """
        network = self.method.config.generator
        if not isinstance(codes, Tensor):
            codes = read_codes(Path(codes), network.num_styles, network.style_dim)
        check_shape("codes", codes, (None, network.num_styles, network.style_dim))
        if photo is None:
            return self.method.from_codes(Codes(codes))
        if isinstance(photo, Tensor):
            return self.method.from_codes(Codes(codes), photo)
        known = self._prepare(photo, face=face, aligned=aligned)
        assert isinstance(known, Crops)
        crops = torch.cat([found.pixels for found in known.faces])
        inversion = self.method.from_codes(Codes(codes), crops)
        inversion.faces, inversion.source = known.faces, known.source
        return inversion

    def edit(
        self,
        photo: PhotoSource | Photo | Tensor | Inversion,
        edits: Edits,
        *,
        mask: Mask | None = None,
        blend: Blend | None = None,
        face: Which = "largest",
        aligned: bool = False,
    ) -> EditResult:
        """Return a photo with its face edited.

        Args:
            photo: what `invert` takes, or what it returned.
            edits: direction -> strength; a direction is a name or an EditDirection. All act at
                once, whatever their order.
            mask: where the edit may act: None (everywhere), "face" (the face's hull), a region of
                a face parser such as "hair", a picture (white = may change), or a tensor
                (B or 1, 1, S, S), 1 = may change; see `edit_mask.py`.
            blend: "feather" puts the crop into the photo, "residual" adds what the edit changed,
                "poisson" puts in its gradients, so that no seam shows, "none" leaves the crop; None
                takes the model's preference.
            face: as in `invert`.
            aligned: as in `invert`.

        Raises:
            DirectionError: a direction is unknown or does not fit the model.
            MaskError: the mask does not fit the photo.
        """
        resolved = self.resolve(edits)
        inversion = self._encode(photo, face=face, aligned=aligned)
        region = find_region(mask, inversion.faces, len(inversion))
        pixels = self.method.edit(inversion, resolved, region.crops)
        return self._result(inversion, pixels, region, blend)

    def edit_faces(
        self,
        photo: PhotoSource | Photo | Inversion,
        edits: Mapping[int, Edits],
        *,
        masks: Mapping[int, Mask | None] | None = None,
        blend: Blend | None = None,
    ) -> EditResult:
        """Return a photo with each face edited its own way.

        Args:
            photo: what `invert` takes with `face="all"`, or what it returned.
            edits: number of the face, 1 is the largest -> its edits, as in `edit`.
            masks: number of the face -> where its edits may act, as in `edit`.
            blend: as in `edit`.

        Raises:
            FaceError: there is no such face.
            DirectionError, MaskError: as `edit`.
        """
        known = self._encode(photo, face="all")
        for number in edits:
            if not 1 <= number <= len(known):
                raise FaceError(f"face {number} was asked for, but there are {len(known)}")
        if not edits:
            raise DirectionError("nothing to edit: give a face and its edits, as {1: {...}}")
        masks = masks or {}
        return EditResult.join(
            [
                self.edit(known[number - 1], own, mask=masks.get(number), blend=blend)
                for number, own in sorted(edits.items())
            ]
        )

    def edit_saved(self, saved: SavedPhoto) -> EditResult:
        """Return a photo of a session with each face edited as the page left it.

        Raises:
            PhotoError, FaceError, DirectionError, MaskError: as `edit_faces`.
        """
        photo = turned(read_photo(saved.content), saved.turns)
        height, width = photo.pixels.shape[:2]
        known = self._encode(photo, face=saved.landmarks or "largest", aligned=saved.aligned)
        return self.edit_faces(
            known,
            {number: done.edits for number, done in saved.faces.items() if done.edits},
            masks={number: done.region(width, height) for number, done in saved.faces.items()},
            blend=saved.blend,
        )

    def edit_batch(
        self,
        photos: Iterable[PhotoSource | Photo | Tensor | Inversion],
        edits: Edits,
        *,
        batch_size: int = 4,
        mask: Mask | None = None,
        blend: Blend | None = None,
        face: Which = "largest",
        aligned: bool = False,
        on_error: Callable[[int, SfeError], None] | None = None,
    ) -> Iterator[EditResult]:
        """Yield the result of the same edits for each photo in turn, `batch_size` faces at a time.

        Arguments and errors are those of `edit`, for every photo. Photos are read as they are
        needed. `on_error` is called with the number of a photo that cannot be edited, from 0, and
        why, and the others go on; None lets the first such photo raise.
        """
        resolved, batch_size = self.resolve(edits), max(1, batch_size)
        if any(isinstance(strength, Tensor) and strength.ndim for strength in resolved.values()):
            raise DirectionError("a batch takes one strength per direction; `strip` takes several")
        for group in self._groups(photos, batch_size, mask, face, on_error, aligned=aligned):
            known = self._invert([photo for photo, _ in group], batch_size)
            regions = [region for _, region in group]
            if resolved and any(inversion.anchor for inversion in known):
                for inversion in known:  # else E would run again for those that it has seen
                    self.method.find_anchor(inversion)
            whole, crops = _joined(known), _all_regions(regions, known)
            parts, pixels = [], []
            for first in range(0, len(whole), batch_size):
                some = slice(first, first + batch_size)
                parts.append(whole.rows(first, first + batch_size))
                act_on = None if crops is None else crops[some]
                pixels.append(self.method.edit(parts[-1], resolved, act_on))
            learnt, drawn, end = _joined(parts), torch.cat(pixels), 0
            for inversion, region in zip(known, regions, strict=True):
                start, end = end, end + len(inversion)
                part = learnt.rows(start, end)
                inversion.anchor = inversion.anchor or part.anchor
                inversion.pixels = part.pixels if inversion.pixels is None else inversion.pixels
                yield self._result(inversion, drawn[start:end], region, blend)

    def strip(
        self,
        photo: PhotoSource | Photo | Tensor | Inversion,
        direction: str | EditDirection,
        strengths: Sequence[float],
        *,
        batch_size: int = 4,
        mask: Mask | None = None,
        blend: Blend | None = None,
    ) -> Iterator[EditResult]:
        """Yield one face edited with several strengths of a direction, in their order.

        Arguments and errors are those of `edit`; the photo's largest face is taken.
        """
        inversion = self._encode(photo)
        inversion = inversion if len(inversion) == 1 else inversion[0]
        (resolved,) = self.resolve({direction: 1.0})
        region = find_region(mask, inversion.faces, len(inversion))
        for first in range(0, len(strengths), max(1, batch_size)):
            some = torch.tensor(strengths[first : first + max(1, batch_size)])
            for pixels in self.method.edit(inversion, {resolved: some}, region.crops):
                yield self._result(inversion, pixels[None], region, blend)

    def direction(self, name: str) -> EditDirection:
        """Return a direction by name.

        Raises:
            DirectionError: there is none of that name, or its published file is missing.
        """
        entry = self.directions.find(name)
        if entry not in self._loaded:
            published = (self.folder or Path()) / PUBLISHED
            layout = self.method.config.generator.style_layout()
            self._loaded[entry] = entry.load(published, layout, read_direction_file)
        return self._loaded[entry]

    def text_direction(
        self,
        target: str,
        *,
        neutral: str = "a face",
        beta: float | None = None,
        by: TextMethod = "styleclip",
    ) -> EditDirection:
        """Return the direction from what the photo shows to `target`, both in words.

        Args:
            target: for example "a smiling face".
            neutral: what the photo shows now.
            beta: channels of less relevance stay; small values change much at once. None is
                `TEXT_THRESHOLDS`.
            by: "styleclip" for its global directions, the same for every photo; "deltaedit" looks
                at the photo too, as the release shows it to CLIP, "deltaedit-normalised" as CLIP
                was trained to see it.

        Raises:
            WeightsError, DependencyError, DirectionError: as `load_text_edits`, and
                `StyleClipGlobal.direction` about the prompts.
        """
        if by not in self._text:
            generator = self.method.generator
            self._text[by] = (
                load_text_edits(self.folder, generator.config.style_layout())
                if by == "styleclip"
                else load_delta_edits(self.folder, generator, normalised=by != "deltaedit")
            )
        return self._text[by].direction(
            neutral, target, TEXT_THRESHOLDS[by] if beta is None else beta
        )

    def resolve(self, edits: Edits) -> dict[EditDirection, Strength]:
        """Return the edits with names replaced by directions; equal directions are added up.

        Raises:
            DirectionError: a direction is unknown, or a strength is no number of sensible size.
        """
        if not isinstance(edits, Mapping):
            raise DirectionError(
                f'edits must be a mapping such as {{"smile": 2.0}}, got {type(edits).__name__}'
            )
        resolved: dict[EditDirection, Strength] = {}
        for key, strength in edits.items():
            if not isinstance(key, (str, EditDirection)):
                raise DirectionError(
                    f"a direction is a name or an EditDirection, got {type(key).__name__}; "
                    "EditDirection.linear(vector) makes one"
                )
            if not isinstance(strength, (Real, Tensor)):
                raise DirectionError(f"a strength must be a number, got {strength!r}")
            direction = self.direction(key) if isinstance(key, str) else key
            if not isinstance(strength, Tensor):
                check_sizes(getattr(direction, "name", type(direction).__name__), [strength])
            resolved[direction] = resolved.get(direction, 0.0) + strength
        return resolved

    def warnings(self, edits: Edits) -> list[str]:
        """Return a sentence for each named strength outside its useful range."""
        sentences = (
            range_warning(self.directions.find(key), strength)
            for key, strength in edits.items()
            if isinstance(key, str) and not isinstance(strength, Tensor)
        )
        return [sentence for sentence in sentences if sentence]

    def _encode(
        self,
        photo: PhotoSource | Photo | Tensor | Inversion,
        *,
        face: Which = "largest",
        aligned: bool = False,
    ) -> Inversion:
        """Invert without drawing; an inversion is returned as it is."""
        prepared = self._prepare(photo, face=face, aligned=aligned)
        return self._invert([prepared], len(prepared))[0]

    def _groups(
        self,
        photos: Iterable[PhotoSource | Photo | Tensor | Inversion],
        faces: int,
        mask: Mask | None,
        face: Which,
        on_error: Callable[[int, SfeError], None] | None,
        *,
        aligned: bool,
    ) -> Iterator[list[tuple[Prepared, Region]]]:
        """Photos that are read, with their edit regions, at least `faces` faces at a time."""
        group: list[tuple[Prepared, Region]] = []
        for number, photo in enumerate(photos):
            try:
                prepared = self._prepare(photo, face=face, aligned=aligned)
                group.append((prepared, find_region(mask, prepared.faces, len(prepared))))
            except SfeError as error:
                if on_error is None:
                    raise
                on_error(number, error)
            if sum(len(known) for known, _ in group) >= faces:
                yield group
                group = []
        if group:
            yield group

    def _prepare(
        self, photo: PhotoSource | Photo | Tensor | Inversion, *, face: Which, aligned: bool
    ) -> Prepared:
        """Do everything for a photo that comes before the networks."""
        if isinstance(photo, Inversion):
            self.method.take(photo)
            return photo
        if isinstance(photo, Tensor):
            check_shape("photos", photo, (None, 3, self.size, self.size))
            if not photo.isfinite().all():
                raise PhotoError("the aligned photo holds values that are not finite")
            return self.method.invert(photo)
        source = photo if isinstance(photo, Photo) else read_photo(photo)
        if aligned:
            faces = [
                whole_photo_as_face(source, self.size, face if isinstance(face, FaceBox) else None)
            ]
        else:
            faces = self.align(source, face=face)
        (height, width, _), points = source.pixels.shape, faces[0].landmarks
        said = "" if points is None else turn_sentence(points)
        if aligned and width != height and not isinstance(face, FaceBox):
            said = f"the photo is {width} x {height}: its middle square is the crop"
        if said:
            logger.warning("%s%s", f"{photo}: " if isinstance(photo, (str, Path)) else "", said)
        return Crops(tuple(faces), source)

    def _invert(self, photos: Sequence[Prepared], batch_size: int) -> list[Inversion]:
        """Return an inversion for each photo; those that are inversions stay as they are."""
        crops = [
            face.pixels for photo in photos if isinstance(photo, Crops) for face in photo.faces
        ]
        parts = [
            self.method.invert(torch.cat(crops[first : first + batch_size]))
            for first in range(0, len(crops), batch_size)
        ]
        end, inversions = 0, []
        whole = _joined(parts) if parts else None
        for photo in photos:
            if isinstance(photo, Inversion):
                inversions.append(photo)
                continue
            assert whole is not None
            start, end = end, end + len(photo)
            inversion = whole if len(photo) == len(whole) else whole.rows(start, end)
            inversion.faces, inversion.source = photo.faces, photo.source
            inversions.append(inversion)
        return inversions

    def _result(
        self, inversion: Inversion, pixels: Tensor, region: Region, blend: Blend | None
    ) -> EditResult:
        blend = blend or self.method.config.blend
        if blend not in get_args(Blend):
            raise ConfigError(f"blend must be one of {', '.join(get_args(Blend))}, got {blend!r}")
        if inversion.faces and blend == "residual":
            self.method.reconstruct(inversion)
        return EditResult(pixels, inversion, region.crops, blend, region.photo)


@dataclass(frozen=True)
class Crops:
    """A photo whose faces are aligned but not inverted yet: at least one face, and the photo."""

    faces: tuple[AlignedFace, ...]
    source: Photo

    def __len__(self) -> int:
        return len(self.faces)


Prepared = Crops | Inversion


class MethodEditor(Editor):
    """`Editor` by the name that it had for methods other than ours.

    Args:
        method: on its device.
        model: its networks; a method has them, so they may be left out.
        directions: as in `Editor`.
        folder: as in `Editor`.
    """

    def __init__(
        self,
        method: Method,
        model: object = None,
        directions: Catalog | None = None,
        folder: Path | None = None,
    ) -> None:
        del model
        super().__init__(method, directions, folder)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # methods run in PyTorch and float32 alone
        cls, name: str | Path = "psp", *, device: str = "auto"
    ) -> MethodEditor:
        """Return the editor of a method's folder; arguments and errors as `Editor`'s."""
        return cls(open_method(name, device=device))

    @classmethod
    def around(cls, method: Method, editor: Editor, word: str = "own") -> MethodEditor:
        """Return an editor that works by a method and knows another's directions.

        Args:
            method: works with the generator of `editor`'s model.
            editor: gives the directions.
            word: what the method is called; it has a name, so this may be left out.
        """
        del word
        return cls(method, None, editor.directions, editor.folder)


def _joined(parts: list[Inversion]) -> Inversion:
    return parts[0] if len(parts) == 1 else Inversion.cat(parts)


def _all_regions(regions: Sequence[Region], inversions: Sequence[Inversion]) -> Tensor | None:
    """The crops' edit regions as one batch; None where edits act everywhere."""
    rows = [
        region.crops.expand(len(inversion), -1, -1, -1)
        for region, inversion in zip(regions, inversions, strict=True)
        if region.crops is not None
    ]
    return torch.cat(rows) if rows else None
