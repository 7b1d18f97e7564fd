"""Images to train or measure on: opened once, resized to a side, handed out in a seeded order.

    images = open_images("faces.zip", 64, where={"split": "train"})
    for batch in batches(images, 8, seed=0):
        photos = batch.photos()                        # (8, 3, 64, 64) in [-1, 1]

Framing is kept as stored; a picture that is not square is cropped about its middle, or padded with
black. Files that cannot be decoded are listed in `skipped`, logged and left out.

If all the pixels fit `memory_gib` they are decoded once. Otherwise threads decode each image ahead
of its step; a damaged one is then replaced by the next good one, so that the order stays a function
of the step. `order.py` has the order.

Shapes: S side of the model in pixels, B batch of this process. Bytes are uint8 RGB (3, S, S).
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylefeatureeditor.data.image_sources import ImageSource, open_sources
from stylefeatureeditor.data.order import Order
from stylefeatureeditor.data.row_filter import row_filter
from stylefeatureeditor.device import sent
from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.photo.image import read_photo

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

Fit = Literal["crop", "pad"]
Value = TypeVar("Value")
Gathered = tuple[np.ndarray, np.ndarray]  # numbers (B,) and pixels (B, 3, S, S) uint8
PAD_ROWS = 64  # padded and resized at a time
BATCHES_AHEAD = 3  # decoded before they are due; more only costs memory


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images a run sees.

    Attributes:
        source: folders, zip files, tar shards; joined in this order.
        where: rules on the table that lies with the images, as in `row_filter.py`.
        test_where: the same for the images held out for validation.
        fit: what happens to a picture that is not square.
        mirror: flip about half of the images, other ones in each epoch.
        memory_gib: decode once into memory if all pixels fit this; per process.
        workers: decoding threads; 0 takes one per CPU core, 8 at most.
    """

    source: tuple[str, ...] = ()
    where: dict[str, str] = field(default_factory=dict)
    test_where: dict[str, str] = field(default_factory=dict)
    fit: Fit = "crop"
    mirror: bool = True
    memory_gib: float = 4.0
    workers: int = 0

    def __post_init__(self) -> None:
        if self.memory_gib < 0 or self.workers < 0:
            raise ConfigError(f"memory_gib and workers cannot be negative, got {self}")

    def open(self, size: int, where: Mapping[str, str | float]) -> ImageSet:
        """Open the images of `source` that meet `where`, at side `size`."""
        return open_images(
            self.source,
            size,
            where,
            fit=self.fit,
            memory_gib=self.memory_gib,
            workers=self.workers,
        )


@dataclass(frozen=True)
class Batch:
    """The images of one rank and step."""

    step: int  # counted from 0
    indices: Tensor  # (B,) int64, numbers of the images in their set
    pixels: Tensor  # (B, 3, S, S) uint8, mirrored where the order says so

    def photos(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the pixels on `device`, (B, 3, S, S) float32 in [-1, 1]."""
        return to_photos(sent(self.pixels, torch.device(device)))


class ImageSet:
    """Images of one size with their rows; made by `open_images`.

    Attributes:
        size: S.
        names: path of each image inside its source. Where two sources hold the same one, both begin
            with the name of their source and a slash.
        rows: table row of each image, text by column.
        skipped: "name: reason" of each file that could not be decoded, as far as is known.
        shards: number of images per source if they are read in place; empty in memory.
    """

    def __init__(
        self,
        places: Sequence[tuple[ImageSource, int]],
        names: Sequence[str],
        size: int,
        fit: Fit = "crop",
        shards: Sequence[int] = (),
    ) -> None:
        self.names, self.size, self.fit, self.shards = tuple(names), size, fit, tuple(shards)
        self.rows = tuple(source.entries[i].row for source, i in places)
        self.skipped: list[str] = []
        self._places = places
        self._pixels: np.ndarray | None = None
        self._bad: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def in_memory(self) -> bool:
        """Whether all pixels are decoded already."""
        return self._pixels is not None

    def image(self, index: int) -> Tensor:
        """Return one image, (3, S, S) uint8."""
        return torch.from_numpy(self._image(index).copy())

    def content(self, index: int) -> bytes:
        """Return the file of one image, or its pixels where they are in memory."""
        if self._pixels is not None:
            return self._pixels[index].tobytes()
        return self._read(index, bytes)

    def photos(self, indices: Sequence[int]) -> Tensor:
        """Return several images for a network, (B, 3, S, S) float32 in [-1, 1]."""
        return to_photos(torch.stack([self.image(index) for index in indices]))

    def readable_photos(self, indices: Sequence[int]) -> tuple[list[int], Tensor]:
        """Return the decodable ones of several images: their numbers, and as `photos`."""
        tried = {index: self._readable(index) for index in indices}
        found = {index: pixels for index, pixels in tried.items() if pixels is not None}
        empty = np.empty((0, 3, self.size, self.size), dtype=np.uint8)
        pixels = np.stack(list(found.values())) if found else empty
        return list(found), to_photos(torch.from_numpy(pixels))

    def readable(self, index: int) -> bool:
        """Whether an image can be decoded; it is decoded to find out."""
        return self._pixels is not None or self._readable(index) is not None

    def gather(self, indices: np.ndarray, pool: ThreadPoolExecutor) -> Callable[[], Gathered]:
        """Start to fetch images; a call of the result waits for them.

        A damaged image is replaced by the next one that is not. Calling raises PhotoError if there
        is none.
        """
        if self._pixels is not None:
            pixels = self._pixels[indices]
            return lambda: (indices, pixels)
        futures = [pool.submit(self._good_image, int(index)) for index in indices]

        def wait() -> Gathered:
            found = [future.result() for future in futures]
            return np.array([index for index, _ in found]), np.stack([image for _, image in found])

        return wait

    def decode_all(self, workers: int = 0) -> None:
        """Bring every image into memory and drop those that cannot be decoded."""
        log.info("decoding %d images", len(self))
        pixels = np.empty((len(self), 3, self.size, self.size), dtype=np.uint8)

        def fill(index: int) -> str:
            try:
                pixels[index] = self._image(index)
            except PhotoError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(_threads(workers)) as pool:
            reasons = list(pool.map(fill, range(len(self))))
        good = [i for i, reason in enumerate(reasons) if not reason]
        self.skipped += filter(None, reasons)
        if not good:
            raise self._none_readable()
        if self.skipped:
            count, first = len(self.skipped), self.skipped[0]
            log.warning(
                "skipped %d of %d images that cannot be decoded; first: %s", count, len(self), first
            )
        if len(good) < len(self):
            for target, index in enumerate(good):  # in place: a second copy may not fit
                pixels[target] = pixels[index]
            self.names = tuple(self.names[i] for i in good)
            self.rows = tuple(self.rows[i] for i in good)
        self._pixels, self.shards, self._places = pixels[: len(good)], (), []

    def _image(self, index: int) -> np.ndarray:
        if self._pixels is not None:
            return self._pixels[index]
        return self._read(index, lambda content: decode(content, self.size, self.fit))

    def _read(self, index: int, work: Callable[[bytes], Value]) -> Value:
        """Return `work` of one file; readers raise almost anything on damaged data."""
        source, place = self._places[index]
        try:
            return work(source.read(place))
        except Exception as error:
            kind = "" if isinstance(error, PhotoError) else f"{type(error).__name__}: "
            raise PhotoError(f"{source.path}: {self.names[index]}: {kind}{error}") from error

    def _readable(self, index: int) -> np.ndarray | None:
        """Return one image, None if it cannot be decoded; that is reported once."""
        if index in self._bad:
            return None
        try:
            return self._image(index)
        except PhotoError as error:
            with self._lock:
                if index not in self._bad:
                    self._bad.add(index)
                    self.skipped.append(str(error))
                    log.warning("skipped a damaged image: %s", error)
        return None

    def _good_image(self, index: int) -> tuple[int, np.ndarray]:
        for candidate in itertools.chain(range(index, len(self)), range(index)):
            pixels = self._readable(candidate)
            if pixels is not None:
                return candidate, pixels
        raise self._none_readable()

    def _none_readable(self) -> PhotoError:
        first = self.skipped[0]
        return PhotoError(f"none of the {len(self)} images can be decoded; first: {first}")


class Excerpt:
    """The readable ones of some images of a set, read when asked for; PhotoError without any."""

    def __init__(self, images: ImageSet, indices: Iterable[int]) -> None:
        self.images = images
        self.indices = np.array([i for i in indices if images.readable(i)], dtype=np.int64)
        if not len(self):
            raise PhotoError(f"none of the chosen photos can be read; first: {images.skipped[0]}")

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def names(self) -> list[str]:
        """The names of the images."""
        return [self.images.names[index] for index in self.indices]

    def __getitem__(self, places: list[int]) -> Tensor:
        """Return the images at some places, (n, 3, S, S) float32 in [-1, 1].

        One that can no longer be read is replaced as in training.
        """
        with ThreadPoolExecutor(_threads(0)) as pool:
            _, pixels = self.images.gather(self.indices[places], pool)()
        return to_photos(torch.from_numpy(pixels))


def open_images(
    source: str | Path | Sequence[str | Path],
    size: int,
    where: Mapping[str, str | float] | None = None,
    *,
    fit: Fit = "crop",
    memory_gib: float = 4.0,
    workers: int = 0,
    limit: int | None = None,
) -> ImageSet:
    """Open images of one or several sources at side `size`, and decode them if they fit memory.

    Args:
        source: folders, zip files or tar shards, as in `image_sources.py`.
        size: S in pixels.
        where: rules on table columns, as in `row_filter.py`; None takes all images.
        fit: "crop" cuts a picture to its middle square, "pad" makes it square with black.
        memory_gib: the budget for decoded pixels.
        workers: decoding threads; 0 takes one per CPU core, 8 at most.
        limit: most images, the first ones.

    Raises:
        ConfigError: a source is missing or no image meets `where`.
        PhotoError: an archive is damaged as a whole, or nothing in it can be decoded.
    """
    if size < 1:
        raise ConfigError(f"expected a side of at least 1 pixel, got {size}")
    sources = open_sources(source)
    keep = []
    for each in sources:
        fits = row_filter(where or {}, each.columns, str(each.path))
        keep.append([i for i, entry in enumerate(each.entries) if fits(entry.row)])
    names = ", ".join(str(each.path) for each in sources[:3])
    if not any(each.entries for each in sources):
        raise ConfigError(f"expected images in {names}, but there is none")
    if not any(keep):
        raise ConfigError(f"no image of {names} meets {dict(where or {})}; check the rule")
    places = [(one, i) for one, kept in zip(sources, keep, strict=True) for i in kept][:limit]
    shards = [len(list(group)) for _, group in itertools.groupby(id(one) for one, _ in places)]
    images = ImageSet(places, _unique_names(places), size, fit, shards)
    if len(images) * 3 * size * size <= memory_gib * 2**30:
        images.decode_all(workers)
    return images


def batches(
    images: ImageSet,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    *,
    mirror: bool = False,
    workers: int = 0,
) -> Generator[Batch, None, None]:
    """Yield the batches of one rank from `start_step` on, without end.

    The batch of step t depends on (seed, t, rank, world_size, batch_size) and the set alone.

    Args:
        images: the set.
        batch_size: B, of this rank; the global batch is B * world_size.
        seed: any integer.
        start_step: first step to yield.
        rank: of this process.
        world_size: number of processes.
        mirror: flip about half of the images, other ones in each epoch.
        workers: decoding threads of images that are read in place.
    """
    order = Order(
        length=len(images),
        batch_size=batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
        shards=images.shards if len(images.shards) > 1 else (),
    )
    ahead = 1 if images.in_memory else BATCHES_AHEAD
    due: deque[tuple[int, np.ndarray, Callable[[], Gathered]]] = deque()
    with ThreadPoolExecutor(_threads(workers)) as pool:  # threads start with the first work
        try:
            for coming in itertools.count(start_step):
                indices, flips = order.at(coming)
                due.append((coming, flips, images.gather(indices, pool)))
                if len(due) < ahead:
                    continue
                step, flips, wait = due.popleft()
                indices, pixels = wait()
                if mirror:
                    pixels[flips] = pixels[flips, :, :, ::-1]
                yield Batch(step, torch.from_numpy(indices), torch.from_numpy(pixels))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def to_photos(pixels: Tensor) -> Tensor:
    """Turn uint8 in [0, 255] into float32 in [-1, 1], on the same device."""
    return pixels.float().mul_(2 / 255).sub_(1)


def decode(data: bytes, size: int, fit: Fit) -> np.ndarray:
    """Turn the bytes of an image file into (3, size, size) uint8 RGB, upright.

    Transparent parts become black.
    """
    photo = read_photo(data, least=2 * size)  # LANCZOS looks no further
    picture = Image.fromarray(photo.pixels)
    if photo.alpha is not None:
        black = Image.new("RGB", picture.size)
        picture = Image.composite(picture, black, Image.fromarray(photo.alpha))
    width, height = picture.size
    side = min(width, height) if fit == "crop" else max(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    if fit == "pad" and width != height:  # by rows: the square may be huge
        rows = Image.new("RGB", (size, height))
        for y in range(0, height, PAD_ROWS):
            band = picture.crop((left, y, left + side, min(y + PAD_ROWS, height)))
            rows.paste(band.resize((size, band.height), Image.Resampling.LANCZOS), (0, y))
        picture = rows.crop((0, top, size, top + side))  # outside is black
    elif width != height:
        picture = picture.crop((left, top, left + side, top + side))
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def _unique_names(places: Sequence[tuple[ImageSource, int]]) -> tuple[str, ...]:
    plain = [source.entries[i].name for source, i in places]
    times = Counter(plain)
    return tuple(
        name if times[name] == 1 else f"{source.path.stem}/{name}"
        for name, (source, _) in zip(plain, places, strict=True)
    )


def _threads(workers: int) -> int:
    return workers or min(8, os.cpu_count() or 1)
