"""Key maps: from the published checkpoints of the compared methods to the states of their classes.

    pSp, ReStyle, HFGI     'state_dict' {encoder.*, decoder.*, ...}, 'latent_avg' (N, D)
    Feature-Style          the encoder's state dict alone; G and latent_avg come from pSp's file
    Style Transformer      as pSp; latent_avg (1, D)
    StyleRes               'e4e', 'generator_smooth' (NVIDIA names), 'latent_avg'
    PadInv                 'models' {'encoder', 'generator_smooth' (Hammer names)}

Every key must be known and nothing is dropped unseen, as in `weights/released.py`. 'module.', which
DataParallel adds, is gone from the keys before they come here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.weights.nvidia import nvidia_generator_state
from stylefeatureeditor.weights.released import (
    IR_BRANCH,
    e4e_state,
    generator_config,
    generator_state,
    inverter_state,
    ir_trunk_state,
    is_kernel,
    renamed,
    without_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
    from stylefeatureeditor.weights.released import Rules, State

FIRST_BLOCKS = (0, 3, 7, 21)  # of each IR-SE50 stage
STYLERES_CLAMP = 256.0  # conv_clamp of its generator; the checkpoint does not hold it
TRUNK_KEYS = ("input_layer.", "body.")  # of an IR-SE trunk


def psp_state(state: Mapping[str, Tensor], latent_avg: Tensor) -> tuple[GeneratorConfig, State]:
    """Return G's config and the state of `Psp`.

    Args:
        state: 'state_dict' of psp_ffhq_encode.pt.
        latent_avg: (D,), (1, D) or (N, D) with equal rows.

    Raises:
        WeightsError: a key is unknown, or the mean latent differs between styles.
    """
    parts = split(state, ("encoder", "decoder"), "pSp")
    config, generator = generator_state(parts["decoder"], mean_latent(latent_avg))
    return config, joined(generator=generator, encoder=e4e_state(parts["encoder"]))


def single_style_state(state: Mapping[str, Tensor]) -> State:
    """Return the state of `SingleStyleEncoder` ('encoder.' of a W encoder's file).

    Raises:
        WeightsError: a key is unknown.
    """
    trunk = {key: value for key, value in state.items() if key.startswith(TRUNK_KEYS)}
    rest = {key: value for key, value in state.items() if key not in trunk}
    linear = renamed(rest, [(r"linear\.(weight|bias)", r"linear.\1")], "W encoder")
    return {**prefixed("trunk", ir_trunk_state(trunk)), **linear}


def restyle_state(state: Mapping[str, Tensor], latent_avg: Tensor) -> tuple[GeneratorConfig, State]:
    """Return G's config and the state of `ReStyle`, either flavour; the keys are those of pSp.

    Raises:
        WeightsError: a key is unknown, or the mean latent differs between styles.
    """
    return psp_state(state, latent_avg)


def feature_style_state(
    encoder: Mapping[str, Tensor], psp: Mapping[str, Tensor], latent_avg: Tensor
) -> tuple[GeneratorConfig, State]:
    """Return G's config and the state of `FeatureStyle`.

    Args:
        encoder: 143_enc.pth.
        psp: 'state_dict' of psp_ffhq_encode.pt, whose generator serves.
        latent_avg: 'latent_avg' of that file.

    Raises:
        WeightsError: a key is unknown, or the mean latent differs between styles.
    """
    config, generator = generator_state(without_prefix(psp, "decoder."), mean_latent(latent_avg))
    ours = inverter_state({f"fs_backbone.{key}": value for key, value in encoder.items()})
    return config, joined(generator=generator, encoder=without_prefix(ours, "encoder."))


def style_transformer_state(
    state: Mapping[str, Tensor], latent_avg: Tensor
) -> tuple[GeneratorConfig, State]:
    """Return G's config and the state of `StyleTransformer`.

    Raises:
        WeightsError: a key is unknown, or the mean latent differs between styles.
    """
    parts = split(state, ("encoder", "decoder"), "Style Transformer")
    config, generator = generator_state(parts["decoder"], mean_latent(latent_avg))
    encoder = parts["encoder"]
    pyramid = {
        key: value for key, value in encoder.items() if key.startswith((*TRUNK_KEYS, "latlayer"))
    }
    layers = {"coarse": "coarse", "medium": "middle", "fine": "fine"}
    rules: Rules = [
        (r"z", "latents"),
        (
            rf"transformerlayer_({'|'.join(layers)})\.(.+)",
            lambda match: f"{layers[match[1]]}.{match[2]}",
        ),
    ]
    rest = {key: value for key, value in encoder.items() if key not in pyramid}
    return config, {
        **joined(generator=generator, pyramid=e4e_state(pyramid)),
        **renamed(rest, rules, "Style Transformer"),
    }


def hfgi_state(state: Mapping[str, Tensor], latent_avg: Tensor) -> tuple[GeneratorConfig, State]:
    """Return G's config and the state of `Hfgi` ('state_dict' of ckpt.pt).

    Raises:
        WeightsError: a key is unknown, or the mean latent differs between styles.
    """
    parts = split(state, ("encoder", "decoder", "residue", "grid_align"), "HFGI")
    config, generator = generator_state(parts["decoder"], mean_latent(latent_avg))
    aligner: Rules = [
        (r"conv_layer1\.(.+)", r"down.0.\1"),
        *_ir_block_rules(r"conv_layer(\d+)", "down"),
        *_ir_block_rules(r"dconv_layer(\d+)", "up"),
    ]
    residue: Rules = [
        (r"conv_layer1\.(.+)", r"down.0.\1"),
        *_ir_block_rules(r"conv_layer(\d+)", "down"),
        (
            r"condition_(scale|shift)3\.([02])\.(.+)",
            lambda match: f"{match[1]}.conv{int(match[2]) // 2 + 1}.{match[3]}",
        ),
    ]
    return config, joined(
        generator=generator,
        encoder=e4e_state(parts["encoder"]),
        aligner=renamed(parts["grid_align"], aligner, "HFGI's aligner"),
        residue=renamed(parts["residue"], residue, "HFGI's residue network"),
    )


def styleres_state(
    checkpoint: Mapping[str, Mapping[str, Tensor]], latent_avg: Tensor
) -> tuple[GeneratorConfig, State]:
    """Return G's config and the state of `StyleRes`.

    G's own mean latent, `mapping.w_avg`, serves truncation only; the encoder's takes its place.

    Args:
        checkpoint: 'e4e' and 'generator_smooth' of styleres_ffhq.pth.
        latent_avg: its 'latent_avg'.

    Raises:
        WeightsError: a key is unknown, or the mean latent differs between styles.
    """
    whole = checkpoint["generator_smooth"]
    mark = re.compile(r"synthesis\.b(\d+)\.modify_feature_(.+)")
    found = {key: mark.fullmatch(key) for key in whole}
    added = {match[2]: whole[key] for key, match in found.items() if match}
    plain = {key: value for key, value in whole.items() if not found[key]}
    config, generator = nvidia_generator_state(plain, clamp=STYLERES_CLAMP)
    generator["latent_avg"] = mean_latent(latent_avg)
    block = r"\.res_layer\.([02])\.(weight|bias)"
    blocks = {
        r"alignment\.conv([123])\.(\d+)": "transform.align.down",
        r"alignment\.dconv([12])\.(\d+)": "transform.align.up",
    }
    rules: Rules = []
    for pattern, target in blocks.items():
        rules.append((pattern + block, _two_level(target)))
        rules.append((pattern + r"\.shortcut_layer\.0\.weight", _two_level(target)))
    rules += [
        (r"alignment\.dconv3\..+", None),  # never called
        (r"alignment\.first_layer\.(.+)", r"transform.align.first.\1"),
        (r"alignment\.out_layer\.(.+)", r"transform.align.last.\1"),
        (r"extraction\.first_layer\.(.+)", r"transform.extract.0.\1"),
        (r"extraction\.convs\.(\d+)" + block, _one_level("transform.extract", 1)),
        (r"gates\.down1\.(.+)", r"gate.own.\1"),
        (r"gates\.down2\.(.+)", r"gate.extracted.\1"),
        (r"gates\.convs\.(\d+)" + block, _one_level("gate.delta", 0)),
        (r"gates\.convs2\.(\d+)" + block, _one_level("gate.gate", 0)),
        (r"gates\.convs2\.(\d+)\.shortcut_layer\.0\.weight", r"gate.gate.\1.shortcut.weight"),
    ]
    return config, {
        **joined(generator=generator, encoder=e4e_state(checkpoint["e4e"])),
        **renamed(added, rules, "StyleRes"),
    }


def padinv_state(
    encoder: Mapping[str, Tensor], generator: Mapping[str, Tensor]
) -> tuple[GeneratorConfig, State]:
    """Return G's config and the state of `PadInv`.

    Args:
        encoder: 'encoder' of the checkpoint's 'models'; no encoder is published.
        generator: 'generator_smooth' of the same, Hammer's names.

    Raises:
        WeightsError: a key is unknown.
    """
    config, ours = hammer_generator_state(generator)
    blocks: Rules = [
        (
            r"backbone_stages\.(\d+)\.(\d+)\.(.+)",
            lambda match: f"body.{FIRST_BLOCKS[int(match[1])] + int(match[2])}.{match[3]}",
        ),
        (r"fpn\.lateral_layers\.0\.(.+)", r"latlayer2.\1"),
        (r"fpn\.lateral_layers\.1\.(.+)", r"latlayer1.\1"),
        (r"latent_heads\.(.+)", r"styles.\1"),
        (r"(input_layer\..+)", r"\1"),
    ]
    padding: Rules = [
        *_ir_block_rules("padding_extractor", "extract"),
        (r"padding_modulation_heads\.(.+)", r"modulate.\1"),
    ]
    extra = {key: value for key, value in encoder.items() if key.startswith("padding_")}
    rest = {key: value for key, value in encoder.items() if key not in extra}
    return config, joined(
        generator=ours,
        encoder=e4e_state(renamed(rest, blocks, "PadInv")),
        padding=renamed(extra, padding, "PadInv"),
    )


def hammer_generator_state(state: Mapping[str, Tensor]) -> tuple[GeneratorConfig, State]:
    """Return config and state of a StyleGAN2 generator in Hammer's layout (also GenForce's).

    Raises:
        WeightsError: a key is unknown, or another resampling filter is used.
    """
    for key, tensor in state.items():
        if key.endswith(".filter") and not is_kernel(tensor):
            raise WeightsError(f"{key}: another resampling filter than [1, 3, 3, 1]")
    names = {
        "weight": "conv.weight",
        "style.weight": "conv.affine.weight",
        "style.bias": "conv.affine.bias",
        "bias": "bias",
        "noise": "noise",
        "noise_strength": "noise_strength",
    }
    inside = "|".join(map(re.escape, names))
    rules: Rules = [
        (r"w_avg", "latent_avg"),
        (r"mapping\.dense(\d+)\.(.+)", lambda match: f"mapping.{int(match[1]) + 1}.{match[2]}"),
        (r"synthesis\.early_layer\.const", "constant"),
        (r"synthesis\.(layer\d+\.)?filter", None),
        (rf"synthesis\.layer(\d+)\.({inside})", lambda m: f"layers.{m[1]}.{names[m[2]]}"),
        (rf"synthesis\.output(\d+)\.({inside})", lambda m: f"to_rgb.{m[1]}.{names[m[2]]}"),
    ]
    ours = renamed(state, rules, "Hammer's StyleGAN2 generator")
    return generator_config(ours), ours


def _ir_block_rules(place: str, target: str) -> Rules:
    """Rules for the IR blocks of "<place>.<block>."; a number in `place` is the stage, from 1."""
    staged = "(" in place

    def name(match: re.Match[str], rest: str) -> str:
        if not staged:
            return f"{target}.{match[1]}.{rest}"
        return f"{target}.{int(match[1]) - 1}.{match[2]}.{rest}"

    last = 3 if staged else 2  # the group after stage and block
    return [
        (
            rf"{place}\.(\d+)\.res_layer\.([0-5])\.(.+)",
            lambda match: name(match, f"{IR_BRANCH[int(match[last])]}.{match[last + 1]}"),
        ),
        (
            rf"{place}\.(\d+)\.shortcut_layer\.(.+)",
            lambda match: name(match, f"shortcut.{match[last]}"),
        ),
    ]


def _one_level(target: str, offset: int) -> Callable[[re.Match[str]], str]:
    """Name of a StyleRes block "<n>.res_layer.<0 or 2>.<leaf>" under `target`."""
    return lambda match: (
        f"{target}.{int(match[1]) + offset}.conv{int(match[2]) // 2 + 1}.{match[3]}"
    )


def _two_level(target: str) -> Callable[[re.Match[str]], str]:
    """The same for "<stage from 1>.<n>. ..."; without a third group it is the shortcut."""

    def name(match: re.Match[str]) -> str:
        place = f"{target}.{int(match[1]) - 1}.{match[2]}"
        if match.lastindex == 2:
            return f"{place}.shortcut.weight"
        return f"{place}.conv{int(match[3]) // 2 + 1}.{match[4]}"

    return name


def mean_latent(latent_avg: Tensor) -> Tensor:
    """Return (D,) from what checkpoints call latent_avg: (D,), (1, D), or (N, D) of equal rows.

    Raises:
        WeightsError: its rows differ.
    """
    rows = latent_avg.reshape(-1, latent_avg.shape[-1])
    if not torch.equal(rows, rows[:1].expand_as(rows)):
        raise WeightsError("latent_avg differs between styles; one mean latent was expected")
    return rows[0]


def split(state: Mapping[str, Tensor], prefixes: tuple[str, ...], what: str) -> dict[str, State]:
    """Return the entries under each prefix, "prefix." removed.

    Raises:
        WeightsError: a prefix has no entry, or a key has no such prefix.
    """
    parts = {prefix: without_prefix(state, f"{prefix}.") for prefix in prefixes}
    for key in state:
        if not key.startswith(tuple(f"{prefix}." for prefix in prefixes)):
            raise WeightsError(f"{what}: the checkpoint holds {key!r}, which that layout lacks")
    for prefix, part in parts.items():
        if not part:
            raise WeightsError(f"{what}: the checkpoint holds nothing under '{prefix}.'")
    return parts


def prefixed(name: str, state: Mapping[str, Tensor]) -> State:
    """Return the state with "name." before every key."""
    return {f"{name}.{key}": value for key, value in state.items()}


def joined(**parts: Mapping[str, Tensor]) -> State:
    """Return one state of several networks, each under its name."""
    whole: State = {}
    for name, part in parts.items():
        whole.update(prefixed(name, part))
    return whole
