"""From published checkpoints to a Model, and to single networks that training starts from.

    SFE            {'state_dict': {'inverter.*', 'encoder.*' (= H), ...}, 'latent_avg', ...}
    generator      {'g_ema', 'latent_avg'} of stylegan2-pytorch, an NVIDIA .pkl, or one saved whole
    discriminator  {'d'} of stylegan2-pytorch, or an NVIDIA .pkl
    e4e            {'state_dict': {'encoder.*', ...}}
    Inverter       {'state_dict': {'encoder.*', ...}}, SFE's after phase 1
    trunks         ArcFace IR-SE50 .pth for e4e's, iresnet50 .pth for the Inverter's

The release reads G and latent_avg from the generator's file and E from e4e's; so do we. A full SFE
checkpoint holds copies of both, which serve when those files are not given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.generator.stylegan2 import Generator
from stylefeatureeditor.inversion.feature_style_encoder import FeatureStyleEncoderConfig
from stylefeatureeditor.inversion.inverter import InverterConfig
from stylefeatureeditor.model import Model, ModelConfig
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.configs import to_plain
from stylefeatureeditor.weights.key_maps import without_prefix
from stylefeatureeditor.weights.released import (
    ESTIMATE,
    ada_discriminator_state,
    e4e_state,
    feature_editor_state,
    generator_state,
    inverter_state,
    ir_trunk_state,
    iresnet_trunk_state,
    nvidia_generator_state,
    rosinality_discriminator_state,
)
from stylefeatureeditor.weights.restricted import Module, module_tensors
from stylefeatureeditor.weights.storage import save_tensors
from stylefeatureeditor.weights.unpickle import NvidiaModule, read_nvidia_pickle, read_torch

if TYPE_CHECKING:
    from pathlib import Path

    from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
    from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
    from stylefeatureeditor.weights.key_maps import State

AUTO_CATALOG = "auto"
FFHQ_SIZES = (1024, 18, 512)  # side, styles, width of a style


@dataclass(frozen=True)
class Checkpoint:
    """The table of a .pt file; `path` is for messages."""

    path: Path
    content: Mapping[str, Any]

    def tensors(self, name: str | None = "state_dict") -> State:
        """Return a table of tensors, without the 'module.' that DataParallel puts into keys.

        `name` None means the whole file. WeightsError if there is no such table.
        """
        table = self.content if name is None else self.content.get(name)
        if isinstance(table, Module):
            table = module_tensors(table, str(self.path))
        if not isinstance(table, Mapping) or not all(
            isinstance(key, str) and isinstance(value, Tensor) for key, value in table.items()
        ):
            where = "" if name is None else f" {name!r}"
            raise WeightsError(
                f"{self.path} is a checkpoint of another method or kind: it has no table of "
                f"tensors{where}"
            )
        return {re.sub(r"(^|\.)module\.", r"\1", key): value for key, value in table.items()}

    def encoder(self) -> State:
        """Return what stands under 'encoder.' in 'state_dict'."""
        return without_prefix(self.tensors(), "encoder.")

    def latent_avg(self, default: object = None) -> Tensor:
        """Return the mean of w, or `default`; WeightsError if neither is a tensor."""
        mean = self.content.get("latent_avg", default)
        if not isinstance(mean, Tensor):
            raise WeightsError(
                f"{self.path} holds no 'latent_avg', the mean of the generator's codes"
            )
        return mean


def read_checkpoint(path: Path) -> Checkpoint:
    """Return what a .pt file holds, a whole generator as 'g_ema'; WeightsError if no table."""
    content = read_torch(path)
    if isinstance(content, Module):
        content = {"g_ema": content}
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds {type(content).__name__}, expected a checkpoint's table")
    return Checkpoint(path, content)


@dataclass(frozen=True)
class ReleasedFiles:
    """Published files that make one model."""

    sfe: Path  # the phase-2 checkpoint of StyleFeatureEditor, full or light
    # StyleGAN2, .pt or .pkl; None takes the copy inside `sfe`, as it does of e4e
    generator: Path | None = None
    e4e: Path | None = None  # the e4e encoder


def convert_released(
    source: ReleasedFiles,
    *,
    name: str,
    catalog: str | None,
    draw_noise: bool = False,
    label: int | None = None,
    notes: dict[str, str] | None = None,
) -> Model:
    """Return the model that published checkpoints describe, in float32.

    `catalog` is the family of published directions: "ffhq", "cars", None, or "auto" for what fits.
    `draw_noise`, `label` and `notes` are as in `read_generator`. WeightsError if a file is of
    another kind, incomplete, or does not fit the others.
    """
    checkpoint = read_checkpoint(source.sfe)
    state = checkpoint.tensors()
    inverter, editor = without_prefix(state, "inverter."), without_prefix(state, "encoder.")
    if not inverter:
        hint = (
            "it is a phase-1 file (Inverter only); take the phase-2 one"
            if any(key.startswith("encoder.fs_backbone.") for key in state)
            else "expected keys that start with 'inverter.' and 'encoder.'"
        )
        raise WeightsError(f"{source.sfe} is no StyleFeatureEditor checkpoint: {hint}")

    of_generator, of_e4e = source.generator or source.sfe, source.e4e or source.sfe
    own = source.e4e is None
    with_e4e = checkpoint if own else read_checkpoint(of_e4e)
    if source.generator is not None:
        means = (each.content.get("latent_avg") for each in (checkpoint, with_e4e))
        mean = next((found for found in means if found is not None), None)
        sizes, generator = read_generator(
            source.generator, mean, draw_noise=draw_noise, label=label, notes=notes
        )
    elif decoder := without_prefix(state, "decoder."):
        mean = checkpoint.latent_avg()
        sizes, generator = generator_state(decoder, mean, draw_noise=draw_noise)
    else:
        raise WeightsError(f"{source.sfe} holds no generator; pass its file with --generator")
    encoder = without_prefix(state, "e4e_encoder.") if own else with_e4e.encoder()
    if not encoder:
        raise WeightsError(f"{of_e4e} holds no e4e encoder; pass its file with --e4e")
    styles = sizes.num_styles
    try:
        config = ModelConfig(
            name=name,
            catalog=fitting_catalog(catalog, sizes),
            generator=sizes,
            e4e=E4eConfig(num_styles=styles),
            inverter=InverterConfig(encoder=FeatureStyleEncoderConfig(num_styles=styles)),
        )
    except ConfigError as error:
        raise WeightsError(f"{of_generator} is no generator for {source.sfe}: {error}") from error
    with torch.device("meta"):
        model = Model(config)
    assign_state(model.generator, generator, f"{of_generator} (generator)")
    assign_state(model.e4e, e4e_state(encoder), f"{of_e4e} (e4e)")
    assign_state(model.inverter, inverter_state(inverter), f"{source.sfe} (Inverter)")
    assign_state(
        model.feature_editor, feature_editor_state(editor), f"{source.sfe} (Feature Editor)"
    )
    return model


def fitting_catalog(catalog: str | None, generator: GeneratorConfig) -> str | None:
    """Return the family of published directions for a generator; a given one or None stays.

    "auto" gives "ffhq" to a generator of the sizes of FFHQ's, and None to any other, where the
    directions of faces would not fit or mean nothing.
    """
    if catalog != AUTO_CATALOG:
        return catalog
    sizes = (generator.size, generator.num_styles, generator.style_dim)
    return "ffhq" if sizes == FFHQ_SIZES else None


def read_generator(
    path: Path,
    latent_avg: object = None,
    *,
    draw_noise: bool = False,
    label: int | None = None,
    notes: dict[str, str] | None = None,
) -> tuple[GeneratorConfig, State]:
    """Return config and state of a stylegan2-pytorch .pt, an NVIDIA .pkl, or a network saved whole.

    `latent_avg` is the mean of w for a .pt without its own; None estimates it, and `notes` then
    gets "latent_avg": how. `draw_noise` draws missing noise buffers; `label` is the class of a
    conditional generator. WeightsError if the file is none of these, or incomplete.
    """
    if path.suffix.lower() == ".pkl":
        network, clamp = _nvidia_network(path, "G_ema", "generator")
        return nvidia_generator_state(
            network.tensors, clamp=clamp, draw_noise=draw_noise, label=label
        )
    checkpoint = read_checkpoint(path)
    name = next((name for name in ("G_ema", "G") if name in checkpoint.content), "g_ema")
    tensors, own = checkpoint.tensors(name), checkpoint.content.get("latent_avg", latent_avg)
    if "synthesis.b4.const" in tensors:
        network = checkpoint.content[name]
        kwargs = network.state.get("_init_kwargs") if isinstance(network, Module) else None
        clamp = _conv_clamp(kwargs if isinstance(kwargs, Mapping) else {})
        return nvidia_generator_state(tensors, clamp=clamp, draw_noise=draw_noise, label=label)
    if label is not None:
        raise WeightsError(f"{path} holds a generator of one class: leave --class out")
    mean = None if own is None else checkpoint.latent_avg(own)
    if mean is None and notes is not None:
        notes["latent_avg"] = ESTIMATE
    return generator_state(tensors, mean, draw_noise=draw_noise)


def read_discriminator(path: Path) -> tuple[DiscriminatorConfig, State]:
    """Return config and state of D in a stylegan2-pytorch .pt or NVIDIA .pkl; else WeightsError."""
    if path.suffix.lower() == ".pkl":
        network, clamp = _nvidia_network(path, "D", "discriminator")
        return ada_discriminator_state(network.tensors, clamp=clamp)
    checkpoint = read_checkpoint(path)
    if "d" not in checkpoint.content:
        raise WeightsError(f"{path} holds no discriminator 'd', as files of the generator alone do")
    return rosinality_discriminator_state(checkpoint.tensors("d"))


def _nvidia_network(path: Path, name: str, what: str) -> tuple[NvidiaModule, float | None]:
    networks = read_nvidia_pickle(path)
    if name not in networks:
        raise WeightsError(f"{path} holds no {what} {name!r}")
    return networks[name], _conv_clamp(networks[name].init_kwargs)


def _conv_clamp(kwargs: Mapping[str, Any]) -> float | None:
    inner = kwargs.get("synthesis_kwargs")
    clamp = {**kwargs, **(inner if isinstance(inner, Mapping) else {})}.get("conv_clamp")
    if clamp is not None and not isinstance(clamp, (int, float)):
        raise WeightsError(f"conv_clamp must be a number, got a {type(clamp).__name__}")
    return None if clamp is None else float(clamp)


def convert_generator(
    source: Path,
    target: Path,
    *,
    header: Mapping[str, str],
    float_dtype: torch.dtype | None = None,
    draw_noise: bool = False,
    label: int | None = None,
) -> None:
    """Read a published generator and write it in our layout, its sizes as JSON in the header.

    `float_dtype` is that on disk; None keeps float32. For the others see `read_generator`.
    WeightsError if the file is damaged or holds something else, or `target` cannot be written.
    """
    described = dict(header)
    config, state = read_generator(source, draw_noise=draw_noise, label=label, notes=described)
    with torch.device("meta"):
        network = Generator(config)
    assign_state(network, state, str(source))
    described["config"] = json.dumps(to_plain(config))
    save_tensors(target, network.state_dict(), described, float_dtype)


def read_encoder(part: str, path: Path) -> tuple[str, State]:
    """Return the place in E or the Inverter that a published .pt or .pth fills, and its state.

    A file of the network itself fills all of it, place ""; ArcFace's fills its trunk: IR-SE50 E's,
    iresnet50 the Inverter's, "encoder.trunk". `part` is "e4e" or "inverter". WeightsError if
    it is damaged, or holds something else.
    """
    checkpoint = read_checkpoint(path)
    if "state_dict" in checkpoint.content:
        whole = checkpoint.encoder()
        if not whole:
            raise WeightsError(f"{path} holds nothing under 'encoder.', so no {part}")
        return "", e4e_state(whole) if part == "e4e" else inverter_state(whole)
    tensors = checkpoint.tensors(None)
    if part == "e4e":
        return "trunk", ir_trunk_state(tensors)
    return "encoder.trunk", iresnet_trunk_state(tensors)
