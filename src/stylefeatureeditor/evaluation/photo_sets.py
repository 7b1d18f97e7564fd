"""Sets of images by number: the photos, some of them, or images made elsewhere.

A folder of another tool's results takes part as it is: its images are matched with the photos by
name, whatever their format, and must have the photos' size. Nothing is resized on the way.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from stylefeatureeditor.data.image_sources import open_sources
from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.photo.image import read_photo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from torch import Tensor

    from stylefeatureeditor.data.image_sources import ImageSource

READERS = 4  # threads that read images


class PhotoSet(Protocol):
    """Images of one side, by number; `data.images.ImageSet` is one."""

    size: int
    names: tuple[str, ...]

    def __len__(self) -> int: ...

    def __hash__(self) -> int: ...

    def image(self, index: int) -> Tensor:
        """Return (3, size, size) uint8; raises PhotoError if the image cannot be had."""

    def content(self, index: int) -> bytes:
        """Return what an image is made from; raises PhotoError as `image` does."""


class SomePhotos:
    """Some images of a set, as a set of their own.

    Args:
        photos: the set.
        indices: which, in the order they shall have.
    """

    def __init__(self, photos: PhotoSet, indices: Sequence[int]) -> None:
        self.size = photos.size
        self.names = tuple(photos.names[index] for index in indices)
        self._photos, self._indices = photos, tuple(indices)

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Tensor:
        """Return one image, (3, size, size) uint8."""
        return self._photos.image(self._indices[index])

    def content(self, index: int) -> bytes:
        """Return what one image is made from."""
        return self._photos.content(self._indices[index])


class FolderOfResults:
    """Images made elsewhere, in the order of the photos; made by `match_by_name`.

    Args:
        places: the source of each photo's image, and its number there.
        names: of the photos.
        size: side that every image must have.
    """

    def __init__(
        self, places: Sequence[tuple[ImageSource, int]], names: Sequence[str], size: int
    ) -> None:
        self.names, self.size, self._places = tuple(names), size, places

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Tensor:
        """Return one image, (3, size, size) uint8.

        Raises:
            PhotoError: it cannot be read, or has another size.
        """
        pixels = self.pixels(index)
        height, width = pixels.shape[:2]
        if (height, width) != (self.size, self.size):
            raise PhotoError(
                f"{self._places[index][0].path}: the image for {self.names[index]} is {width} x "
                f"{height}, not {self.size} x {self.size}"
            )
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def pixels(self, index: int) -> np.ndarray:
        """Return one image as it is, (H, W, 3) uint8; raises PhotoError if it cannot be read."""
        return self._read(index, lambda content: read_photo(content).pixels)

    def content(self, index: int) -> bytes:
        """Return the file of one image; raises PhotoError if it cannot be read."""
        return self._read(index, bytes)

    def _read(self, index: int, decode: Callable[[bytes], Any]) -> Any:
        source, number = self._places[index]
        try:
            return decode(source.read(number))
        except Exception as error:  # readers of damaged archives and images raise almost anything
            raise PhotoError(f"{source.path}: {self.names[index]}: {error}") from error


def match_by_name(folder: str | Path, names: Sequence[str], size: int) -> FolderOfResults:
    """Open a folder, zip or tar of images and find the one of each photo.

    A photo finds its image by its whole name, else by the last part, else by that without suffix;
    the latter two only where they mean one image. Images of no photo are left alone.

    Args:
        folder: the images.
        names: of the photos.
        size: side of the photos.

    Raises:
        ConfigError: there is no image for some photo, or the first one has another size.
        PhotoError: an archive is damaged.
    """
    places = [(source, n) for source in open_sources(folder) for n in range(len(source.entries))]
    found = [source.entries[number].name for source, number in places]
    keys = (str, lambda name: PurePosixPath(name).name, lambda name: PurePosixPath(name).stem)
    lookups = [(key, _unique(map(key, found))) for key in keys]
    matched = {
        name: next((where[key(name)] for key, where in lookups if key(name) in where), None)
        for name in names
    }
    missing = [name for name, place in matched.items() if place is None]
    if missing:
        example = f"like {found[0]!r}" if found else "none at all"
        raise ConfigError(
            f"{folder} has no image for {len(missing)} of the {len(names)} photos, the first is "
            f"{missing[0]!r}; its images are named {example}, and names must agree"
        )
    chosen = [places[place] for name in names if (place := matched[name]) is not None]
    results = FolderOfResults(chosen, names, size)
    for index in range(len(results)):
        try:
            height, width = results.pixels(index).shape[:2]
        except PhotoError:
            continue  # a damaged one is reported in its own row
        if (width, height) != (size, size):
            raise ConfigError(
                f"the images of {chosen[0][0].path} are {width} x {height}, the photos are "
                f"measured at {size} x {size}: measure at --size {width}, or resize the images "
                "yourself"
            )
        break
    return results


@functools.lru_cache(maxsize=8)
def content_of(photos: PhotoSet) -> str:
    """Return 16 hex digits that change with every image of a set and its name."""

    def digest(index: int) -> bytes:
        try:
            return hashlib.sha256(photos.content(index)).digest()
        except PhotoError:
            return b"unreadable"

    whole = hashlib.sha256("\n".join(photos.names).encode())
    with ThreadPoolExecutor(READERS) as pool:
        for each in pool.map(digest, range(len(photos))):
            whole.update(each)
    return whole.hexdigest()[:16]


def _unique(keys: Iterable[str]) -> dict[str, int]:
    """Keys that occur once, with their places."""
    listed = list(keys)
    times = Counter(listed)
    return {key: place for place, key in enumerate(listed) if times[key] == 1}
