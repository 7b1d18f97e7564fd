"""Sets of images by number, and what tells two sets apart."""

from __future__ import annotations

import functools
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import torch

from stylefeatureeditor.errors import ConfigError, PhotoError, check_shape
from stylefeatureeditor.photo.image import to_uint8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

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


class MemoryPhotos:
    """Images that are in memory already.

    Args:
        pixels: (n, 3, S, S) in [-1, 1]; they count as rounded to 8 bits.
        names: one for each; None numbers them.
    """

    def __init__(self, pixels: Tensor, names: Sequence[str] | None = None) -> None:
        check_shape("pixels", pixels, (None, 3, None, pixels.shape[-2]))
        self.size = pixels.shape[-1]
        self.names = tuple(names or (f"{index:05d}" for index in range(len(pixels))))
        if len(self.names) != len(pixels):
            raise ConfigError(f"{len(pixels)} images have {len(self.names)} names")
        self._levels = torch.from_numpy(to_uint8(pixels)).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Tensor:
        """Return one image, (3, S, S) uint8."""
        return self._levels[index].contiguous()

    def content(self, index: int) -> bytes:
        """Return the pixels of one image."""
        return self.image(index).numpy().tobytes()


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
