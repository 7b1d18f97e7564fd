"""Every preset of `sfe train`: what it changes in the defaults, which are the paper's on faces.

    generator    standard  one GPU, any size of 64 to 1024       small, tiny  a CPU
    e4e          paper     the published recipe                  small, tiny
                 psp       pSp's losses, no D_w
                 cars      the published recipe with MoCo
    inverter     paper, released, cars, cars-released            small, tiny
    editor       the same                                        small, tiny
    attributes   small, tiny

Where paper and release differ stands beside each preset and in docs/adr/0002. `small` is the
built-in model's way, `tiny` a smoke test's: they use no pretrained network, so pixels lead the
image loss; in the last third of a run D sharpens what they have drawn and the rate falls. Their
schedules are shares of the run and stretch with its steps. Ablations are Table 3's; "without H" is
a switch of the evaluation.

Shapes: k layer of F_k, C and S_F its channels and side, S side of the model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from stylefeatureeditor.backbones.ir_se50 import IRConfig
from stylefeatureeditor.backbones.iresnet import IResNetConfig
from stylefeatureeditor.editing.delta import DeltaDownsamplerConfig
from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.editing.feature_editor import FeatureEditorConfig
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.inversion.feature_style_encoder import FeatureStyleEncoderConfig
from stylefeatureeditor.inversion.fuser import FuserConfig
from stylefeatureeditor.inversion.inverter import InverterConfig
from stylefeatureeditor.model import ModelConfig
from stylefeatureeditor.training.attributes import AttributesRun
from stylefeatureeditor.training.e4e import E4eRun
from stylefeatureeditor.training.feature_editor import EditorRun
from stylefeatureeditor.training.generator import GeneratorRun
from stylefeatureeditor.training.inverter import InverterRun
from stylefeatureeditor.weights.configs import changed, to_plain

if TYPE_CHECKING:
    from stylefeatureeditor.training.image_losses import Identity

Directions = dict[str, tuple[float, ...]]  # name in the catalogue -> strengths
Changes = dict[str, Any]  # of a run's fields, nested
ModelRun = TypeVar("ModelRun", E4eRun, InverterRun, EditorRun)

FACE_DIRECTIONS: Directions = {  # the release's
    "age": (-7.0, -5.0, 5.0, 7.0, 10.0),
    "fs_makeup": (5.0, 8.0, 12.0),
    "afro": (0.03, 0.07),
    "angry": (0.06, 0.1),
    "purple_hair": (0.07, 0.1, 0.12),
    "glasses": (-10.0, -7.0),
    "face_roundness": (-13.0, -7.0, 7.0, 13.0),
    "rotation": (-5.0, -3.0, -1.0, 1.0, 3.0, 5.0),
    "bobcut": (0.07, 0.12, 0.18),
    "bowlcut": (0.07, 0.14),
    "mohawk": (0.07, 0.1),
    "blond_hair": (-8.0, -4.0, 4.0, 8.0),
    "fs_smiling": (-6.0, -3.0, 3.0, 6.0, 9.0),
}
FEW_DIRECTIONS = ("age", "afro", "angry", "face_roundness", "bowlcut", "blond_hair")  # D_small
# The paper names no strengths for cars; these are GANSpace's own, as in the catalogue.
CAR_DIRECTIONS: Directions = {"cube": (25.0,), "color": (-8.0,), "grass": (-18.0,)}
CAR_IDENTITY = 0.5  # lambda_id of App. 7

SMALL_UP_TO = 128  # px: up to it, `small` is the default preset
SMALL_R1 = {32: 0.1, 64: 0.3, 128: 1.0}  # docs/LOG.md
STEPS = {  # of the presets whose schedules stretch
    "small": {"e4e": 12_000, "inverter": 20_000, "editor": 12_000, "attributes": 1100},
    "tiny": {"generator": 300, "e4e": 200, "inverter": 300, "editor": 200, "attributes": 150},
}

E4E: dict[str, Changes] = {
    # 200,000 steps of 8
    "paper": {"loop": {"steps": 200_000, "batch_size": 8, "find_unused_parameters": True}},
    # The image loss alone, all styles from the start. E's styles are style 0 plus a head each where
    # pSp's are a head each, and LPIPS is VGG's where its release takes AlexNet's. Weights, Ranger's
    # rate and batch are the release's, the steps its default.
    "psp": {
        "training": {
            "delta": 0.0,
            "latent": {"weight": 0.0},
            "progressive_every": 0,
            "zero_heads": False,
        },
        "loop": {"steps": 500_000, "batch_size": 8},
    },
}
INVERTER: dict[str, Changes] = {
    # L = L_im(X, X^) + L_im(X, X^_w) + 0.01 ||F_k||_2 at full size, without blending; D and its
    # loss from step 14,000, no R1; 37,500 steps of Ranger at 2e-4.
    "paper": {"loop": {"steps": 37_500, "batch_size": 8}},
    # L is a mean over the concatenated 2B batch of X^ and X^_w, half of the paper's sum, at 256 px,
    # with 0.01 MSE(F_k, F_w); F_k is blended in over 10,000 steps; D, its loss and R1 from step
    # 45,000; 300,000 steps of Ranger at 1e-4. D is asked once about X^ and X^_w together: the paper
    # does not say, and both presets do so.
    "released": {
        "training": {
            "image": {"side": 256},
            "adversarial": {"start": 45_000, "r1": {"weight": 10.0, "every": 16}},
            "pair": "mean",
            "feature_form": "distance",
            "blend_steps": 10_000,
            "ranger": {"lr": 1e-4},
        },
        "loop": {"steps": 300_000, "batch_size": 8},
    },
}
EDITOR: dict[str, Changes] = {
    # L = L_edit + L_inv at full size, 0.01 adv in L_inv, no R1; 20,000 steps of Ranger at 2e-4.
    "paper": {"loop": {"steps": 20_000, "batch_size": 8}},
    # L2, LPIPS and ID are means over the concatenated 2B batch of X^ and X^', (L_edit + L_inv) / 2,
    # at 256 px; adv is a mean over X^ alone and keeps its 0.01, which is 0.02 within the half; R1;
    # 200,000 steps of Ranger at 1e-4. H sees the inversion before the edit: the paper does not say,
    # and both presets do so.
    "released": {
        "training": {
            "edit": {"side": 256},
            "inversion": {"side": 256},
            "adversarial": {"weight": 0.02, "r1": {"weight": 10.0, "every": 16}},
            "edit_weight": 0.5,
            "inversion_weight": 0.5,
            "ranger": {"lr": 1e-4},
        },
        "loop": {"steps": 200_000, "batch_size": 8},
    },
}
SMALL_IMAGE: Changes = {"l2": 1.0, "lpips": 0.0, "identity": 0.0, "l1": 0.5, "pyramid": 0.5}
ABLATIONS: dict[str, dict[str, Changes]] = {
    "inverter": {"without-fuser": {"model": {"inverter": {"fuser": None}}}, "coarser-layer": {}},
    "editor": {
        "without-inversion-loss": {"training": {"inversion_weight": 0.0}},
        "without-e4e": {"training": {"edit_codes": "inverter"}},
        "few-directions": {},
    },
}
LAYERS_COARSER = 4  # from 64 x 64 to 16 x 16
PRESETS = {
    "generator": ("standard", "small", "tiny"),
    "e4e": (*E4E, "cars", "small", "tiny"),
    "inverter": (*INVERTER, "cars", "cars-released", "small", "tiny"),
    "editor": (*EDITOR, "cars", "cars-released", "small", "tiny"),
    "attributes": ("small", "tiny"),
}


# --- runs -------------------------------------------------------------------------------------


def default_preset(phase: str, size: int) -> str:
    """Return the preset that suits a generator of `size` px."""
    if size <= SMALL_UP_TO or phase == "attributes":
        return "small"
    return "standard" if phase == "generator" else "paper"


def generator_run(name: str, size: int, batch: int | None = None) -> GeneratorRun:
    """Return a run that trains G on images of `size`, B of them a step; None is the preset's own B.

    "standard" is NVIDIA's heuristic for one GPU (stylegan2-ada, `auto`): gamma = 0.0002 size^2 / B,
    half the channels below 512 px, an average over 10 / 32 thousand images per image of B.

    Raises:
        ConfigError: the size is no power of two, or "standard" has none of that size.
    """
    batches = {64: 32, 128: 32, 256: 16, 512: 8, 1024: 4}
    if name == "standard" and size not in batches:
        raise ConfigError(f"there are presets for {', '.join(map(str, batches))} px, got {size}")
    batch = batch or (batches[size] if name == "standard" else 16)
    base, widest, style, mapping = {
        "standard": (32768 if size >= 512 else 16384, 512, 512, 8),
        "small": (2048, 128, 256, 4),
        "tiny": (16 * size, 32, 64, 2),
    }[name]
    widths: Changes = {"size": size, "channel_base": base, "channel_max": widest}
    rate = 2e-3 if size >= 1024 and name == "standard" else 2.5e-3
    gamma = 0.0002 * size**2 / batch
    training: Changes = {
        "network": {"style_dim": style, "mapping_layers": mapping, **widths},
        "discriminator": widths,
        "lr_generator": rate,
        "lr_discriminator": rate,
        "r1_gamma": gamma if name == "standard" else SMALL_R1.get(size, gamma),
        "path_weight": 2.0 if name == "standard" and size >= 256 else 0.0,
    }
    loop: Changes = {"batch_size": batch}
    if name == "standard":
        training |= {"average_images": batch * 10_000 / 32, "augment": "ada"}
        loop |= {"steps": 200_000}
    else:
        training |= {"noise": False}
        every = 500 if name == "small" else 100
        loop |= {"steps": 100_000, "log_every": 50, "keep": 2}
        loop |= {"precision": "auto", "channels_last": True}
        loop |= {"validate_every": every, "sample_every": every, "save_every": every}
    if name == "tiny":
        training |= {"average_images": 500.0, "average_ramp": 0.3, "latent_decay": 0.98}
        loop |= {"steps": STEPS["tiny"]["generator"]}
    run = GeneratorRun(
        training=replace(
            GeneratorRun().training,
            network=GeneratorConfig(size=size),
            discriminator=DiscriminatorConfig(size=size),
        )
    )
    return changed(run, {"training": training, "loop": loop})


def e4e_run(name: str, model: ModelConfig | None = None, steps: int | None = None) -> E4eRun:
    """Return a run that trains E; see `inverter_run`."""
    run = E4eRun(model=model or example_model(name))
    if name not in STEPS:
        run = changed(run, E4E[name.replace("cars", "paper")])
        return compared_by(run, "moco", CAR_IDENTITY) if name == "cars" else run
    steps = steps or STEPS[name]["e4e"]
    return changed(
        run,
        {
            "training": {
                "image": {**SMALL_IMAGE, "side": None},
                "latent": {"lr": 1e-4},
                "progressive_start": steps // 4,  # styles join in the second quarter of the run
                "progressive_every": max(1, steps // 4 // run.model.generator.num_styles),
                "ranger": _small_ranger(steps),
            },
            "loop": _small_loop(steps),
        },
    )


def inverter_run(
    name: str,
    model: ModelConfig | None = None,
    ablation: str | None = None,
    steps: int | None = None,
) -> InverterRun:
    """Return a run of phase 1.

    Args:
        name: of the preset.
        model: sizes of the networks; None takes those that the preset is meant for.
        ablation: one of Table 3's.
        steps: of the run, for presets whose schedule stretches; None is the preset's own number.
    """
    run = InverterRun(model=model or example_model(name))
    if name in STEPS:
        steps = steps or STEPS[name]["inverter"]
        training: Changes = {
            "image": SMALL_IMAGE,
            "adversarial": _small_adversary(steps),
            "pair": "mean",
            "feature_form": "distance",
            "blend_steps": steps // 30,
            "ranger": _small_ranger(steps),
        }
        run = changed(run, {"training": training, "loop": _small_loop(steps)})
    else:
        run = changed(run, INVERTER[_base(name)])
        run = compared_by(run, "moco", CAR_IDENTITY) if name.startswith("cars") else run
    run = changed(run, ABLATIONS["inverter"].get(ablation or "", {}))
    if ablation == "coarser-layer":
        layer = max(1, run.model.feature_layer - LAYERS_COARSER)
        run = replace(run, model=at_layer(run.model, layer))
    return run


def editor_run(
    name: str,
    model: ModelConfig | None = None,
    directions: Directions | None = None,
    ablation: str | None = None,
    steps: int | None = None,
) -> EditorRun:
    """Return a run of phase 2; see `inverter_run`.

    `directions` are the model's own, for models without a catalogue; None takes the published ones.
    """
    run = EditorRun(model=model or example_model(name))
    if name in STEPS:
        steps = steps or STEPS[name]["editor"]
        training: Changes = {
            "begin": "difference",
            "edit": SMALL_IMAGE,
            "inversion": SMALL_IMAGE,
            "adversarial": _small_adversary(steps),
            "ranger": _small_ranger(steps),
        }
        run = changed(run, {"training": training, "loop": _small_loop(steps)})
        run = replace(run, directions=dict(directions or {}))
    else:
        run = changed(run, EDITOR[_base(name)])
        published = FACE_DIRECTIONS
        if name.startswith("cars"):
            published = CAR_DIRECTIONS
            run = compared_by(run, "moco", CAR_IDENTITY)
            run = changed(run, {"loop": {"find_unused_parameters": True}})
        own = directions is not None and run.model.catalog is None
        run = replace(run, directions=dict((directions or {}) if own else published))
    run = changed(run, ABLATIONS["editor"].get(ablation or "", {}))
    if ablation == "few-directions":  # of another set than the faces', its first half
        names = [name for name in FEW_DIRECTIONS if name in run.directions]
        names = names or list(run.directions)[: max(1, len(run.directions) // 2)]
        run = replace(run, directions={name: run.directions[name] for name in names})
    return run


def attributes_run(name: str) -> AttributesRun:
    """Return a run that trains the attribute classifier; `small` is measured in docs/LOG.md."""
    size, channels, batch = (64, (32, 64, 128, 256), 64)
    if name == "tiny":
        size, channels, batch = (32, (8, 16, 32, 64), 32)
    steps = STEPS[name]["attributes"]
    network = {"size": size, "channels": channels, "depths": (1, 1, 1, 1)}
    loop = {"steps": steps, "batch_size": batch, "log_every": 20, "channels_last": True}
    return changed(
        AttributesRun(),
        {
            "training": {"network": network, "lr": 2e-3, "steps": steps},
            "loop": loop | {"validate_every": max(1, steps // 4)},
        },
    )


def compared_by(run: ModelRun, features: Identity, weight: float | None = None) -> ModelRun:
    """Return a run whose identity losses compare these features; None keeps their weights."""
    new: Changes = {"identity_features": features}
    new |= {} if weight is None else {"identity": weight}
    losses = ("edit", "inversion") if isinstance(run, EditorRun) else ("image",)
    return changed(run, {"training": dict.fromkeys(losses, new)})


def _base(name: str) -> str:
    """Return the preset of faces that one of cars changes."""
    return "released" if name.endswith("released") else "paper"


def _small_ranger(steps: int) -> Changes:
    return {"lr": 1e-3, "cooldown": (2 * steps // 3, max(1, steps))}


def _small_adversary(steps: int) -> Changes:
    r1 = {"weight": 10.0, "every": 16}
    return {"start": 2 * steps // 3, "lr": 1e-3, "betas": (0.0, 0.99), "r1": r1}


def _small_loop(steps: int) -> Changes:
    # a validation costs e4e 7 steps (docs/LOG.md): every 300 or more, below 3 % of a run
    every = max(300, steps // 20)
    return {
        "steps": steps,
        "batch_size": 16,
        "precision": "auto",
        "channels_last": True,
        "validate_every": every,
        "sample_every": every,
        "save_every": every,
        "find_unused_parameters": True,
    }


# --- sizes of models --------------------------------------------------------------------------


def model_config(
    name: str, generator: GeneratorConfig, start: ModelConfig | None = None
) -> ModelConfig:
    """Return the sizes of the other networks for a trained generator.

    Those of `start`, the model that the run starts from, stay; only the layer of Delta and what
    follows from it is the cars presets'. None is a generator alone.

    Raises:
        ConfigError: the preset does not fit the generator.
    """
    if name.startswith("cars"):
        if replace(generator, clamp=None) != GeneratorConfig(size=512):
            raise ConfigError(
                f"the preset {name} is for StyleGAN2's 512 px car generator, got {generator}"
            )
        released = name == "cars-released"  # it has no layer for Delta: 9 is k (docs/adr/0008)
        return replace(cars_model(start, delta_layer=9 if released else 11), generator=generator)
    if start is not None:
        return start
    if name not in STEPS:
        return sized(ModelConfig(), generator)
    layers = range(generator.num_layers, 0, -1)  # the upper one of a side: RGB reads it
    layer = next(layer for layer in layers if generator.side(layer) == generator.size // 4)
    if name == "small":
        return small_model("small", generator, layer, width=32)
    return small_model("tiny", generator, layer, width=8, residual_layers=1)


def example_model(name: str) -> ModelConfig:
    """Return the sizes that a preset is meant for."""
    if name in STEPS:
        return model_config(name, generator_run(name, 64).training.network)
    return model_config(name, GeneratorConfig(size=512 if name.startswith("cars") else 1024))


def sized(config: ModelConfig, generator: GeneratorConfig) -> ModelConfig:
    """Return a config for another generator, encoders and heads fitted to it.

    Raises:
        ConfigError: the generator has no layer k of the side that the Inverter predicts.
    """
    styles, width = generator.num_styles, generator.style_dim
    if config.feature_layer > generator.num_layers:
        raise ConfigError(
            f"this preset takes features at layer {config.feature_layer}, a {generator.size} px "
            f"generator ends at {generator.num_layers}: use --preset small"
        )
    channels, _ = generator.layer_shape(config.feature_layer)
    codes = {"num_styles": styles, "style_dim": width}
    changes = _fitted(config, channels, codes)
    return changed(config, {**changes, "generator": to_plain(generator), "e4e": codes})


def _fitted(model: ModelConfig, channels: int, encoder: Changes) -> Changes:
    """Return what changes in I and H with the channels of F_k, and what else of I's encoder."""
    fuser: Changes = {"fuser": {"channels": channels}} if model.inverter.fuser else {}
    encoder = {"feature_channels": channels, **encoder}
    return {"inverter": {"encoder": encoder, **fuser}, "feature_editor": {"channels": channels}}


def cars_model(model: ModelConfig | None = None, *, delta_layer: int = 11) -> ModelConfig:
    """Return a 512 px model that takes Delta at `delta_layer`; 9 is the release's, without a layer.

    `model` None is the paper's, with the published cars' directions.

    Raises:
        ConfigError: the layer is coarser than k.
    """
    base = model or replace(ModelConfig(), catalog="cars")
    base = sized(base, replace(base.generator, size=512))
    base = replace(base, delta_layer=base.feature_layer, delta_downsampler=None)
    if delta_layer == base.feature_layer:
        return base
    channels, side = base.generator.layer_shape(delta_layer)
    wanted_channels, wanted_side = base.generator.layer_shape(base.feature_layer)
    if side % wanted_side:
        raise ConfigError(f"Delta's layer {delta_layer} must be as fine as layer k or finer")
    downsampler = DeltaDownsamplerConfig(
        in_channels=channels, out_channels=wanted_channels, stride=side // wanted_side
    )
    return replace(base, delta_layer=delta_layer, delta_downsampler=downsampler)


def at_layer(model: ModelConfig, layer: int) -> ModelConfig:
    """Return a model that takes F_k at another layer k, with an Inverter that predicts its shape.

    Stage 3 of the trunk, which F_pred is read from, halves the side as often as it needs to.

    Raises:
        ConfigError: the layer is finer than stage 2 of the trunk.
    """
    channels, side = model.generator.layer_shape(layer)
    trunk: IResNetConfig = model.inverter.encoder.trunk
    stage2_side = model.encoder_size // (trunk.strides[0] * trunk.strides[1])
    if stage2_side % side:
        raise ConfigError(f"layer {layer} is {side} cells wide, the trunk has {stage2_side} there")
    strides = (*trunk.strides[:2], stage2_side // side, trunk.strides[3])
    layers = {"feature_layer": layer, "delta_layer": layer, "delta_downsampler": None}
    fitted = _fitted(model, channels, {"trunk": {"strides": strides}})
    return changed(model, layers | fitted)


def small_model(
    name: str,
    generator: GeneratorConfig,
    layer: int,
    *,
    width: int,
    depths: tuple[int, int, int, int] = (1, 2, 2, 1),
    residual_layers: int = 3,
) -> ModelConfig:
    """Return a model of layer k = `layer` whose encoders see photos at the generator's own size.

    Args:
        name: of the model.
        generator: its size.
        layer: k.
        width: channels of the encoders' stems; their stages have 1, 2, 4 and 4 times as many.
        depths: residual layers of the encoders' four stages.
        residual_layers: of the Fuser and of the Feature Editor.

    Raises:
        ConfigError: F_k would be wider than half of the image.
    """
    channels, side = generator.layer_shape(layer)
    size, styles = generator.size, generator.num_styles
    if side > size // 2:
        raise ConfigError(f"layer {layer} is {side} cells wide: that leaves G nothing to draw")
    # a halving as early as possible costs least, but stage 3 should see as much as it can
    halvings = (size // side).bit_length() - 1
    strides = [2 if stage < min(halvings, 3) else 1 for stage in range(3)]
    strides[0] <<= max(0, halvings - 3)
    stages = (width, 2 * width, 4 * width, 4 * width)
    encoder = FeatureStyleEncoderConfig(
        num_styles=styles,
        style_dim=generator.style_dim,
        feature_channels=channels,
        trunk=IResNetConfig(
            stem_channels=width, channels=stages, depths=depths, strides=(*strides, 2)
        ),
    )
    return ModelConfig(
        name=name,
        feature_layer=layer,
        delta_layer=layer,
        encoder_size=size,
        blend="residual",
        generator=generator,
        e4e=E4eConfig(
            size=size,
            num_styles=styles,
            style_dim=generator.style_dim,
            middle_from=styles // 2,
            fine_from=styles,  # few cells: the finest level would add weights and no detail
            trunk=IRConfig(channels=stages, depths=depths, squeeze=4),
        ),
        inverter=InverterConfig(
            encoder=encoder,
            fuser=FuserConfig(channels=channels, num_residual_layers=residual_layers),
        ),
        feature_editor=FeatureEditorConfig(channels=channels, num_residual_layers=residual_layers),
    )
