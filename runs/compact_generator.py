"""The networks of a generator stage without their optimisers, in float16: small enough to keep.

    python runs/compact_generator.py OUT/generator-64 runs/checkpoints/NAME.safetensors

`sfe train generator --from` goes on from such a file, or grows the next size from it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from stylefeatureeditor.training.checkpoints import load_checkpoint
from stylefeatureeditor.weights.storage import save_tensors


def main(run: Path, target: Path) -> None:
    """Write the averaged generator and the discriminator of a run's last checkpoint."""
    loaded = load_checkpoint(run / "checkpoints")
    if loaded is None:
        sys.exit(f"{run} holds no checkpoint")
    step, state = loaded
    tensors = {
        f"{name}.{key}": tensor
        for name in ("average", "discriminator")
        for key, tensor in state["phase"][name].items()
    }
    save_tensors(target, tensors, {"step": str(step)}, torch.float16)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
