"""Several methods, models, or folders of images made elsewhere, measured on the same photos.

A folder of another tool's results takes part as it is: its images are matched with the photos by
name, whatever their format, and must have the photos' size. Nothing is resized on the way.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import torch

from stylefeatureeditor.data.image_sources import open_sources
from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.photo.image import read_photo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor


class FolderOfResults:
    """Images made elsewhere, in the order of the photos; made by `match_by_name`.

    Args:
        path: the folder, zip or tar, for messages.
        read: number in the order of the photos -> the bytes of its file.
        names: of the photos.
        size: side that every image must have.
    """

    def __init__(
        self, path: Path, read: Callable[[int], bytes], names: Sequence[str], size: int
    ) -> None:
        self.path, self.names, self.size = path, tuple(names), size
        self._read = read

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Tensor:
        """Return one image, (3, size, size) uint8.

        Raises:
            PhotoError: it cannot be read, or has another size.
        """
        content = self.content(index)
        try:
            pixels = read_photo(content).pixels
        except Exception as error:  # Pillow's readers raise almost anything on damaged data
            raise PhotoError(f"{self.path}: {self.names[index]}: {error}") from error
        height, width = pixels.shape[:2]
        if (height, width) != (self.size, self.size):
            raise PhotoError(
                f"{self.path}: the image for {self.names[index]} is {width} x {height}, not "
                f"{self.size} x {self.size}"
            )
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def content(self, index: int) -> bytes:
        """Return the file of one image.

        Raises:
            PhotoError: it cannot be read.
        """
        try:
            return self._read(index)
        except Exception as error:  # an archive's reader raises almost anything on damaged data
            raise PhotoError(f"{self.path}: {self.names[index]}: {error}") from error


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
    sources = open_sources(folder)
    places = [(source, number) for source in sources for number in range(len(source.entries))]
    found = [source.entries[number].name for source, number in places]
    lookups = [(key, _unique(found, key)) for key in (str, _base, _stem)]
    matched = [
        next((where[key(name)] for key, where in lookups if key(name) in where), None)
        for name in names
    ]
    missing = [name for name, place in zip(names, matched, strict=True) if place is None]
    if missing:
        example = f"like {found[0]!r}" if found else "none at all"
        raise ConfigError(
            f"{folder} has no image for {len(missing)} of the {len(names)} photos, the first is "
            f"{missing[0]!r}; its images are named {example}, and names must agree"
        )
    chosen = [places[place] for place in matched if place is not None]

    def read(index: int) -> bytes:
        source, number = chosen[index]
        return source.read(number)

    results = FolderOfResults(sources[0].path, read, names, size)
    _check_size(results, size)
    return results


def _check_size(results: FolderOfResults, size: int) -> None:
    """Raise ConfigError if the first image that can be read at all has another size."""
    for index in range(len(results)):
        try:
            pixels = read_photo(results._read(index)).pixels
        except Exception:  # noqa: BLE001 (a damaged one is reported in its own row)
            continue
        height, width = pixels.shape[:2]
        if (width, height) != (size, size):
            raise ConfigError(
                f"the images of {results.path} are {width} x {height}, the photos are measured at "
                f"{size} x {size}: measure at --size {width}, or resize the images yourself"
            )
        return


def _unique(names: Sequence[str], key: Callable[[str], str]) -> dict[str, int]:
    times = Counter(map(key, names))
    return {key(name): place for place, name in enumerate(names) if times[key(name)] == 1}


def _base(name: str) -> str:
    return PurePosixPath(name).name


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
