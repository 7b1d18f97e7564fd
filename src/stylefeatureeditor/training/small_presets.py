"""Settings of runs that fit a CPU: the smoke run, the built-in model, the attribute classifier.

    e4e, inverter, editor = small_presets.builtin_64()

They promise none of the paper's numbers. No pretrained network is at hand: pixels lead the image
loss; in the last third of a run D sharpens what they have drawn and the rate falls. docs/LOG.md has
what each costs.

Shapes: k layer of F_k, C and S_F its channels and side, S side of the model.
"""

from __future__ import annotations

from stylefeatureeditor.backbones.ir_se50 import IRConfig
from stylefeatureeditor.backbones.iresnet import IResNetConfig
from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.editing.feature_editor import FeatureEditorConfig
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.inversion.feature_style_encoder import FeatureStyleEncoderConfig
from stylefeatureeditor.inversion.fuser import FuserConfig
from stylefeatureeditor.inversion.inverter import InverterConfig
from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifierConfig
from stylefeatureeditor.model import ModelConfig
from stylefeatureeditor.training.adversary import AdversarialConfig
from stylefeatureeditor.training.attributes import AttributeTrainingConfig
from stylefeatureeditor.training.e4e import E4eTrainingConfig, LatentDiscriminatorConfig
from stylefeatureeditor.training.feature_editor import EditorTrainingConfig
from stylefeatureeditor.training.image_losses import ImageLossConfig
from stylefeatureeditor.training.inverter import InverterTrainingConfig
from stylefeatureeditor.training.loop import LoopConfig
from stylefeatureeditor.training.presets import (
    AttributesRun,
    Directions,
    E4eRun,
    EditorRun,
    InverterRun,
)
from stylefeatureeditor.training.ranger import RangerConfig

SMALL_IMAGE_LOSS = ImageLossConfig(l2=1.0, lpips=0.0, identity=0.0, l1=0.5, pyramid=0.5)


def small_model(
    name: str,
    generator: GeneratorConfig,
    layer: int,
    *,
    width: int,
    depths: tuple[int, int, int, int] = (1, 2, 2, 1),
    residual_layers: int = 3,
) -> ModelConfig:
    """Return a model whose encoders see photos at the generator's own size.

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


def tiny_model(size: int = 32) -> ModelConfig:
    """Return a model for a smoke run: seconds per hundred steps, pictures of no use."""
    generator = GeneratorConfig(
        size=size, style_dim=64, mapping_layers=2, channel_base=16 * size, channel_max=32
    )
    return small_model("tiny", generator, _layer_of_side(size // 4), width=8, residual_layers=1)


def builtin_model(size: int = 64) -> ModelConfig:
    """Return the sizes of the model that the package ships; F_k is a quarter of the image wide."""
    generator = GeneratorConfig(
        size=size, style_dim=256, mapping_layers=4, channel_base=2048, channel_max=128
    )
    return small_model("faces", generator, _layer_of_side(size // 4), width=32)


def small_e4e(model: ModelConfig, steps: int) -> E4eRun:
    """Return e4e's recipe for a small model: the styles join in the second quarter of the run."""
    start, styles = steps // 4, model.generator.num_styles
    training = E4eTrainingConfig(
        image=SMALL_IMAGE_LOSS,
        latent=LatentDiscriminatorConfig(lr=1e-4),
        progressive_start=start,
        progressive_every=max(1, start // styles),
        ranger=_ranger(steps),
    )
    return E4eRun(model=model, training=training, loop=_small_loop(steps))


def small_inverter(model: ModelConfig, steps: int) -> InverterRun:
    """Return phase 1 for a small model."""
    training = InverterTrainingConfig(
        image=SMALL_IMAGE_LOSS,
        adversarial=_late_adversary(steps),
        pair="mean",
        feature_form="distance",
        blend_steps=steps // 30,
        ranger=_ranger(steps),
    )
    return InverterRun(model=model, training=training, loop=_small_loop(steps))


def small_editor(model: ModelConfig, steps: int, directions: Directions) -> EditorRun:
    """Return phase 2 for a small model, on the user's own directions."""
    training = EditorTrainingConfig(
        begin="difference",
        edit=SMALL_IMAGE_LOSS,
        inversion=SMALL_IMAGE_LOSS,
        adversarial=_late_adversary(steps),
        ranger=_ranger(steps),
    )
    return EditorRun(
        model=model, training=training, directions=dict(directions), loop=_small_loop(steps)
    )


def small_attributes(size: int = 64, steps: int = 1100) -> AttributesRun:
    """Return the attribute classifier that docs/LOG.md measures."""
    network = AttributeClassifierConfig(size=size, channels=(32, 64, 128, 256), depths=(1, 1, 1, 1))
    training = AttributeTrainingConfig(network=network, lr=2e-3, steps=steps)
    loop = LoopConfig(
        steps=steps,
        batch_size=64,
        log_every=20,
        validate_every=max(1, steps // 4),
        channels_last=True,
    )
    return AttributesRun(training=training, loop=loop)


def tiny(size: int = 32) -> tuple[E4eRun, InverterRun, EditorRun]:
    """Return the three runs of the method for a smoke test, without directions."""
    model = tiny_model(size)
    return small_e4e(model, 100), small_inverter(model, 100), small_editor(model, 100, {})


def builtin_64() -> tuple[E4eRun, InverterRun, EditorRun]:
    """Return the three runs of the built-in model on a CPU, without directions."""
    model = builtin_model(64)
    return (
        small_e4e(model, 12_000),
        small_inverter(model, 20_000),
        small_editor(model, 12_000, {}),
    )


def _ranger(steps: int) -> RangerConfig:
    return RangerConfig(lr=1e-3, cooldown=(2 * steps // 3, max(1, steps)))


def _late_adversary(steps: int) -> AdversarialConfig:
    return AdversarialConfig(start=2 * steps // 3, lr=1e-3, betas=(0.0, 0.99))


def _small_loop(steps: int) -> LoopConfig:
    every = max(1, steps // 20)
    return LoopConfig(
        steps=steps,
        batch_size=16,
        precision="bf16",
        channels_last=True,
        validate_every=every,
        sample_every=every,
        save_every=every,
        find_unused_parameters=True,
    )


def _layer_of_side(side: int) -> int:
    """Return the second layer at a side: the one that its RGB layer reads."""
    return 2 * (side.bit_length() - 1) - 3
