"""The order of training images: endless, seeded, and a function of the step alone.

Let n images fill a global batch of G = W * B (W ranks, B images each). Position p = t * G + j
of step t lies in epoch p // n, and each epoch is its own permutation drawn from (seed, epoch).
Rank r takes the positions j in [r B, (r + 1) B). So a resumed run needs no state but its step, and
two ranks of B / 2 see the same global batch as one of B.

When the images come from tar shards that do not fit in memory, the permutation keeps reads close
together: the shards are shuffled, and only the images of `SHARD_WINDOW` neighbouring shards are
mixed with each other. The order is still a function of (seed, step) and the shard sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stylefeatureeditor.errors import ConfigError

SHARD_WINDOW = 8  # shards open at a time; a compromise between mixing and distance of reads


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which images a rank sees at a step."""

    length: int  # n, number of images
    batch_size: int  # B, images per rank and step
    seed: int = 0
    rank: int = 0  # r of `world_size` W
    world_size: int = 1
    # number of images per shard in their order, sum n; empty mixes all images freely
    shards: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.length < 1 or self.batch_size < 1 or not 0 <= self.rank < self.world_size:
            raise ConfigError(f"expected images, a batch size and a rank below the world's: {self}")
        if self.shards and sum(self.shards) != self.length:
            raise ConfigError(f"the shards hold {sum(self.shards)} images, not {self.length}")

    def at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the images of one step and which of them to mirror.

        Returns:
            indices (B,) int64 in [0, n), and flips (B,) bool, true for about one half.
        """
        start = (step * self.world_size + self.rank) * self.batch_size
        positions = np.arange(start, start + self.batch_size, dtype=np.int64)
        indices = np.empty(self.batch_size, dtype=np.int64)
        flips = np.empty(self.batch_size, dtype=bool)
        epochs, places = np.divmod(positions, self.length)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            order, mirrored = _epoch(self.seed, int(epoch), self.length, self.shards)
            indices[here], flips[here] = order[places[here]], mirrored[places[here]]
        return indices, flips


@lru_cache(maxsize=4)
def _epoch(
    seed: int, epoch: int, length: int, shards: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    # SeedSequence wants words that are not negative
    draw = np.random.default_rng([seed % (1 << 64), epoch])
    if shards:
        ends = np.cumsum(shards)
        shuffled = draw.permutation(len(shards))
        windows = [
            np.concatenate([np.arange(ends[s] - shards[s], ends[s]) for s in part])
            for part in np.split(shuffled, range(SHARD_WINDOW, len(shards), SHARD_WINDOW))
        ]
        order = np.concatenate([draw.permutation(window) for window in windows])
    else:
        order = draw.permutation(length)
    return order, draw.random(length) < 0.5
