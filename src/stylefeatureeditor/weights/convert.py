"""From published checkpoints to a Model, and to the discriminator that training starts with.

    SFE            {'state_dict': {'inverter.*', 'encoder.*' (= H), ...}, 'latent_avg', ...}
    generator      {'g_ema', 'latent_avg'} of stylegan2-pytorch, or an NVIDIA .pkl
    discriminator  {'d'} of stylegan2-pytorch, or an NVIDIA .pkl
    e4e            {'state_dict': {'encoder.*', ...}}

The release reads G and latent_avg from the generator's file and E from e4e's; so do we. A full SFE
checkpoint holds copies of both, which serve when those files are not given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.inversion.feature_style_encoder import FeatureStyleEncoderConfig
from stylefeatureeditor.inversion.inverter import InverterConfig
from stylefeatureeditor.model import Model, ModelConfig
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.discriminator_keys import (
    ada_discriminator_state,
    rosinality_discriminator_state,
)
from stylefeatureeditor.weights.nvidia import nvidia_generator_state
from stylefeatureeditor.weights.released import (
    e4e_state,
    feature_editor_state,
    generator_state,
    inverter_state,
    without_prefix,
)
from stylefeatureeditor.weights.unpickle import read_nvidia_pickle, read_torch

if TYPE_CHECKING:
    from pathlib import Path

    from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
    from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
    from stylefeatureeditor.weights.released import State

AUTO_CATALOG = "auto"
FFHQ_SIZES = (1024, 18, 512)  # side, styles, width of a style


@dataclass(frozen=True)
class ReleasedFiles:
    """Published files that make one model.

    Attributes:
        sfe: the phase-2 checkpoint of StyleFeatureEditor, full or light.
        generator: StyleGAN2, .pt or .pkl; None takes the copy inside `sfe`.
        e4e: the e4e encoder; None takes the copy inside `sfe`.
    """

    sfe: Path
    generator: Path | None = None
    e4e: Path | None = None


def convert_released(source: ReleasedFiles, *, name: str, catalog: str | None) -> Model:
    """Return the model that published checkpoints describe, in float32.

    Args:
        source: the files.
        name: what the model is called.
        catalog: family of published directions: "ffhq", "cars", None, or "auto" for what fits.

    Raises:
        WeightsError: a file is of another kind, incomplete, or does not fit the others.
    """
    checkpoint = read_checkpoint(source.sfe)
    state = tensors_of(checkpoint.get("state_dict"), source.sfe)
    inverter, editor = without_prefix(state, "inverter."), without_prefix(state, "encoder.")
    if not inverter:
        hint = (
            "it is a phase-1 file (Inverter only); take the phase-2 one"
            if any(key.startswith("encoder.fs_backbone.") for key in state)
            else "expected keys that start with 'inverter.' and 'encoder.'"
        )
        raise WeightsError(f"{source.sfe} is no StyleFeatureEditor checkpoint: {hint}")

    generator_config, generator = _generator(source, checkpoint, state)
    encoder = _e4e(source, state)

    styles = generator_config.num_styles
    try:
        config = ModelConfig(
            name=name,
            catalog=fitting_catalog(catalog, generator_config),
            generator=generator_config,
            e4e=E4eConfig(num_styles=styles),
            inverter=InverterConfig(encoder=FeatureStyleEncoderConfig(num_styles=styles)),
        )
    except ConfigError as error:
        raise WeightsError(
            f"{source.generator or source.sfe} is no generator for {source.sfe}: {error}"
        ) from error
    with torch.device("meta"):
        model = Model(config)
    assign_state(model.generator, generator, f"{source.generator or source.sfe} (generator)")
    assign_state(model.e4e, encoder, f"{source.e4e or source.sfe} (e4e)")
    assign_state(model.inverter, inverter_state(inverter), f"{source.sfe} (Inverter)")
    assign_state(
        model.feature_editor, feature_editor_state(editor), f"{source.sfe} (Feature Editor)"
    )
    return model


def fitting_catalog(catalog: str | None, generator: GeneratorConfig) -> str | None:
    """Return the family of published directions for a generator.

    Args:
        catalog: a family or None, which stay as they are; "auto" gives "ffhq" to a generator of the
            sizes of FFHQ's (1024 px, 18 styles of 512) and None to any other, where the directions
            of faces would not fit or mean nothing.
        generator: its sizes.
    """
    if catalog != AUTO_CATALOG:
        return catalog
    sizes = (generator.size, generator.num_styles, generator.style_dim)
    return "ffhq" if sizes == FFHQ_SIZES else None


def _generator(
    source: ReleasedFiles, checkpoint: Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[GeneratorConfig, State]:
    latent_avg = checkpoint.get("latent_avg")
    if source.generator is not None:
        return read_generator(source.generator, latent_avg)
    inner = without_prefix(state, "decoder.")
    if not inner:
        raise WeightsError(f"{source.sfe} holds no generator; pass its file with --generator")
    return generator_state(inner, _latent_avg(latent_avg, source.sfe))


def _e4e(source: ReleasedFiles, state: Mapping[str, Tensor]) -> State:
    if source.e4e is None:
        encoder = without_prefix(state, "e4e_encoder.")
    else:
        own = tensors_of(read_checkpoint(source.e4e).get("state_dict"), source.e4e)
        encoder = without_prefix(own, "encoder.")
    if not encoder:
        raise WeightsError(
            f"{source.e4e or source.sfe} holds no e4e encoder; pass its file with --e4e"
        )
    return e4e_state(encoder)


def read_generator(path: Path, latent_avg: object = None) -> tuple[GeneratorConfig, State]:
    """Return config and state of a generator file.

    Args:
        path: a stylegan2-pytorch .pt, or an NVIDIA .pkl.
        latent_avg: the mean of w, for a .pt that lacks its own.

    Raises:
        WeightsError: it is none of these, or incomplete.
    """
    if path.suffix.lower() == ".pkl":
        networks = read_nvidia_pickle(path)
        if "G_ema" not in networks:
            raise WeightsError(f"{path} holds no generator 'G_ema'")
        network = networks["G_ema"]
        return nvidia_generator_state(network.tensors, clamp=_conv_clamp(network.init_kwargs))
    checkpoint = read_checkpoint(path)
    state = tensors_of(checkpoint.get("g_ema"), path)
    return generator_state(state, _latent_avg(checkpoint.get("latent_avg", latent_avg), path))


def read_discriminator(path: Path) -> tuple[DiscriminatorConfig, State]:
    """Return config and state of a discriminator file.

    Args:
        path: a stylegan2-pytorch .pt, or an NVIDIA .pkl.

    Raises:
        WeightsError: it is none of these, or holds no discriminator.
    """
    if path.suffix.lower() == ".pkl":
        networks = read_nvidia_pickle(path)
        if "D" not in networks:
            raise WeightsError(f"{path} holds no discriminator 'D'")
        network = networks["D"]
        return ada_discriminator_state(network.tensors, clamp=_conv_clamp(network.init_kwargs))
    checkpoint = read_checkpoint(path)
    if "d" not in checkpoint:
        raise WeightsError(f"{path} holds no discriminator 'd', as files of the generator alone do")
    return rosinality_discriminator_state(tensors_of(checkpoint["d"], path))


def _conv_clamp(init_kwargs: Mapping[str, Any]) -> float | None:
    inner = init_kwargs.get("synthesis_kwargs")
    kwargs = {**init_kwargs, **inner} if isinstance(inner, Mapping) else init_kwargs
    clamp = kwargs.get("conv_clamp")
    if clamp is not None and not isinstance(clamp, (int, float)):
        raise WeightsError(f"conv_clamp must be a number, got {clamp!r}")
    return None if clamp is None else float(clamp)


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return the table in a .pt file; WeightsError if it holds something else."""
    content = read_torch(path)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds {type(content).__name__}, expected a checkpoint's table")
    return content


def tensors_of(content: object, path: Path) -> Mapping[str, Tensor]:
    """Return `content` if it is a table of tensors, else raise WeightsError."""
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise WeightsError(
            f"{path} is not a checkpoint of the expected kind: it has no table of tensors "
            "'state_dict' (SFE, e4e), 'g_ema' (generator) or 'd' (discriminator)"
        )
    return content


def _latent_avg(value: object, path: Path) -> Tensor:
    if not isinstance(value, Tensor):
        raise WeightsError(f"{path} holds no 'latent_avg', the mean of the generator's codes")
    return value
