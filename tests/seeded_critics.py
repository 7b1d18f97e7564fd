"""Networks that judge images, in their published layouts, with seeded weights."""

from __future__ import annotations

import json
from functools import cache

import torch
from torch import Tensor, nn

from released import GOLDEN, seeded_layout
from seeded import seeded_state
from stylefeatureeditor.evaluation.perceptual import (
    ArcFaceConfig,
    ArcFaceFeatures,
    Lpips,
    MocoFeatures,
    ResNetConfig,
)
from stylefeatureeditor.generator.discriminator import Discriminator
from stylefeatureeditor.generator.layers import blur_kernel
from stylefeatureeditor.weights.discriminator_keys import (
    ada_discriminator_state,
    rosinality_discriminator_state,
)
from stylefeatureeditor.weights.perceptual_keys import (
    arcface_state,
    moco_state,
    released_lpips_state,
)

PREFIXES = {
    "ada_64": "ada_discriminator_64.",
    "rosinality_256": "rosinality_discriminator.",
    "lpips_alex": "lpips_alex.",
    "lpips_vgg": "lpips_vgg.",
    "moco": "moco.",
}


@cache
def critic_layouts() -> dict[str, list]:
    """Return name -> [(key, shape), ...] of the published files."""
    return json.loads((GOLDEN / "losses_layouts.json").read_text())


def seeded_critic(name: str) -> dict[str, Tensor]:
    """Return the published state dict of a critic, whole."""
    entries = critic_layouts()[name]
    state = seeded_state(entries, PREFIXES[name])
    for key, shape in entries:
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros(shape, dtype=torch.int64)
        elif key.endswith(("kernel", "resample_filter")):
            state[key] = blur_kernel()
    return state


def ada_discriminator(size: int) -> Discriminator:
    """Return the seeded stylegan2-ada discriminator, of 64 or 1024 pixels."""
    if size == 1024:
        state = seeded_layout("sfe", "", keep="discriminator.")
        state = {key.removeprefix("discriminator."): value for key, value in state.items()}
    else:
        state = seeded_critic("ada_64")
    return _filled(Discriminator, *ada_discriminator_state(state))


def rosinality_discriminator() -> Discriminator:
    """Return the seeded rosinality discriminator of 256 pixels."""
    return _filled(Discriminator, *rosinality_discriminator_state(seeded_critic("rosinality_256")))


def lpips(net: str) -> Lpips:
    """Return LPIPS with a seeded trunk."""
    return _filled(Lpips, net, released_lpips_state(seeded_critic(f"lpips_{net}")))


def arcface() -> ArcFaceFeatures:
    """Return the seeded identity network."""
    state = seeded_layout("ir_se50", "id_loss.facenet.")
    return _filled(ArcFaceFeatures, ArcFaceConfig(), arcface_state(state))


def moco() -> MocoFeatures:
    """Return the seeded MoCo network."""
    return _filled(MocoFeatures, ResNetConfig(), moco_state(seeded_critic("moco")))


def _filled(kind: type[nn.Module], config: object, state: dict[str, Tensor]) -> nn.Module:
    network = kind(config)
    network.load_state_dict(state)
    return network
