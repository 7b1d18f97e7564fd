"""What the phases of the method share: which networks move, which stand still, and how both look.

A frozen network gets no gradient and stays in eval mode, BatchNorm statistics included
(docs/adr/0010). One that trains keeps BatchNorm in the mode its phase asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from stylefeatureeditor.metrics.pixel import SSIM_SIDE, l2, ssim

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator

BatchNormMode = Literal["batch", "frozen"]
NORMS = (nn.BatchNorm2d, nn.BatchNorm1d, nn.SyncBatchNorm)
VALIDATION_BATCH = 16


def freeze(network: nn.Module) -> None:
    """Take a network out of training: no gradients, eval mode."""
    network.requires_grad_(requires_grad=False)
    network.eval()


def set_training(network: nn.Module, batch_norm: BatchNormMode) -> None:
    """Put a network in training mode.

    Args:
        network: what trains.
        batch_norm: "batch" normalises by the batch at hand and moves the running statistics;
            "frozen" uses the running statistics and leaves them.
    """
    network.train()
    if batch_norm == "frozen":
        for module in network.modules():
            if isinstance(module, NORMS):
                module.eval()


def synchronised(network: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Let BatchNorm see the batch of all processes, where torch can: on CUDA.

    Elsewhere every process normalises by its own part, and the statistics of the first are saved;
    "frozen" BatchNorm makes several processes equal one.
    """
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return network


@torch.no_grad()
def in_batches(
    draw: Callable[[Tensor], tuple[Tensor, ...]], photos: Tensor, device: torch.device
) -> tuple[Tensor, ...]:
    """Return what `draw` makes of photos (n, 3, S, S), a few at a time, on the CPU in float32."""
    found = [draw(part.to(device)) for part in photos.split(VALIDATION_BATCH)]
    return tuple(torch.cat(column).float().cpu() for column in zip(*found, strict=True))


def likeness(drawn: Tensor, photos: Tensor) -> dict[str, float]:
    """Return mean L2 and, if the images are large enough, mean SSIM of two batches."""
    drawn = drawn.clamp(-1, 1)
    found = {"l2": l2(drawn, photos).mean().item()}
    if photos.shape[-1] >= SSIM_SIDE:
        found["ssim"] = ssim(drawn, photos).mean().item()
    return found


def picture(rows: list[Tensor]) -> Tensor:
    """Join rows of images, (n, 3, S, S) each, to one picture (3, rows * S, n * S) in [-1, 1]."""
    lines = [torch.cat(list(row.float().cpu()), dim=2) for row in rows]
    return torch.cat(lines, dim=1).clamp(-1, 1)
