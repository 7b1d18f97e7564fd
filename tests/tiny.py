"""A whole model of 32 px with random weights: an edit takes milliseconds.

Every tensor is drawn, those too that a fresh network has at zero or one (biases, noise strengths,
BatchNorm statistics), so that a forgotten one shows in the result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seeded import draw, seeded_image
from stylefeatureeditor.backbones.ir_se50 import IRConfig
from stylefeatureeditor.backbones.iresnet import IResNetConfig
from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry
from stylefeatureeditor.editing.delta import DeltaDownsamplerConfig
from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.editing.feature_editor import FeatureEditorConfig
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.generator.layers import EqualizedLinear
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.inversion.feature_style_encoder import FeatureStyleEncoderConfig
from stylefeatureeditor.inversion.fuser import FuserConfig
from stylefeatureeditor.inversion.inverter import InverterConfig
from stylefeatureeditor.model import Model, ModelConfig
from stylefeatureeditor.runtimes.quick import quicken

SIZE = 32
STYLES = 8  # N
WIDTH = 12  # D
FEATURE_LAYER = 3  # k: 16 channels of 8 x 8
CARS_DELTA_LAYER = 5  # 8 channels of 16 x 16


def tiny_config(*, cars: bool = False, **changes: object) -> ModelConfig:
    """Return the sizes; `cars` takes Delta at a finer layer, `changes` are fields of the config."""
    values: dict[str, object] = {
        "name": "tiny",
        "feature_layer": FEATURE_LAYER,
        "delta_layer": CARS_DELTA_LAYER if cars else FEATURE_LAYER,
        "encoder_size": SIZE,
        "generator": GeneratorConfig(
            size=SIZE, style_dim=WIDTH, mapping_layers=2, channel_base=128, channel_max=16
        ),
        "e4e": E4eConfig(
            size=SIZE,
            num_styles=STYLES,
            style_dim=WIDTH,
            trunk=IRConfig(channels=(4, 6, 8, 10), depths=(1, 2, 1, 1), squeeze=2),
        ),
        "inverter": InverterConfig(
            encoder=FeatureStyleEncoderConfig(
                num_styles=STYLES,
                style_dim=WIDTH,
                feature_channels=16,
                trunk=IResNetConfig(stem_channels=4, channels=(4, 6, 8, 10), depths=(1, 2, 1, 1)),
            ),
            fuser=FuserConfig(channels=16, num_residual_layers=1),
        ),
        "feature_editor": FeatureEditorConfig(channels=16, num_residual_layers=2),
        "delta_downsampler": (
            DeltaDownsamplerConfig(in_channels=8, out_channels=16, stride=2) if cars else None
        ),
        **changes,
    }
    return ModelConfig(**values)  # type: ignore[arg-type]


def randomize(network: nn.Module, name: str) -> nn.Module:
    """Fill a network with values that depend on `name` and each tensor's key; return it in eval.

    Weights get the scale that their layer expects, everything else a spread around its default.
    """
    with torch.no_grad():
        for at, layer in network.named_modules():
            own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
            for leaf, tensor in own:
                if tensor.is_floating_point() and leaf != "blur_kernel":
                    _fill(layer, leaf, tensor, draw(f"{name}.{at}.{leaf}", tensor.shape))
    return network.eval()


def _fill(layer: nn.Module, leaf: str, tensor: Tensor, normal: Tensor) -> None:
    plain = isinstance(layer, (nn.Conv2d, nn.Linear))
    if leaf == "weight" and plain:
        tensor.copy_(normal / tensor[0].numel() ** 0.5)
    elif leaf == "weight" and isinstance(layer, EqualizedLinear):
        tensor.copy_(normal / layer.lr_multiplier)
    elif tensor.ndim > 1:  # modulated weights, the constant, noise
        tensor.copy_(normal)
    elif plain or leaf in ("running_mean", "latent_avg"):
        tensor.copy_(0.2 * normal)
    elif leaf == "running_var":
        tensor.copy_(1 + 0.2 * normal.abs())
    else:  # around the constant that the constructor gives
        tensor.add_(0.2 * normal)


def tiny_model(*, cars: bool = False, name: str = "tiny", **changes: object) -> Model:
    """Return a model whose weights depend on `name`; `changes` are fields of its config."""
    model = Model(tiny_config(cars=cars, **changes))
    randomize(model, name)
    return model.requires_grad_(requires_grad=False)


def tiny_cars_model() -> Model:
    """Return a model that takes Delta at another layer than F_k's."""
    return tiny_model(cars=True)


def tiny_directions() -> Catalog:
    """Return two directions with their vectors: "smile" (D,) and "age" (N, D)."""
    return Catalog(
        (
            CatalogEntry(
                name="smile",
                kind="linear",
                useful_range=(-3.0, 3.0),
                label="Smile",
                aliases=("grin",),
                tensors={"vector": draw("tiny.smile", (WIDTH,))},
            ),
            CatalogEntry(
                name="age",
                kind="linear",
                useful_range=(-5.0, 5.0),
                label="Age",
                scale=0.5,
                tensors={"vector": draw("tiny.age", (STYLES, WIDTH))},
            ),
        )
    )


def tiny_editor(directions: Catalog | None = None, model: Model | None = None) -> Editor:
    """Return an editor as it is opened, of known `directions`; None is "smile" and "age"."""
    known = tiny_directions() if directions is None else directions
    return Editor(quicken(tiny_model() if model is None else model), known)


def tiny_photos(batch: int = 1, name: str = "tiny.photo") -> Tensor:
    """Return aligned photos, (batch, 3, SIZE, SIZE) in (-1, 1)."""
    return seeded_image(name, SIZE, batch)
