"""The compared methods, a row each, and published checkpoints to them, in float32 on the CPU.

`sfe models convert`, `edit`, `compare`, `evaluate` and the web page find a method by its row in
`METHODS` and the word in its model folder.

    pSp                 psp_ffhq_encode.pt: 'state_dict' {encoder, decoder}, 'latent_avg' (N, D)
    ReStyle             restyle_psp_ffhq_encode.pt, restyle_e4e_ffhq_encode.pt: the same
    Feature-Style       143_enc.pth, the encoder alone; G and latent_avg come from pSp's file
    Style Transformer   the FFHQ inversion model: as pSp
    HFGI                ckpt.pt: as pSp, and 'residue', 'grid_align'
    StyleRes            styleres_ffhq.pth: 'e4e', 'generator_smooth' (NVIDIA names), 'latent_avg'
    PadInv              none published: 'models' {'encoder', 'generator_smooth' (Hammer names)}
    HyperStyle          hyperstyle_ffhq.pt: {hypernet, decoder}; faces_w_encoder.pt: {encoder}
    HyperInverter       its "light" or large checkpoint: {hypernet, w_bar_encoder, w_encoder}; G is
                        NVIDIA's ffhq.pkl; the W encoder's file

Each loader raises WeightsError where a file is damaged, of another kind, or holds a tensor that its
layout lacks. Addresses and licences are in `weights/published.toml`.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.methods.feature_style import FeatureStyle, FeatureStyleConfig
from stylefeatureeditor.methods.hfgi import Hfgi, HfgiConfig
from stylefeatureeditor.methods.hyperinverter import HyperInverter, HyperInverterConfig
from stylefeatureeditor.methods.hyperstyle import HyperStyle, HyperStyleConfig
from stylefeatureeditor.methods.padinv import PadInv, PadInvConfig
from stylefeatureeditor.methods.psp import Psp, PspConfig
from stylefeatureeditor.methods.restyle import ReStyle, ReStyleConfig
from stylefeatureeditor.methods.style_transformer import (
    StyleTransformer,
    StyleTransformerConfig,
)
from stylefeatureeditor.methods.styleres import StyleRes, StyleResConfig
from stylefeatureeditor.runtimes.quick import quicken
from stylefeatureeditor.weights import sources
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.convert import Checkpoint, read_checkpoint, read_generator
from stylefeatureeditor.weights.key_maps import KeyMap, joined, split, under, without_prefix
from stylefeatureeditor.weights.released import (
    E4E_TRUNK,
    IR,
    MAX_STAGES,
    e4e_state,
    generator_state,
    hammer_generator_state,
    inverter_state,
    mean_latent,
    nvidia_generator_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
    from stylefeatureeditor.methods.method import Method, MethodConfig
    from stylefeatureeditor.weights.key_maps import State

Network = TypeVar("Network", bound="nn.Module")

RESTYLE_FLAVOURS = {"BackboneEncoder": "restyle-psp", "ProgressiveBackboneEncoder": "restyle-e4e"}
STYLERES_CLAMP = 256.0  # conv_clamp of its generator; the checkpoint does not hold it
SHARED = "shared_weight_hypernet"  # HyperStyle's hyper-layer, and a copy in every head that uses it
STAGED_BLOCK = """
#.#.res_layer.#.*     {1-1}.{2}.{3:ir}.{4}
#.#.shortcut_layer.*  {1-1}.{2}.shortcut.{3}
"""
REGRESSOR = """
feature_extractor.#.*  convs.{1/2}.{2}
{w1|b1|w2|b2}          {1}
fusion.0.*             fuse.{1}
"""

single_style_state = KeyMap(
    "W encoder", under("", "trunk.", IR) + "linear.{weight|bias} linear.{1}"
)
_STYLE_TRANSFORMER = KeyMap(
    "Style Transformer",
    f"""
    {under("", "pyramid.", E4E_TRUNK)}
    z                          latents
    transformerlayer_coarse.*  coarse.{{1}}
    transformerlayer_medium.*  middle.{{1}}
    transformerlayer_fine.*    fine.{{1}}
    """,
)
_HFGI_ALIGNER = KeyMap(
    "HFGI's aligner",
    f"""
    conv_layer1.*  down.0.{{1}}
    {under("conv_layer", "down.", STAGED_BLOCK)}
    {under("dconv_layer", "up.", STAGED_BLOCK)}
    """,
)
_HFGI_RESIDUE = KeyMap(
    "HFGI's residue network",
    f"""
    conv_layer1.*                 down.0.{{1}}
    condition_{{scale|shift}}3.#.*  {{1}}.conv{{2/2+1}}.{{3}}
    {under("conv_layer", "down.", STAGED_BLOCK)}
    """,
)
_STYLERES = KeyMap(  # dconv3 is never called
    "StyleRes",
    """
    alignment.dconv3.*                          -
    alignment.conv#.#.res_layer.#.*             transform.align.down.{1-1}.{2}.conv{3/2+1}.{4}
    alignment.conv#.#.shortcut_layer.0.weight   transform.align.down.{1-1}.{2}.shortcut.weight
    alignment.dconv#.#.res_layer.#.*            transform.align.up.{1-1}.{2}.conv{3/2+1}.{4}
    alignment.dconv#.#.shortcut_layer.0.weight  transform.align.up.{1-1}.{2}.shortcut.weight
    alignment.first_layer.*                     transform.align.first.{1}
    alignment.out_layer.*                       transform.align.last.{1}
    extraction.first_layer.*                    transform.extract.0.{1}
    extraction.convs.#.res_layer.#.*            transform.extract.{1+1}.conv{2/2+1}.{3}
    gates.down1.*                               gate.own.{1}
    gates.down2.*                               gate.extracted.{1}
    gates.convs.#.res_layer.#.*                 gate.delta.{1}.conv{2/2+1}.{3}
    gates.convs2.#.res_layer.#.*                gate.gate.{1}.conv{2/2+1}.{3}
    gates.convs2.#.shortcut_layer.0.weight      gate.gate.{1}.shortcut.weight
    """,
)
_PADINV_ENCODER = KeyMap(  # to e4e's names; blocks are numbered anew in each IR-SE50 stage
    "PadInv",
    """
    input_layer.*          input_layer.{1}
    backbone_stages.0.#.*  body.{1}.{2}
    backbone_stages.1.#.*  body.{1+3}.{2}
    backbone_stages.2.#.*  body.{1+7}.{2}
    backbone_stages.3.#.*  body.{1+21}.{2}
    fpn.lateral_layers.0.*  latlayer2.{1}
    fpn.lateral_layers.1.*  latlayer1.{1}
    latent_heads.*          styles.{1}
    """,
)
_PADINV_PADDING = KeyMap(
    "PadInv",
    """
    padding_extractor.#.res_layer.#.*     extract.{1}.{2:ir}.{3}
    padding_extractor.#.shortcut_layer.*  extract.{1}.shortcut.{2}
    padding_modulation_heads.*            modulate.{1}
    """,
)
_HYPERSTYLE = KeyMap(
    "HyperStyle",
    """
    conv1.weight                      stem.0.weight
    bn1.*                             stem.1.{1}
    relu.weight                       stem.2.weight
    body.#.conv#.weight               body.{1}.conv{2}.weight
    body.#.bn#.*                      body.{1}.norm{2}.{3}
    body.#.downsample.*               body.{1}.shortcut.{2}
    shared_weight_hypernet.*          shared.{1}
    refinement_blocks.#.hypernet.*    -
    refinement_blocks.#.convs.#.*     heads.{1:hyperstyle}.convs.{2/2}.{3}
    refinement_blocks.#.linear.*      heads.{1:hyperstyle}.linear.{2}
    refinement_blocks.#.output.1.*    heads.{1:hyperstyle}.output.{2}
    """,
)
_HYPERINVERTER = KeyMap(
    "HyperInverter",
    "".join(
        under(f"weight_regressors.b{4 << stage}_{theirs}_weight.", ours, REGRESSOR)
        for stage in range(MAX_STAGES)
        for theirs, ours in (
            ("conv0", f"layers.{2 * stage - 1}."),
            ("conv1", f"layers.{2 * stage}."),
            ("torgb", f"to_rgb.{stage}."),
        )
    ),
)
_LAYER_CODES = KeyMap(  # the trunk and pyramid are e4e's; a head is its convolutions alone
    "HyperInverter", E4E_TRUNK + "styles.#.convs.#.* heads.{1}.{2/2}.{3}"
)


def load_psp(path: Path) -> Psp:
    """Return pSp from psp_ffhq_encode.pt."""
    config, state, parts = _opened(read_checkpoint(path), ("encoder",), "pSp")
    state |= joined(encoder=e4e_state(parts["encoder"]))
    return _assigned(Psp, PspConfig(generator=config), state, path)


def load_restyle(path: Path, own: str | None = None) -> ReStyle:
    """Return ReStyle from restyle_psp_ffhq_encode.pt or restyle_e4e_ffhq_encode.pt.

    The two hold the same keys; 'encoder_type' of the options saved with them tells which it is.
    """
    checkpoint = read_checkpoint(path)
    options = checkpoint.content.get("opts")
    options = vars(options) if isinstance(options, Namespace) else options
    word = options.get("encoder_type") if isinstance(options, Mapping) else None
    if not isinstance(word, str) or word not in RESTYLE_FLAVOURS:
        raise WeightsError(
            f"{path} does not say which ReStyle it holds: expected one of "
            f"{', '.join(RESTYLE_FLAVOURS)} as opts['encoder_type'], got {word!r}"
        )
    flavour = RESTYLE_FLAVOURS[word]
    if own not in (None, flavour):
        raise WeightsError(f"{path} holds {flavour}, not {own}: convert it with --method {flavour}")
    config, state, parts = _opened(checkpoint, ("encoder",), "ReStyle")
    state |= joined(encoder=e4e_state(parts["encoder"]))
    restyle = ReStyleConfig(generator=config, offsets_from_first=flavour == "restyle-e4e")
    return _assigned(ReStyle, restyle, state, path)


load_restyle_psp = partial(load_restyle, own="restyle-psp")
load_restyle_e4e = partial(load_restyle, own="restyle-e4e")


def _opened(
    checkpoint: Checkpoint, prefixes: tuple[str, ...], what: str
) -> tuple[GeneratorConfig, State, dict[str, State]]:
    """Return G's config and state, and the states under other prefixes, of a pSp-like file."""
    table, mean = checkpoint.tensors(), checkpoint.latent_avg()
    parts = split(table, (*prefixes, "decoder"), what)
    config, generator = generator_state(parts["decoder"], mean)
    return config, joined(generator=generator), parts


def load_feature_style(encoder: Path, psp: Path) -> FeatureStyle:
    """Return Feature-Style from 143_enc.pth, and G from psp_ffhq_encode.pt as its release does."""
    whole = read_checkpoint(psp)
    config, generator = generator_state(
        without_prefix(whole.tensors(), "decoder."), whole.latent_avg()
    )
    theirs = read_checkpoint(encoder).tensors(None)
    ours = inverter_state({f"fs_backbone.{key}": value for key, value in theirs.items()})
    state = joined(generator=generator, encoder=without_prefix(ours, "encoder."))
    return _assigned(FeatureStyle, FeatureStyleConfig(generator=config), state, encoder)


def load_style_transformer(path: Path) -> StyleTransformer:
    """Return Style Transformer from its FFHQ inversion file."""
    config, state, parts = _opened(read_checkpoint(path), ("encoder",), "Style Transformer")
    state |= _STYLE_TRANSFORMER(parts["encoder"])
    return _assigned(StyleTransformer, StyleTransformerConfig(generator=config), state, path)


def load_hfgi(path: Path) -> Hfgi:
    """Return HFGI from ckpt.pt."""
    prefixes = ("encoder", "residue", "grid_align")
    config, state, parts = _opened(read_checkpoint(path), prefixes, "HFGI")
    state |= joined(
        encoder=e4e_state(parts["encoder"]),
        aligner=_HFGI_ALIGNER(parts["grid_align"]),
        residue=_HFGI_RESIDUE(parts["residue"]),
    )
    return _assigned(Hfgi, HfgiConfig(generator=config), state, path)


def load_styleres(path: Path) -> StyleRes:
    """Return StyleRes from styleres_ffhq.pth.

    G's own mean latent, `mapping.w_avg`, serves truncation only; the encoder's takes its place.
    """
    checkpoint = read_checkpoint(path)
    whole = checkpoint.tensors("generator_smooth")
    mark = re.compile(r"synthesis\.b\d+\.modify_feature_(.+)")
    found = {key: mark.fullmatch(key) for key in whole}
    added = {match[1]: whole[key] for key, match in found.items() if match}
    plain = {key: value for key, value in whole.items() if not found[key]}
    config, generator = nvidia_generator_state(plain, clamp=STYLERES_CLAMP)
    generator["latent_avg"] = mean_latent(checkpoint.latent_avg())
    encoder = e4e_state(checkpoint.tensors("e4e"))
    state = {**joined(generator=generator, encoder=encoder), **_STYLERES(added)}
    return _assigned(StyleRes, StyleResConfig(generator=config), state, path)


def load_padinv(path: Path) -> PadInv:
    """Return PadInv from a checkpoint that its own training wrote; none is published.

    The encoder's mean is the generator's, unless a 'latent_avg' stands beside the networks.
    """
    checkpoint = read_checkpoint(path)
    models = checkpoint.content.get("models")
    if not isinstance(models, Mapping):
        raise WeightsError(f"{path} is no checkpoint of PadInv: it has no table 'models'")
    inside = Checkpoint(path, models)
    theirs = inside.tensors("generator_smooth")
    if "latent_avg" in checkpoint.content:
        theirs["w_avg"] = mean_latent(checkpoint.latent_avg())
    config, generator = hammer_generator_state(theirs)
    encoder = inside.tensors("encoder")
    padding = {key: value for key, value in encoder.items() if key.startswith("padding_")}
    rest = {key: value for key, value in encoder.items() if key not in padding}
    state = joined(
        generator=generator,
        encoder=e4e_state(_PADINV_ENCODER(rest)),
        padding=_PADINV_PADDING(padding),
    )
    return _assigned(PadInv, PadInvConfig(generator=config), state, path)


def load_hyperstyle(path: Path, encoder: Path) -> HyperStyle:
    """Return HyperStyle from hyperstyle_ffhq.pt, and its encoder from faces_w_encoder.pt.

    The first file's copy of that encoder is not used, nor the second's generator and mean latent,
    as in the release.
    """
    whole = read_checkpoint(path)
    table = {k: v for k, v in whole.tensors().items() if not k.startswith("w_encoder.")}
    own = Checkpoint(path, {**whole.content, "state_dict": table})
    config, state, parts = _opened(own, ("hypernet",), "HyperStyle")
    check_copies(parts["hypernet"])
    state |= joined(
        encoder=single_style_state(read_checkpoint(encoder).encoder()),
        hypernetwork=_HYPERSTYLE(parts["hypernet"]),
    )
    return _assigned(HyperStyle, HyperStyleConfig(generator=config), state, path)


def check_copies(hypernet: Mapping[str, Tensor]) -> None:
    """Raise WeightsError if a head of HyperStyle holds another hyper-layer than the shared one."""
    for key, tensor in hypernet.items():
        match = re.fullmatch(r"refinement_blocks\.\d+\.hypernet\.([wb][12])", key)
        own = hypernet.get(f"{SHARED}.{match[1]}") if match else tensor
        if own is None or own.shape != tensor.shape:
            raise WeightsError(f"HyperStyle: {key!r} differs from '{SHARED}'")
        if own.data_ptr() != tensor.data_ptr() and not torch.equal(own, tensor):
            raise WeightsError(f"HyperStyle: {key!r} differs from '{SHARED}'")


def load_hyperinverter(path: Path, generator: Path, encoder: Path | None = None) -> HyperInverter:
    """Return HyperInverter from its "light" or large checkpoint, and NVIDIA's FFHQ .pkl.

    Without the W encoder's file, the copy inside the checkpoint serves.
    """
    config, drawn = read_generator(generator)
    own = None if encoder is None else read_checkpoint(encoder).encoder()
    state = hyperinverter_state(read_checkpoint(path).tensors(), own)
    latent = state["layers.0.w1"].shape[0] if "layers.0.w1" in state else 0
    sizes = HyperInverterConfig(generator=config, latent=max(latent, 1))
    return _assigned(HyperInverter, sizes, {**joined(generator=drawn), **state}, path)


def hyperinverter_state(state: Mapping[str, Tensor], encoder: Mapping[str, Tensor] | None) -> State:
    """Return the state of `HyperInverter` without its generator.

    WeightsError if a key is unknown, or there is no encoder to W.
    """
    kept = {key: value for key, value in state.items() if not key.startswith("discriminator.")}
    copy = ("w_encoder",) if any(key.startswith("w_encoder.") for key in kept) else ()
    parts = split(kept, ("hypernet", "w_bar_encoder", *copy), "HyperInverter")
    encoder = parts.get("w_encoder") if encoder is None else encoder
    if encoder is None:
        raise WeightsError(
            "HyperInverter: the checkpoint holds no encoder to W; pass the file of that encoder too"
        )
    codes = _LAYER_CODES(parts["w_bar_encoder"])
    ours = joined(encoder=single_style_state(encoder), layer_codes=codes)
    return {**ours, **_HYPERINVERTER(parts["hypernet"])}


def _assigned(kind: Callable[[Any], Network], config: object, state: State, path: Path) -> Network:
    with torch.device("meta"):
        network = kind(config).eval()
    assign_state(network, state, str(path))
    return quicken(network)


@dataclass(frozen=True)
class MethodKind:
    """One compared method."""

    word: str  # what users type, and what a model folder says
    title: str  # row of the table
    network: Callable[[Any], Method]  # its class; `network(config)` makes it
    config: type[MethodConfig]  # the class of its sizes
    load: Callable[..., Method]  # published files -> the network, one argument per entry of `files`
    files: tuple[str, ...]  # what those files are, in this order

    @property
    def sources(self) -> tuple[str, ...]:
        """Their names in the table of published files; empty if none is published."""
        return sources.GROUPS.get(self.word, ())


# fmt: off
METHODS = (
    MethodKind("psp", "pSp", Psp, PspConfig, load_psp, ("psp_ffhq_encode.pt",)),
    MethodKind("feature-style", "Feature-Style", FeatureStyle, FeatureStyleConfig,
               load_feature_style, ("143_enc.pth", "psp_ffhq_encode.pt")),
    MethodKind("restyle-psp", "ReStyle (pSp)", ReStyle, ReStyleConfig, load_restyle_psp,
               ("restyle_psp_ffhq_encode.pt",)),
    MethodKind("restyle-e4e", "ReStyle (e4e)", ReStyle, ReStyleConfig, load_restyle_e4e,
               ("restyle_e4e_ffhq_encode.pt",)),
    MethodKind("styleres", "StyleRes", StyleRes, StyleResConfig, load_styleres,
               ("styleres_ffhq.pth",)),
    MethodKind("hyperstyle", "HyperStyle", HyperStyle, HyperStyleConfig, load_hyperstyle,
               ("hyperstyle_ffhq.pt", "faces_w_encoder.pt")),
    MethodKind("hfgi", "HFGI", Hfgi, HfgiConfig, load_hfgi, ("ckpt.pt",)),
    MethodKind("hyperinverter", "HyperInverter", HyperInverter, HyperInverterConfig,
               load_hyperinverter,
               ("the light or the large checkpoint", "ffhq.pkl", "the W encoder's file")),
    MethodKind("style-transformer", "Style Transformer", StyleTransformer, StyleTransformerConfig,
               load_style_transformer, ("style_transformer_ffhq.pt",)),
    MethodKind("padinv", "PadInv", PadInv, PadInvConfig, load_padinv,
               ("a checkpoint of its training; none is published",)),
)
# fmt: on
KINDS = {kind.word: kind for kind in METHODS}


def find_kind(word: str) -> MethodKind:
    """Return the method of a word; ConfigError if there is none."""
    if word not in KINDS:
        raise ConfigError(f"there is no method {word!r}; there are {', '.join(KINDS)}")
    return KINDS[word]
