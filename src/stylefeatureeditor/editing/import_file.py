"""Directions from files of other projects, as an EditDirection and a catalogue entry.

    (D,)  (1, D)                one vector for every style: InterFaceGAN, SeFa, e4e directions
    (N, D)  (1, N, D)  (1, N D) one vector per style: boundaries in W+
    {comp, mean, std}           a GANSpace table, of which one component is taken

The caller reads the file; this takes its tensors.

Shapes: N style vectors, D code width, K components.
"""

from __future__ import annotations

from collections.abc import Mapping

from stylefeatureeditor.editing.catalog import CatalogEntry, pca_component, to_tensor
from stylefeatureeditor.editing.direction import EditDirection, LinearDirection, PcaDirection
from stylefeatureeditor.errors import DirectionError

GANSPACE_KEYS = ("comp", "mean", "std")


def direction_from_tensor(
    content: object,
    name: str,
    *,
    num_styles: int,
    style_dim: int,
    scale: float = 1.0,
    component: int | None = None,
    layers: tuple[int, int] | None = None,
) -> LinearDirection | PcaDirection:
    """Return the direction that a file describes: a tensor, a table of one, or a GANSpace table.

    `scale` 0.5 gives InterFaceGAN vectors their published strength; `layers` are [start, end).
    DirectionError if the content is no direction, or one of another generator.
    """
    if isinstance(content, Mapping):
        if all(key in content for key in GANSPACE_KEYS):
            return _ganspace(content, name, style_dim, component, layers)
        tensors = list(content.values())
        if len(tensors) != 1:
            raise DirectionError(
                f"direction '{name}': expected one tensor or the GANSpace keys "
                f"{', '.join(GANSPACE_KEYS)}, got a table with {len(tensors)} entries"
            )
        content = tensors[0]
    vector = to_tensor(name, content)
    shape = tuple(vector.shape)
    whole = num_styles * style_dim
    if shape in {(style_dim,), (1, style_dim)}:
        vector = vector.reshape(style_dim)
    elif shape in {(num_styles, style_dim), (1, num_styles, style_dim), (whole,), (1, whole)}:
        vector = vector.reshape(num_styles, style_dim)
    else:
        raise DirectionError(
            f"direction '{name}': expected shape ({style_dim},), (1, {style_dim}), "
            f"({num_styles}, {style_dim}) or (1, {whole}) for this generator, got {shape}"
        )
    if not vector.any():
        raise DirectionError(f"direction '{name}' is zero everywhere: it would change nothing")
    return LinearDirection(name, vector, scale, layers)


def entry_for(
    direction: EditDirection,
    useful_range: tuple[float, float],
    *,
    label: str = "",
    help_text: str = "",
    group: str = "own",
) -> CatalogEntry:
    """Return the catalogue entry of an imported or fitted direction, its tensors included.

    DirectionError if the direction is of another kind, or its name cannot be typed.
    """
    match direction:
        case LinearDirection(vector=vector, scale=scale, layers=layers):
            kind, tensors = "linear", {"vector": vector}
        case PcaDirection(component=component, mean=mean, std=std, layers=layers):
            kind, scale = "pca", 1.0
            tensors = {"component": component, "mean": mean, "std": mean.new_tensor(std)}
        case _:
            raise DirectionError(
                f"direction '{direction.name}': only linear and PCA directions can be stored, "
                f"got {type(direction).__name__}"
            )
    return CatalogEntry(
        name=direction.name,
        kind=kind,
        useful_range=useful_range,
        label=label or direction.name.replace("_", " ").capitalize(),
        help=help_text,
        group=group,
        scale=scale,
        layers=layers,
        tensors={key: tensor.detach().float().cpu().clone() for key, tensor in tensors.items()},
    )


def _ganspace(
    table: Mapping[str, object],
    name: str,
    style_dim: int,
    component: int | None,
    layers: tuple[int, int] | None,
) -> PcaDirection:
    parts = {key: to_tensor(name, table[key]) for key in GANSPACE_KEYS}
    count = parts["std"].numel()
    if component is None:
        raise DirectionError(
            f"direction '{name}': the file holds {count} components: "
            f"say which one, 0 to {count - 1}"
        )
    if parts["comp"].numel() != count * style_dim or parts["mean"].numel() != style_dim:
        raise DirectionError(
            f"direction '{name}': expected {count} components and a mean of width {style_dim}, got "
            f"{tuple(parts['comp'].shape)} and {tuple(parts['mean'].shape)}"
        )
    parts["comp"] = parts["comp"].reshape(count, style_dim)
    return pca_component(name, parts, component, layers)
