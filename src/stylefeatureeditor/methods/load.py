"""Published checkpoints to methods, in float32 on the CPU, ready to invert.

    pSp                 psp_ffhq_encode.pt
    ReStyle             restyle_psp_ffhq_encode.pt, restyle_e4e_ffhq_encode.pt
    Feature-Style       143_enc.pth, and pSp's for its generator
    Style Transformer   the FFHQ inversion model
    HFGI                ckpt.pt
    StyleRes            styleres_ffhq.pth
    PadInv              none published; its training writes one
    HyperStyle          hyperstyle_ffhq.pt, and faces_w_encoder.pt
    HyperInverter       the "light" or the large checkpoint, NVIDIA's ffhq.pkl or its older form,
                        and the W encoder's file

Each loader raises WeightsError where the file is damaged, of another kind, or holds a tensor that
its layout lacks. Addresses and licences are in `published.py`.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.methods import hyper_keys, keys
from stylefeatureeditor.methods.feature_style import FeatureStyle, FeatureStyleConfig
from stylefeatureeditor.methods.hfgi import Hfgi, HfgiConfig
from stylefeatureeditor.methods.hyperinverter import HyperInverter, HyperInverterConfig
from stylefeatureeditor.methods.hyperstyle import HyperStyle, HyperStyleConfig
from stylefeatureeditor.methods.padinv import PadInv, PadInvConfig
from stylefeatureeditor.methods.psp import Psp, PspConfig
from stylefeatureeditor.methods.restyle import ReStyle, ReStyleConfig
from stylefeatureeditor.methods.single_style import SingleStyleConfig, SingleStyleEncoder
from stylefeatureeditor.methods.style_transformer import (
    StyleTransformer,
    StyleTransformerConfig,
)
from stylefeatureeditor.methods.styleres import StyleRes, StyleResConfig
from stylefeatureeditor.runtimes.quick import quicken
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.convert import read_generator
from stylefeatureeditor.weights.released import without_prefix
from stylefeatureeditor.weights.unpickle import read_torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from stylefeatureeditor.weights.released import State

Network = TypeVar("Network", bound="nn.Module")

RESTYLE_FLAVOURS = {"BackboneEncoder": False, "ProgressiveBackboneEncoder": True}


def load_psp(path: Path) -> Psp:
    """Return pSp from psp_ffhq_encode.pt."""
    content = _content(path)
    config, state = keys.psp_state(_table(content, "state_dict", path), _mean(content, path))
    return _assigned(lambda: Psp(PspConfig(generator=config)), state, path)


def load_single_style(path: Path) -> SingleStyleEncoder:
    """Return the encoder to W of a pSp-like file, such as HyperStyle's faces_w_encoder.pt."""
    table = _table(_content(path), "state_dict", path)
    state = keys.single_style_state(without_prefix(table, "encoder."))
    return _assigned(lambda: SingleStyleEncoder(SingleStyleConfig()), state, path)


def load_restyle_psp(path: Path) -> ReStyle:
    """Return ReStyle over pSp; a file of the other flavour is refused."""
    return _flavour(load_restyle(path), path, offsets_from_first=False)


def load_restyle_e4e(path: Path) -> ReStyle:
    """Return ReStyle over e4e; a file of the other flavour is refused."""
    return _flavour(load_restyle(path), path, offsets_from_first=True)


def load_restyle(path: Path) -> ReStyle:
    """Return ReStyle from restyle_psp_ffhq_encode.pt or restyle_e4e_ffhq_encode.pt.

    The two hold the same keys; 'encoder_type' of the options saved with them tells which it is.
    """
    content = _content(path)
    options = content.get("opts")
    options = vars(options) if isinstance(options, Namespace) else options
    word = options.get("encoder_type") if isinstance(options, Mapping) else None
    if word not in RESTYLE_FLAVOURS:
        raise WeightsError(
            f"{path} does not say which ReStyle it holds: expected one of "
            f"{', '.join(RESTYLE_FLAVOURS)} as opts['encoder_type'], got {word!r}"
        )
    generator, state = keys.restyle_state(_table(content, "state_dict", path), _mean(content, path))
    config = ReStyleConfig(generator=generator, offsets_from_first=RESTYLE_FLAVOURS[word])
    return _assigned(lambda: ReStyle(config), state, path)


def load_feature_style(encoder: Path, psp: Path) -> FeatureStyle:
    """Return Feature-Style from 143_enc.pth, and G from psp_ffhq_encode.pt as its release does."""
    content = _content(psp)
    config, state = keys.feature_style_state(
        _tensors(_content(encoder), encoder),
        _table(content, "state_dict", psp),
        _mean(content, psp),
    )
    return _assigned(lambda: FeatureStyle(FeatureStyleConfig(generator=config)), state, encoder)


def load_style_transformer(path: Path) -> StyleTransformer:
    """Return Style Transformer from its FFHQ inversion file."""
    content = _content(path)
    config, state = keys.style_transformer_state(
        _table(content, "state_dict", path), _mean(content, path)
    )
    return _assigned(
        lambda: StyleTransformer(StyleTransformerConfig(generator=config)), state, path
    )


def load_hfgi(path: Path) -> Hfgi:
    """Return HFGI from ckpt.pt."""
    content = _content(path)
    config, state = keys.hfgi_state(_table(content, "state_dict", path), _mean(content, path))
    return _assigned(lambda: Hfgi(HfgiConfig(generator=config)), state, path)


def load_styleres(path: Path) -> StyleRes:
    """Return StyleRes from styleres_ffhq.pth."""
    content = _content(path)
    tables = {name: _table(content, name, path) for name in ("e4e", "generator_smooth")}
    config, state = keys.styleres_state(tables, _mean(content, path))
    return _assigned(lambda: StyleRes(StyleResConfig(generator=config)), state, path)


def load_padinv(path: Path) -> PadInv:
    """Return PadInv from a checkpoint that its own training wrote; none is published.

    The encoder's mean is the generator's, unless a 'latent_avg' stands beside the networks.
    """
    content = _content(path)
    models = content.get("models")
    if not isinstance(models, Mapping):
        raise WeightsError(f"{path} is no checkpoint of PadInv: it has no table 'models'")
    generator = dict(_table(models, "generator_smooth", path))
    if "latent_avg" in content:
        generator["w_avg"] = keys.mean_latent(_mean(content, path))
    config, state = keys.padinv_state(_table(models, "encoder", path), generator)
    return _assigned(lambda: PadInv(PadInvConfig(generator=config)), state, path)


def load_hyperstyle(path: Path, encoder: Path) -> HyperStyle:
    """Return HyperStyle from hyperstyle_ffhq.pt, and its encoder from faces_w_encoder.pt.

    The second file's generator and mean latent are not used, as in the release.
    """
    content = _content(path)
    config, state = hyper_keys.hyperstyle_state(
        _table(content, "state_dict", path),
        _mean(content, path),
        without_prefix(_table(_content(encoder), "state_dict", encoder), "encoder."),
    )
    return _assigned(lambda: HyperStyle(HyperStyleConfig(generator=config)), state, path)


def load_hyperinverter(path: Path, generator: Path, encoder: Path | None = None) -> HyperInverter:
    """Return HyperInverter from its "light" or large checkpoint.

    Args:
        path: the checkpoint.
        generator: NVIDIA's FFHQ generator, a .pkl; its mean latent serves.
        encoder: the W encoder's file; None takes the copy inside `path`.
    """
    config, drawn = read_generator(generator)
    own = None
    if encoder is not None:
        own = without_prefix(_table(_content(encoder), "state_dict", encoder), "encoder.")
    state = hyper_keys.hyperinverter_state(_table(_content(path), "state_dict", path), own, drawn)
    latent = state["layers.0.w1"].shape[0] if "layers.0.w1" in state else 0
    sizes = HyperInverterConfig(generator=config, latent=max(latent, 1))
    return _assigned(lambda: HyperInverter(sizes), state, path)


def _flavour(method: ReStyle, path: Path, *, offsets_from_first: bool) -> ReStyle:
    if method.config.offsets_from_first != offsets_from_first:
        own, other = (
            ("restyle-e4e", "restyle-psp")
            if offsets_from_first
            else (
                "restyle-psp",
                "restyle-e4e",
            )
        )
        raise WeightsError(f"{path} holds {other}, not {own}: convert it with --method {other}")
    return method


def _assigned(make: Callable[[], Network], state: State, path: Path) -> Network:
    with torch.device("meta"):
        network = make().eval()
    assign_state(network, state, str(path))
    return quicken(network)


def _content(path: Path) -> Mapping[str, Any]:
    content = read_torch(path)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds {type(content).__name__}, expected a checkpoint's table")
    return content


def _table(content: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Tensor]:
    table = content.get(name)
    if not isinstance(table, Mapping):
        raise WeightsError(
            f"{path} is a checkpoint of another method: it has no table of tensors {name!r}"
        )
    return _tensors(table, path)


def _tensors(table: Mapping[str, Any], path: Path) -> Mapping[str, Tensor]:
    """The table without the 'module.' that DataParallel puts into its keys."""
    if not table or not all(isinstance(value, Tensor) for value in table.values()):
        raise WeightsError(f"{path} is a checkpoint of another method: it has no table of tensors")
    return {re.sub(r"(^|\.)module\.", r"\1", key): value for key, value in table.items()}


def _mean(content: Mapping[str, Any], path: Path) -> Tensor:
    mean = content.get("latent_avg")
    if not isinstance(mean, Tensor):
        raise WeightsError(f"{path} holds no 'latent_avg', the mean of the generator's codes")
    return mean
