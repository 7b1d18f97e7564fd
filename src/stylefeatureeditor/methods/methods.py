"""The compared methods, a row each: what users call it, its class, and the files it is made of.

`sfe models convert`, `edit`, `compare`, `evaluate` and the web page know a method from its row here
and from the model folder that says its word; none of them has a line for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.methods import load
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
from stylefeatureeditor.weights import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from stylefeatureeditor.methods.method import Method, MethodConfig


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
    MethodKind("psp", "pSp", Psp, PspConfig, load.load_psp, ("psp_ffhq_encode.pt",)),
    MethodKind("feature-style", "Feature-Style", FeatureStyle, FeatureStyleConfig,
               load.load_feature_style, ("143_enc.pth", "psp_ffhq_encode.pt")),
    MethodKind("restyle-psp", "ReStyle (pSp)", ReStyle, ReStyleConfig, load.load_restyle_psp,
               ("restyle_psp_ffhq_encode.pt",)),
    MethodKind("restyle-e4e", "ReStyle (e4e)", ReStyle, ReStyleConfig, load.load_restyle_e4e,
               ("restyle_e4e_ffhq_encode.pt",)),
    MethodKind("styleres", "StyleRes", StyleRes, StyleResConfig, load.load_styleres,
               ("styleres_ffhq.pth",)),
    MethodKind("hyperstyle", "HyperStyle", HyperStyle, HyperStyleConfig, load.load_hyperstyle,
               ("hyperstyle_ffhq.pt", "faces_w_encoder.pt")),
    MethodKind("hfgi", "HFGI", Hfgi, HfgiConfig, load.load_hfgi, ("ckpt.pt",)),
    MethodKind("hyperinverter", "HyperInverter", HyperInverter, HyperInverterConfig,
               load.load_hyperinverter,
               ("the light or the large checkpoint", "ffhq.pkl", "the W encoder's file")),
    MethodKind("style-transformer", "Style Transformer", StyleTransformer, StyleTransformerConfig,
               load.load_style_transformer, ("style_transformer_ffhq.pt",)),
    MethodKind("padinv", "PadInv", PadInv, PadInvConfig, load.load_padinv,
               ("a checkpoint of its training; none is published",)),
)
# fmt: on
KINDS = {kind.word: kind for kind in METHODS}


def find_kind(word: str) -> MethodKind:
    """Return the method of a word.

    Raises:
        ConfigError: there is none.
    """
    if word not in KINDS:
        raise ConfigError(f"there is no method {word!r}; there are {', '.join(KINDS)}")
    return KINDS[word]
