"""make demo: edit a real photo with the built-in model, or with a random one until it exists.

The photo is NASA's portrait of Eileen Collins, public domain, which scikit-image brings.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from skimage.data import astronaut

import stylefeatureeditor as sfe
from stylefeatureeditor.app.cli.main import main
from stylefeatureeditor.backbones.ir_se50 import IRConfig
from stylefeatureeditor.backbones.iresnet import IResNetConfig
from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry
from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.editing.feature_editor import FeatureEditorConfig
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.inversion.feature_style_encoder import FeatureStyleEncoderConfig
from stylefeatureeditor.inversion.fuser import FuserConfig
from stylefeatureeditor.inversion.inverter import InverterConfig
from stylefeatureeditor.weights.local_models import local_models

OUT = Path("out")
WIDTH = 64  # channels and style width of the random model


def random_model(folder: Path) -> None:
    """Write a 64 px model that nobody has trained, and a direction for it."""
    torch.manual_seed(0)
    generator = GeneratorConfig(
        size=64, style_dim=WIDTH, mapping_layers=2, channel_base=1024, channel_max=WIDTH
    )
    styles, trunk = generator.num_styles, (16, 16, 32, 32)
    encoder = FeatureStyleEncoderConfig(
        num_styles=styles,
        style_dim=WIDTH,
        feature_channels=WIDTH,
        trunk=IResNetConfig(stem_channels=16, channels=trunk, depths=(1, 1, 1, 1)),
    )
    config = sfe.ModelConfig(
        name="random",
        feature_layer=5,
        delta_layer=5,
        encoder_size=64,
        blend="residual",
        generator=generator,
        e4e=E4eConfig(
            size=64,
            num_styles=styles,
            style_dim=WIDTH,
            trunk=IRConfig(channels=trunk, depths=(1, 1, 1, 1), squeeze=8),
        ),
        inverter=InverterConfig(encoder=encoder, fuser=FuserConfig(channels=WIDTH)),
        feature_editor=FeatureEditorConfig(channels=WIDTH),
    )
    colour = CatalogEntry(
        name="colour",
        kind="linear",
        useful_range=(-3.0, 3.0),
        tensors={"vector": torch.randn(WIDTH)},
    )
    sfe.Editor(sfe.Model(config), Catalog((colour,))).save_pretrained(folder)


def run() -> int:
    """Edit the photo through the command line, as a user would."""
    OUT.mkdir(exist_ok=True)
    photo = sfe.save_photo(astronaut(), OUT / "astronaut.png")
    if "faces" in local_models():
        return main(["edit", str(photo), "-e", "smile=2", "-o", str(OUT / "edited.png")])
    random_model(OUT / "random-model")
    arguments = ["edit", str(photo), "-e", "colour=2", "--model", str(OUT / "random-model")]
    code = main([*arguments, "--mask", "face", "--overwrite", "-o", str(OUT / "edited.png")])
    print(
        "The built-in model is not trained yet: this edit came from random weights, which draw "
        "colours instead of a face. Everything else is as it will be."
    )
    return code


if __name__ == "__main__":
    sys.exit(run())
