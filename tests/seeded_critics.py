"""Networks that judge images, in their published layouts, with seeded weights."""

from __future__ import annotations

import json
from functools import cache

import torch
from torch import Tensor, nn

from released import GOLDEN, seeded_layout
from seeded import seeded_state
from stylefeatureeditor.generator.discriminator import Discriminator
from stylefeatureeditor.generator.layers import blur_kernel
from stylefeatureeditor.metrics.perceptual import (
    ArcFaceConfig,
    ArcFaceFeatures,
    Lpips,
    MocoFeatures,
    ResNetConfig,
)
from stylefeatureeditor.weights.released import (
    ada_discriminator_state,
    arcface_state,
    lpips_state,
    moco_state,
    rosinality_discriminator_state,
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


def released_lpips(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return an Lpips state from the release's module, which keeps trunk and weights together."""
    trunk = {
        key.replace("net.layers", "features"): value
        for key, value in state.items()
        if key.startswith("net.layers.")
    }
    weights = {
        key.replace("lin.", "lin").replace(".1.", ".model.1."): value
        for key, value in state.items()
        if key.startswith("lin.")
    }
    return lpips_state(trunk, weights)


def lpips(net: str) -> Lpips:
    """Return LPIPS with a seeded trunk."""
    return _filled(Lpips, net, released_lpips(seeded_critic(f"lpips_{net}")))


def arcface() -> ArcFaceFeatures:
    """Return the seeded identity network."""
    state = seeded_layout("ir_se50", "id_loss.facenet.")
    return _filled(ArcFaceFeatures, ArcFaceConfig(), arcface_state(state))


def ir_layout(depths, channels=(64, 64, 128, 256, 512), side: int = 7) -> dict[str, tuple]:
    """Return key -> shape of a published IR network without squeeze, as CurricularFace's."""

    def norm(key: str, width: int, *, affine: bool = True) -> dict[str, tuple]:
        own = {f"{key}.weight": (width,), f"{key}.bias": (width,)} if affine else {}
        running = {f"{key}.running_mean": (width,), f"{key}.running_var": (width,)}
        return {**own, **running, f"{key}.num_batches_tracked": ()}

    width = channels[0]
    layout = {"input_layer.0.weight": (width, 3, 3, 3), **norm("input_layer.1", width)}
    layout["input_layer.2.weight"] = (width,)
    place = 0
    for out, depth in zip(channels[1:], depths, strict=True):
        for _ in range(depth):
            at = f"body.{place}"
            if width != out:
                layout[f"{at}.shortcut_layer.0.weight"] = (out, width, 1, 1)
                layout |= norm(f"{at}.shortcut_layer.1", out)
            layout |= norm(f"{at}.res_layer.0", width)
            layout[f"{at}.res_layer.1.weight"] = (out, width, 3, 3)
            layout[f"{at}.res_layer.2.weight"] = (out,)
            layout[f"{at}.res_layer.3.weight"] = (out, out, 3, 3)
            layout |= norm(f"{at}.res_layer.4", out)
            width, place = out, place + 1
    layout |= norm("output_layer.0", width)
    layout |= {"output_layer.3.weight": (512, width * side**2), "output_layer.3.bias": (512,)}
    return {**layout, **norm("output_layer.4", 512, affine=False)}


def moco() -> MocoFeatures:
    """Return the seeded MoCo network."""
    return _filled(MocoFeatures, ResNetConfig(), moco_state(seeded_critic("moco")))


def _filled(kind: type[nn.Module], config: object, state: dict[str, Tensor]) -> nn.Module:
    network = kind(config)
    network.load_state_dict(state)
    return network
