"""Loading of published weights under our names: a plain rename that lets nothing slip.

The counters `num_batches_tracked` of batch norms play no part in inference and some conversions
drop them, so they are neither asked for nor read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylefeatureeditor.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor, nn

_COUNTER = "num_batches_tracked"


def parameter_names(network: nn.Module) -> list[str]:
    """Names of a network's parameters and buffers, without the counters of batch norms."""
    return [name for name in network.state_dict() if not name.endswith(_COUNTER)]


def released_keys(network: nn.Module, modules: Mapping[str, str]) -> dict[str, str]:
    """Map every published key of a network to ours.

    Args:
        network: whose names are wanted; may live on the meta device.
        modules: our module (or parameter) name -> the published one.
    """
    keys = {}
    for name in parameter_names(network):
        if name in modules:
            keys[modules[name]] = name
        else:
            module, _, leaf = name.rpartition(".")
            keys[f"{modules[module]}.{leaf}"] = name
    assert len(keys) == len(parameter_names(network)), "two of our names share a published key"
    return keys


def load_renamed(
    network: nn.Module,
    state: Mapping[str, Tensor],
    keys: Mapping[str, str],
    *,
    unused: Collection[str] = (),
) -> None:
    """Copy a published state_dict into `network`.

    Args:
        network: what `keys` was made for.
        state: published key -> tensor.
        keys: published key -> ours, from `released_keys`.
        unused: published keys that may be there and have no counterpart.

    Raises:
        WeightsError: a key is missing or unknown, or a tensor has another shape.
    """
    given = {
        key: tensor
        for key, tensor in state.items()
        if key not in unused and not key.endswith(_COUNTER)
    }
    missing, unknown = sorted(keys.keys() - given.keys()), sorted(given.keys() - keys.keys())
    if missing or unknown:
        raise WeightsError(
            f"{type(network).__name__} weights: expected the published layout, got a file with "
            f"{len(missing)} keys missing ({_some(missing)}) and {len(unknown)} unknown "
            f"({_some(unknown)}); check that this is the right file"
        )
    ours = network.state_dict()
    for key, name in keys.items():
        expected, actual = tuple(ours[name].shape), tuple(given[key].shape)
        if expected != actual:
            raise WeightsError(
                f"{type(network).__name__} weights: expected {key} of shape {expected}, "
                f"got {actual}; check that file and config belong together"
            )
    network.load_state_dict({name: given[key] for key, name in keys.items()}, strict=False)


def _some(names: list[str]) -> str:
    """The first names of a list, for a message."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
