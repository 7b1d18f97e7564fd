"""Images made elsewhere, matched with the photos, and a fingerprint of a set.

The images of another tool are matched with the photos by name, in any format, and must have the
photos' size.
"""

from __future__ import annotations

import functools
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from stylefeatureeditor.data.image_sources import find_by_name, open_sources
from stylefeatureeditor.data.images import ImageSet
from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.photo.image import read_photo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

READERS = 4  # threads that read images


class FolderOfResults(ImageSet):
    """Images made elsewhere, in the order of the photos; made by `match_by_name`."""

    def _image(self, index: int) -> np.ndarray:
        """One image, (3, size, size) uint8; PhotoError if it has another size."""
        pixels = self.pixels(index)
        height, width = pixels.shape[:2]
        if (height, width) != (self.size, self.size):
            raise PhotoError(
                f"{self._places[index][0].path}: the image for {self.names[index]} is {width} x "
                f"{height}, not {self.size} x {self.size}"
            )
        return pixels.transpose(2, 0, 1)

    def pixels(self, index: int) -> np.ndarray:
        """Return one image as it is, (H, W, 3) uint8."""
        return self._read(index, lambda content: read_photo(content).pixels)


def match_by_name(
    folder: str | Path, names: Sequence[str], size: int, only: Sequence[int] | None = None
) -> FolderOfResults:
    """Open a folder, zip or tar of images and find the one of each photo.

    Names are matched as by `find_by_name`. Images of no photo are left alone. With
    `only`, numbers of photos, the others need no image, and what stands for them is any.
    """
    places = [(source, n) for source in open_sources(folder) for n in range(len(source.entries))]
    found = [source.entries[number].name for source, number in places]
    matched = find_by_name(names, found)
    needed = range(len(names)) if only is None else only
    missing = [names[number] for number in needed if matched[number] is None]
    if missing:
        example = f"like {found[0]!r}" if found else "none at all"
        raise ConfigError(
            f"{folder} has no image for {len(missing)} of the {len(needed)} photos, the first is "
            f"{missing[0]!r}; its images are named {example}, and names must agree"
        )
    some = next(place for place in matched if place is not None)
    chosen = [places[some if place is None else place] for place in matched]
    results = FolderOfResults(chosen, names, size)
    for index in needed:
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
def content_of(photos: ImageSet) -> str:
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
