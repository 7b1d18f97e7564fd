"""Progressive growing: train G and D at a small size, go on at twice that (Karras et al., 2018).

    phase = grow_from(state, replace(config, network=..., discriminator=...))

Most of what a face is gets learnt below 64 px, where a step costs little. Unlike in the publication
there is no blending: StyleGAN2's sum of RGB layers lets the new one begin at zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training.generator import GeneratorPhase, GeneratorTrainingConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stylefeatureeditor.generator.stylegan2 import Generator


def grow_from(
    state: Mapping[str, Any], config: GeneratorTrainingConfig, held_out: Tensor | None = None
) -> GeneratorPhase:
    """Return a phase of 2S that starts from the `state_dict` of one of S.

    Widths depend on the side alone, so all layers up to S carry over. G's new RGB layer starts at
    zero: its first images are those of S, upsampled. D's new block starts at random; let D find its
    feet for some steps with `generator_start`. Optimisers start afresh.

    Args:
        state: of a phase whose networks differ from `config` in size alone.
        config: of the new phase.
        held_out: as for `GeneratorPhase`.

    Raises:
        ConfigError: a layer of the smaller networks is missing in the larger, or has another shape.
    """
    phase = GeneratorPhase(config, held_out)
    for name in ("generator", "average"):
        network: Generator = getattr(phase, name)
        _carry_over(network, state[name])
        nn.init.zeros_(network.get_parameter(f"to_rgb.{len(network.to_rgb) - 1}.conv.weight"))
    _carry_over(phase.discriminator, _discriminator_layers(state["discriminator"]))
    return phase


def _carry_over(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    own = network.state_dict()
    for name, tensor in state.items():
        room = tuple(own[name].shape) if name in own else "missing"
        if tuple(tensor.shape) != room:
            raise ConfigError(
                f"{name} is {tuple(tensor.shape)} in the smaller network and {room} in the larger: "
                "only the size may differ"
            )
    network.load_state_dict(own | dict(state))


def _discriminator_layers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename for twice the size: blocks count from the largest, and from_rgb belongs to it."""
    kept = {}
    for name, tensor in state.items():
        room, _, rest = name.partition(".")
        if room == "blocks":
            index, _, rest = rest.partition(".")
            kept[f"blocks.{int(index) + 1}.{rest}"] = tensor
        elif room != "from_rgb":
            kept[name] = tensor
    return kept
