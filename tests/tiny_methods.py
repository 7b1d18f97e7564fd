"""Every compared method with networks of a few channels, 64 px, by its word."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from seeded import draw
from stylefeatureeditor.backbones.ir_se50 import IRConfig
from stylefeatureeditor.backbones.iresnet import IResNetConfig
from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry
from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.editor import MethodEditor
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.inversion.feature_style_encoder import FeatureStyleEncoderConfig
from stylefeatureeditor.methods.feature_style import FeatureStyle, FeatureStyleConfig
from stylefeatureeditor.methods.hfgi import Hfgi, HfgiConfig
from stylefeatureeditor.methods.hyperinverter import HyperInverter, HyperInverterConfig
from stylefeatureeditor.methods.hyperstyle import HyperStyle, HyperStyleConfig
from stylefeatureeditor.methods.load import KINDS
from stylefeatureeditor.methods.padinv import PadInv, PadInvConfig
from stylefeatureeditor.methods.psp import Psp, PspConfig
from stylefeatureeditor.methods.restyle import ReStyle, ReStyleConfig
from stylefeatureeditor.methods.single_style import SingleStyleConfig
from stylefeatureeditor.methods.style_transformer import (
    StyleTransformer,
    StyleTransformerConfig,
)
from stylefeatureeditor.methods.styleres import StyleRes, StyleResConfig
from tiny import randomize

if TYPE_CHECKING:
    from stylefeatureeditor.methods.method import Method

# its last layers have fewer channels than the others
GENERATOR = GeneratorConfig(size=64, style_dim=8, mapping_layers=1, channel_base=256, channel_max=8)
TRUNK = IRConfig(channels=(4, 4, 8, 8), depths=(1, 1, 1, 1), squeeze=2)
TO_W = SingleStyleConfig(style_dim=8, trunk=TRUNK)
ENCODER = E4eConfig(size=64, num_styles=10, style_dim=8, trunk=TRUNK)
TINY = {
    "psp": lambda: Psp(PspConfig(generator=GENERATOR, encoder=ENCODER)),
    "restyle-psp": lambda: ReStyle(
        ReStyleConfig(generator=GENERATOR, trunk=TRUNK, size=64, iterations=2)
    ),
    "restyle-e4e": lambda: ReStyle(
        ReStyleConfig(
            generator=GENERATOR, trunk=TRUNK, size=64, iterations=2, offsets_from_first=True
        )
    ),
    "feature-style": lambda: FeatureStyle(
        FeatureStyleConfig(
            generator=GENERATOR,
            size=64,
            layer=1,
            encoder=FeatureStyleEncoderConfig(
                num_styles=10,
                style_dim=8,
                feature_channels=8,
                trunk=IResNetConfig(
                    stem_channels=4, channels=(4, 4, 4, 4), depths=(1, 1, 1, 1), strides=(2,) * 4
                ),
            ),
        )
    ),
    "style-transformer": lambda: StyleTransformer(
        StyleTransformerConfig(generator=GENERATOR, pyramid=ENCODER, heads=2, hidden=8)
    ),
    "hfgi": lambda: Hfgi(
        HfgiConfig(
            generator=GENERATOR,
            encoder=ENCODER,
            layer=4,
            aligner_channels=(4, 4, 4, 4),
            residue_channels=(4, 4, 4),
        )
    ),
    "styleres": lambda: StyleRes(StyleResConfig(generator=GENERATOR, encoder=ENCODER, layer=4)),
    "hyperstyle": lambda: HyperStyle(
        HyperStyleConfig(
            generator=GENERATOR,
            encoder=TO_W,
            size=64,
            channels=(4, 4, 4, 8),
            depths=(1, 1, 1, 1),
            latent=4,
            wide_head=4,
            narrow_head=4,
            iterations=2,
        )
    ),
    "hyperinverter": lambda: HyperInverter(
        HyperInverterConfig(generator=GENERATOR, encoder=TO_W, pyramid=ENCODER, latent=4, hidden=4)
    ),
    "padinv": lambda: PadInv(PadInvConfig(generator=GENERATOR, encoder=ENCODER)),
}


def tiny_network(word: str) -> Method:
    """Return a method's network, every tensor drawn."""
    network = randomize(TINY[word](), f"tiny.{word}")
    return network.requires_grad_(requires_grad=False)


def tiny_method_editor(word: str) -> MethodEditor:
    """Return a method's editor that knows "smile"."""
    method = tiny_network(word)
    method.config = replace(method.config, method=word, name=word)
    method.name = KINDS[word].title
    smile = CatalogEntry(
        name="smile",
        kind="linear",
        useful_range=(-3.0, 3.0),
        label="Smile",
        tensors={"vector": draw("tiny.smile", (GENERATOR.style_dim,))},
    )
    return MethodEditor(method, directions=Catalog((smile,)))
