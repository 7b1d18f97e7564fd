"""Seeds made from what a random choice belongs to, so that no generator's state is ever saved.

Before each step the loop seeds torch with (seed, step, rank, part of the batch): a resumed run
draws the same numbers as one that was never stopped. A choice that all ranks must agree on (the
edit direction of a batch) is drawn from `shared_generator(seed, step)` instead.
"""

from __future__ import annotations

import numpy as np
import torch


def seed_of(*parts: int) -> int:
    """Return a seed in [0, 2^63) that depends on every part and on their order."""
    words = np.random.SeedSequence([part % (1 << 64) for part in parts])
    return int(words.generate_state(1, np.uint64)[0] >> np.uint64(1))


def shared_generator(seed: int, step: int, purpose: int = 0) -> torch.Generator:
    """Return a CPU generator that is the same on every rank; `purpose` tells several apart."""
    return torch.Generator().manual_seed(seed_of(seed, step, purpose, -1))
