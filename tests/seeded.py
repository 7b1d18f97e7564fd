"""Weights and inputs of the golden numbers, rebuilt from a name and a shape.

A name is hashed, the hash seeds a normal draw, and the kind of tensor (read off its key) decides
how the draw is scaled, so that networks of any depth keep sane activations. The golden files under
tests/golden were made with the same rule and no `SEED`.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Networks whose layers scale their weights by 1 / sqrt(fan in) at run time.
_EQUALIZED = ("decoder", "discriminator", "rosinality_discriminator", "mapper", "delta_mapper")
# Buffers and factors that the rule leaves as a constructor makes them.
_UNSEEDED = ("kernel", "resample_filter", "mean", "std", "num_batches_tracked")


SEED = ""  # put before every name, for other weights than the golden ones


def draw(key: str, shape: Sequence[int]) -> Tensor:
    """Standard normal float32 tensor that depends on `key` and `shape` only."""
    digest = hashlib.sha256((SEED + key).encode()).digest()
    seed = int.from_bytes(digest[:8], "little") & (2**63 - 1)
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def seeded_input(name: str, shape: Sequence[int]) -> Tensor:
    """Standard normal input called `name`."""
    return draw(f"input:{name}", shape)


def seeded_image(name: str, size: int, batch: int = 1) -> Tensor:
    """Smooth colours with grain, (batch, 3, size, size) in (-1, 1)."""
    colours = seeded_input(f"{name}.low", (batch, 3, 32, 32))
    colours = interpolate(colours, size=(size, size), mode="bilinear", align_corners=False)
    return torch.tanh(colours + 0.1 * seeded_input(f"{name}.grain", (batch, 3, size, size)))


def latent_avg() -> Tensor:
    """Mean latent, (512,)."""
    return tensor_for("latent_avg", (512,))


def fixed_w(name: str, batch: int = 1, styles: int = 18, scale: float = 0.7) -> Tensor:
    """W+ code scattered around the mean latent, (batch, styles, 512)."""
    return latent_avg() + scale * seeded_input(name, (batch, styles, 512))


def background_mask(size: int = 1024) -> Tensor:
    """(1, 3, size, size): 0 within 350 pixels of (x, y) = (540, 480), 1 outside."""
    rows = torch.arange(size)[:, None]
    columns = torch.arange(size)[None, :]
    outside = (columns - 540).square() + (rows - 480).square() > 350**2
    return outside.float().repeat(1, 3, 1, 1)


def tensor_for(
    key: str, shape: Sequence[int], *, batch_norm: bool = False, drawn_as: str | None = None
) -> Tensor:
    """Value of the weight `key`, its network's prefix included.

    `batch_norm` says that the weight or bias belongs to a BatchNorm, which the key cannot show.
    `drawn_as` is the name that is hashed, where it is not the key.
    """
    normal = draw(drawn_as or key, shape)
    owner, _, leaf = key.rpartition(".")
    if leaf == "running_var" or (key.startswith("lpips") and ".lin." in key):
        normal = normal.abs()
    if batch_norm and leaf in ("weight", "bias"):
        value = normal * 0.1 + (1 if leaf == "weight" else 0)
        return value * 0.3 if _ends_residual_branch(owner) else value
    if leaf == "running_var" or (leaf == "bias" and owner.endswith(".modulation")):
        return normal * 0.1 + 1
    if normal.ndim == 1 and _is_slope(key):
        return normal * 0.05 + 0.25
    return _scaled(key, normal)


def _scaled(key: str, normal: Tensor) -> Tensor:
    """Value of a tensor that is a plain multiple of its draw."""
    owner, _, leaf = key.rpartition(".")
    if leaf == "latent_avg":
        return normal * 0.5
    if _learns_at_a_hundredth(key):
        return normal * (100 if leaf == "weight" else 10)
    if leaf in ("bias", "running_mean") or _is_small(key, owner):
        return normal * 0.1
    if ".to_rgb" in key and key.endswith(".conv.weight"):
        return normal * 0.2
    if _is_equalized(key):
        return normal
    return normal.div_((normal.numel() / normal.shape[0]) ** 0.5)  # root of the fan in


def _is_small(key: str, owner: str) -> bool:
    """Whether the key is a noise strength or a linear layer of LPIPS."""
    return owner.endswith(".noise") or (key.startswith("lpips") and ".lin." in key)


def _is_slope(key: str) -> bool:
    """Whether a vector `key` is the slope of a PReLU: every other vector is told by its name."""
    owner, _, leaf = key.rpartition(".")
    named = leaf in ("bias", "latent_avg", "running_mean", "running_var")
    return not (named or _is_small(key, owner) or _is_equalized(key))


def seeded_state(entries: Iterable[tuple[str, Sequence[int]]], prefix: str) -> dict[str, Tensor]:
    """State dict for a list of (key without prefix, shape); unseeded buffers are left out."""
    shapes = dict(entries)
    state = {}
    for key, shape in shapes.items():
        owner, _, leaf = key.rpartition(".")
        if leaf not in _UNSEEDED:
            norm = f"{owner}.running_var" in shapes
            state[key] = tensor_for(prefix + key, shape, batch_norm=norm)
    return state


def fill(module: nn.Module, prefix: str) -> nn.Module:
    """Fill a module whose state dict already has the seeded key names; return it in eval mode."""
    own = module.state_dict()
    state = seeded_state([(key, value.shape) for key, value in own.items()], prefix)
    module.load_state_dict({**own, **state})
    return module.eval()


def _ends_residual_branch(owner: str) -> bool:
    """Whether `owner` is the last BatchNorm of a residual branch, damped for stability."""
    parts = owner.split(".")
    if parts[-1] == "bn3" and len(parts) > 1:
        return True
    if parts[-2:] == ["res_layer", "4"]:
        return True
    return (
        len(parts) > 4
        and parts[-4] == "body"
        and parts[-3].isdigit()
        and parts[-2:] == ["body", "5"]
    )


def _learns_at_a_hundredth(key: str) -> bool:
    """Whether the key sits in a mapping network of learning rate multiplier 0.01."""
    parts = key.split(".")
    if parts[:2] == ["decoder", "style"]:
        return len(parts) > 3 and parts[2].isdigit()
    mapping = any(part.endswith("mapping") and number.isdigit() for part, number in pairwise(parts))
    return parts[0] in ("mapper", "delta_mapper") and mapping


def _is_equalized(key: str) -> bool:
    """Whether the network scales this weight at run time."""
    parts = key.split(".")
    if parts[0] in _EQUALIZED or parts[0].startswith("ada_discriminator_"):
        return len(parts) > 1
    return parts[:2] == ["e4e_encoder", "styles"] and parts[3:4] == ["linear"]
